"use strict";
const byId = (id) => document.getElementById(id);
const read = (id) => JSON.parse(byId(id).textContent);

function make(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children.filter((child) => child !== null));
  return node;
}

const SVG = "http" + "://www.w3.org/2000/svg"; // no request is made to it

// The same for a part of a drawing.
function drawn(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function button(className, text, label, action) {
  const node = make("button", className, text);
  node.type = "button";
  node.setAttribute("aria-label", label);
  node.addEventListener("click", action);
  return node;
}

function save(name, blob) {
  const link = make("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

(() => {
  // ---- theme ----
  byId("theme").addEventListener("click", () => {
    const { dataset } = document.documentElement;
    const now = dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    dataset.theme = now === "dark" ? "light" : "dark";
  });

  // ---- figures: their numbers, and saving ----
  const numbers = read("figure-data");

  const saveText = (name, type, text) => save(name, new Blob([text], { type }));

  // The drawing with the colours that the page shows now, for use outside it.
  function standalone(svg) {
    const copy = svg.cloneNode(true);
    const style = getComputedStyle(document.documentElement);
    copy.setAttribute("xmlns", SVG);
    return copy.outerHTML.replace(/var\((--\w+)\)/g, (_, name) => style.getPropertyValue(name).trim());
  }

  function parseCsv(text) {
    const rows = [[]];
    for (const [, cell, end] of text.matchAll(/("(?:[^"]|"")*"|[^,\n]*)([,\n])/g)) {
      rows.at(-1).push(cell.replace(/^"|"$/g, "").replaceAll('""', '"'));
      if (end === "\n") rows.push([]);
    }
    return rows.slice(0, -1);
  }

  function asTable(text) {
    const [head, ...body] = parseCsv(text);
    const line = (tag, cells) => make("tr", "", ...cells.map((cell) => make(tag, "", cell)));
    return make("table", "", make("thead", "", line("th", head)), make("tbody", "", ...body.map((r) => line("td", r))));
  }

  for (const bar of document.querySelectorAll(".save")) {
    const name = bar.dataset.figure;
    bar.addEventListener("click", (event) => {
      const kind = event.target.dataset.kind;
      if (kind === "csv") saveText(`${name}.csv`, "text/csv", numbers[name]);
      if (kind === "svg") saveText(`${name}.svg`, "image/svg+xml", standalone(bar.parentNode.querySelector("svg")));
    });
    const details = bar.querySelector("details");
    details.addEventListener("toggle", () => {
      const box = details.querySelector(".scroll");
      if (details.open && !box.firstChild) box.append(asTable(numbers[name]));
    });
  }
})();
