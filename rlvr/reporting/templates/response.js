"use strict";
// The tokens of a response. A long one is cut into chunks, of which only those near the part that is seen are in the page.
(() => {
  const CHUNK = 300; // tokens; a chunk ends with a line where one ends soon
  const LINE = 28, CHARACTERS = 55; // of a chunk that has not been laid out: pixels, and roughly what stands on a line
  const UNSEEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}\p{Zs}]/u;
  const KINDS = { " ": "sp", "\n": "nl", "\t": "tab" };

  // Spaces and line ends are shown by style, so that a selection copies the text as it is; see also `copied`.
  window.visible = (text) => {
    if (!text) return [make("span", "code", "empty")];
    return [...text].map((c) => {
      if (KINDS[c]) return make("span", KINDS[c], c);
      if (UNSEEN.test(c)) return make("span", "code", `U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`);
      return c;
    });
  };

  // A chunk in which a selection begins or ends stays: the selection would move with it.
  function selected(chunk) {
    const { anchorNode, focusNode } = getSelection();
    return chunk.contains(anchorNode) || chunk.contains(focusNode);
  }

  // What is copied out of one response is its text: with the chunks out of view, without a line end after each chunk.
  function copied(event) {
    const selection = getSelection();
    if (selection.isCollapsed || !selection.rangeCount) return;
    const range = selection.getRangeAt(0), common = range.commonAncestorContainer;
    for (const box of document.querySelectorAll(".response")) if (range.intersectsNode(box)) box.fill?.();
    const element = common.nodeType === Node.ELEMENT_NODE ? common : common.parentElement;
    if (!element.closest(".response")) return;
    event.clipboardData.setData("text/plain", range.toString());
    event.preventDefault();
  }

  function starts(texts) {
    const found = [0];
    for (let i = CHUNK; i < texts.length - CHUNK / 2; i++) {
      const since = i - found.at(-1);
      if (since >= 2 * CHUNK || (since >= CHUNK && texts[i - 1].endsWith("\n"))) found.push(i);
    }
    return found;
  }

  // A box with the tokens: `shade(node)` gives each its class, `kept(node)` says that it must stay in the page.
  // box.token(i) is the node of a token, box.fill() puts all of them into the page, box.shade() shades what is there.
  window.responseBox = (texts, shade, kept) => {
    const box = make("div", "response"), borders = starts(texts);
    const chunks = borders.map((start, k) => {
      const chunk = make("div", "chunk"), end = borders[k + 1] ?? texts.length;
      const characters = texts.slice(start, end).join("").length;
      return { chunk, start, end, height: LINE * Math.ceil(characters / CHARACTERS) };
    });
    const fill = ({ chunk, start, end }) => {
      if (chunk.firstChild) return;
      chunk.append(...texts.slice(start, end).map((text, k) => {
        const node = make("span", "", ...window.visible(text));
        node.dataset.i = start + k;
        shade(node);
        return node;
      }));
      chunk.style.height = "";
    };
    const empty = (entry) => {
      if (!entry.chunk.firstChild || [...entry.chunk.children].some(kept) || selected(entry.chunk)) return;
      entry.height = entry.chunk.offsetHeight || entry.height;
      entry.chunk.replaceChildren();
      entry.chunk.style.height = `${entry.height}px`;
    };
    box.append(...chunks.map((entry) => entry.chunk));
    if (chunks.length === 1) chunks.forEach(fill);
    else {
      const entries = new Map(chunks.map((entry) => [entry.chunk, entry]));
      for (const { chunk, height } of chunks) chunk.style.height = `${height}px`;
      const watch = new IntersectionObserver((seen) => {
        for (const { target, isIntersecting } of seen) (isIntersecting ? fill : empty)(entries.get(target));
      }, { root: box, rootMargin: "500px 0px" });
      // A box far below is not laid out before it comes near.
      const near = new IntersectionObserver(([{ isIntersecting }]) => {
        if (!isIntersecting) return;
        near.disconnect();
        for (const { chunk } of chunks) watch.observe(chunk);
      }, { rootMargin: "500px 0px" });
      near.observe(box);
    }
    box.token = (i) => {
      const entry = chunks.find(({ end }) => i < end);
      fill(entry);
      return entry.chunk.children[i - entry.start];
    };
    box.fill = () => chunks.forEach(fill);
    box.shade = () => box.querySelectorAll(".t[data-i]").forEach(shade);
    return box;
  };

  addEventListener("copy", copied);
  addEventListener("beforeprint", () => document.querySelectorAll(".response").forEach((box) => box.fill?.()));
})();
