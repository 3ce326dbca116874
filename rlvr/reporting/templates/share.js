"use strict";
// What leaves the page: a response as a picture or as LaTeX in its colours, and the address of one token.
(() => {
  const LATEX = { "\\": "\\textbackslash{}", "{": "\\{", "}": "\\}", $: "\\$", "&": "\\&", "#": "\\#", _: "\\_", "%": "\\%",
    "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}", ">": "\\textgreater{}", "|": "\\textbar{}",
    '"': "\\textquotedbl{}", "`": "\\textasciigrave{}", "'": "\\textquotesingle{}" };

  // [r, g, b] of a colour that the browser has computed, null where it is see-through.
  function channels(colour) {
    const found = colour.match(/[\d.]+/g)?.map(Number) ?? [];
    return found.length < 3 || found[3] === 0 ? null : found.slice(0, 3).map(Math.round);
  }

  const hex = (rgb) => rgb.map((c) => c.toString(16).padStart(2, "0")).join("").toUpperCase();

  // The tokens as they stand on the screen: a box and a text for every line on which one of them lies.
  window.responseSvg = (body) => {
    const frame = body.getBoundingClientRect(), height = body.scrollHeight, style = getComputedStyle(body);
    const svg = drawn("svg", { xmlns: SVG, width: frame.width, height, viewBox: `0 0 ${frame.width} ${height}` });
    const add = (...part) => svg.append(drawn(...part));
    add("rect", { width: frame.width, height, fill: `#${hex(channels(getComputedStyle(document.body).backgroundColor) ?? [255, 255, 255])}` });
    const range = document.createRange(), size = parseFloat(style.fontSize);
    for (const token of body.querySelectorAll(".t")) {
      const own = getComputedStyle(token), fill = channels(own.backgroundColor), ink = `#${hex(channels(own.color) ?? [0, 0, 0])}`;
      for (const box of token.getClientRects()) {
        const at = { x: box.left - frame.left, y: box.top - frame.top + body.scrollTop, width: box.width, height: box.height };
        if (fill) add("rect", { ...at, rx: 2, fill: `#${hex(fill)}` });
        if (token.classList.contains("m")) add("rect", { ...at, y: at.y + at.height - 2, height: 2, fill: ink });
      }
      const walk = document.createTreeWalker(token, NodeFilter.SHOW_TEXT);
      while (walk.nextNode()) {
        [...walk.currentNode.data].reduce((offset, character) => {
          range.setStart(walk.currentNode, offset);
          range.setEnd(walk.currentNode, offset + character.length);
          const box = range.getBoundingClientRect();
          if (character.trim()) {
            add("text", { x: box.left - frame.left, y: box.top - frame.top + body.scrollTop + 0.78 * box.height,
              "font-family": style.fontFamily.replaceAll('"', "'"), "font-size": size, fill: ink }, character);
          }
          return offset + character.length;
        }, 0);
      }
    }
    return new XMLSerializer().serializeToString(svg);
  };

  // For \usepackage{xcolor, textcomp} and \usepackage[T1]{fontenc}; boxes as wide as their text, so that lines break.
  window.responseLatex = (body, texts) => [
    "% \\usepackage[T1]{fontenc} \\usepackage{xcolor,textcomp}",
    "{\\ttfamily\\setlength{\\fboxsep}{1pt}\\raggedright",
    ...[...body.querySelectorAll(".t")].map((token, i) => {
      const fill = channels(getComputedStyle(token).backgroundColor);
      return texts[i].split("\n").map((line) => {
        const safe = [...line].map((c) => (c === " " ? "\\ " : LATEX[c] ?? c)).join("");
        if (!safe) return "\\mbox{}";
        const inked = token.classList.contains("m") ? `\\underline{${safe}}` : safe;
        return fill ? `\\colorbox[HTML]{${hex(fill)}}{\\strut ${inked}}\\allowbreak` : inked;
      }).join("\\\\%\n") + "%";
    }),
    "}",
  ].join("\n");

  function png(text, name) {
    const picture = new Image(), canvas = make("canvas");
    picture.addEventListener("load", () => {
      canvas.width = 2 * picture.width;
      canvas.height = 2 * picture.height;
      const pen = canvas.getContext("2d");
      pen.scale(2, 2);
      pen.drawImage(picture, 0, 0);
      canvas.toBlob((blob) => save(name, blob));
    });
    picture.src = `data:image/svg+xml,${encodeURIComponent(text)}`;
  }

  // The buttons of a response.
  window.shareBar = (body, texts, name) => {
    const kinds = {
      SVG: () => save(`${name}.svg`, new Blob([window.responseSvg(body)], { type: "image/svg+xml" })),
      PNG: () => png(window.responseSvg(body), `${name}.png`),
      LaTeX: () => save(`${name}.tex`, new Blob([window.responseLatex(body, texts)], { type: "text/plain" })),
    };
    return make("span", "share", ...Object.entries(kinds).map(([kind, action]) =>
      button("", kind, `Save this response as ${kind}`, () => { body.fill(); action(); })));
  };
})();
