"use strict";
(() => {
  const data = read("token-data");
  if (!data) return;
  const PER_PAGE = 8;
  const at = Object.fromEntries(data.fields.map((name, i) => [name, i]));
  const several = new Set(data.responses.map((r) => r.run)).size > 1;

  const level = (js) => data.edges.filter((edge) => js >= edge).length;
  const text = (index) => data.texts[index], visible = window.visible;
  const percent = (p) => (p >= 0.0995 ? (100 * p).toFixed(1) : p >= 0.001 ? (100 * p).toFixed(2) : p > 0 ? "<0.1" : "0") + " %";
  const fixed = (value, digits) => (value === null ? "–" : value.toFixed(digits));

  // Where weights arrived in the middle of a response: which sampled token i, and whether it is the first of theirs.
  const version = (response, i) => response.version_spans?.findLast(([, start]) => start <= i)[0];
  const arrived = (response, i) => i > 0 && response.version_spans?.some(([, start]) => start === i);

  const filters = window.tokenFilters(data, at, (response, i) => jsOf(response, i), () => { page = 0; show(); });
  const count = make("output", ""), list = make("div", "");
  const before = make("button", "", "Previous"), after = make("button", "", "Next"), where = make("span", "");
  byId("pages").append(
    make("div", "controls", ...filters.controls.map((both) => make("label", "", ...both)), count),
    list,
    make("div", "pager", before, after, where),
  );
  let page = 0, active = null, pinned = false;

  // ---- the slider over checkpoints: the divergence that each had from the base, on the same tokens ----
  const labels = data.checkpoints, slider = make("input", ""), at_step = make("output", "");
  let now = labels.at(-1);
  const jsOf = (response, i) => response.earlier[now]?.[i] ?? response.shown[i][at.js];
  if (labels.length > 1) {
    Object.assign(slider, { type: "range", min: 0, max: labels.length - 1, value: labels.length - 1 });
    slider.addEventListener("input", () => {
      now = labels[slider.value];
      slider.setAttribute("aria-valuetext", now);
      at_step.textContent = now;
      if (filters.byDivergence()) return show(); // other responses may have such a token now
      for (const box of list.querySelectorAll(".response")) box.shade();
      if (active) open(active, responseOf(active), false);
    });
    at_step.textContent = now;
    byId("pages").querySelector(".controls").append(make("label", "", "Checkpoint", slider), at_step);
  }

  function shade(node, response) {
    const i = Number(node.dataset.i), js = jsOf(response, i);
    const dim = filters.narrow() && !filters.meant(response, i);
    node.className = `t l${level(js)}${js > response.moved_above ? " m" : ""}${arrived(response, i) ? " v" : ""}${dim ? " dim" : ""}${node === active ? " on" : ""}`;
  }

  const responseOf = (node) => data.responses[node.closest(".response").dataset.response];

  function show() {
    close();
    const pairs = filters.pairs(), pages = Math.max(1, Math.ceil(pairs.length / PER_PAGE));
    page = Math.min(page, pages - 1);
    list.replaceChildren(...pairs.slice(page * PER_PAGE, (page + 1) * PER_PAGE).map(card));
    count.textContent = `${pairs.length} of ${data.pairs.length}`;
    where.textContent = `page ${page + 1} of ${pages}`;
    before.disabled = page === 0;
    after.disabled = page === pages - 1;
  }

  function turn(step) {
    page += step;
    show();
    byId("pages").scrollIntoView();
  }

  function card(pair) {
    const both = filters.both(pair), [first] = both;
    const gold = first.answer === null ? null : make("span", "", `answer ${first.answer}`);
    return make("article", "pair",
      make("header", "",
        make("span", "question", first.question ?? first.problem_id), gold,
        make("span", "id", `${several ? `${first.run}, ` : ""}${first.problem_id}`),
        make("span", "why", pair.why === "divergent" ? "among the most divergent" : "drawn at random")),
      make("div", "sides", ...both.sort((a, b) => a.trajectory.localeCompare(b.trajectory)).map(side)));
  }

  function side(response) {
    const verdict = response.correct === null ? "not graded" : response.correct ? "✓ right" : "✗ wrong";
    const facts = [`reward ${fixed(response.reward, 2)}`, `mean JS ${fixed(response.mean_js, 3)}`,
      `${response.moved} of ${response.tokens} tokens moved`];
    if (response.version_spans) facts.push(`weight versions ${response.version_spans.map(([number]) => number).join(", ")}`);
    const texts = response.shown.map((token) => text(token[at.token]));
    const body = window.responseBox(texts, (node) => shade(node, response), (node) => node === active);
    const missing = response.tokens - response.shown.length;
    if (missing > 0) body.append(make("span", "cut", ` … ${missing} more tokens are not in this file`));
    body.dataset.response = data.responses.indexOf(response);
    body.tabIndex = 0;
    body.setAttribute("role", "group");
    body.setAttribute("aria-label", `Response of the ${response.trajectory}, ${response.tokens} tokens. Left and right: next token. Up and down: next moved token, or the next of those chosen.`);
    listen(body, response);
    return make("section", `side ${response.trajectory}`,
      make("h4", "", make("b", "", response.trajectory === "base" ? "Base" : "Policy"),
        make("span", "verdict", verdict), ...facts.map((f) => make("span", "", f)),
        window.shareBar(body, texts, `response-${response.number}`)), body);
  }

  // ---- the panel ----
  const panel = byId("panel");
  const closer = button("", "×", "Close", () => close());

  // A served page has the ids of tokens and may offer to take another one, see view.js.
  function candidates(token, who, response, i) {
    const sampled = text(token[at.token]), own = Math.exp(token[at[`logp_${who}`]]);
    const rows = token[at[`${who}_texts`]].map((index, k) => {
      const p = token[at[`${who}_probs`]][k];
      // Different tokens can have one text: parts of a character all read as its replacement.
      const id = at.token_id && token[at[`${who}_ids`]][k];
      const here = at.token_id ? id === token[at.token_id] : text(index) === sampled && Math.abs(p - own) <= 0.01 * own;
      const row = make("li", here ? "here" : "",
        make("span", "token", ...visible(text(index))), make("span", "", percent(p)),
        window.takeInstead && !here ? window.takeInstead(response, i, id, text(index)) : null);
      row.style.setProperty("--v", p);
      return row;
    });
    return make("div", who, make("b", "", who === "base" ? "Base" : "Policy"), make("ol", "", ...rows),
      make("p", "", `this token ${percent(own)}, rank ${token[at[`rank_${who}`]]}`),
      make("p", "", `entropy ${fixed(token[at[`entropy_${who}`]], 3)} nats`));
  }

  // #token=<place of the response in this file>.<position>: an address that opens at one token.
  const link = (response, i) => Object.assign(make("a", "", `token ${i + 1}`),
    { href: `#token=${data.responses.indexOf(response)}.${i}`, title: "address of this token" });

  function follow() {
    const [, number, position] = /^#token=(\d+)\.(\d+)$/.exec(location.hash) ?? [];
    const response = data.responses[number];
    if (!response) return;
    filters.clear();
    const place = filters.pairs().findIndex((pair) => filters.both(pair).includes(response));
    if (place < 0) return;
    page = Math.floor(place / PER_PAGE);
    show();
    if (position >= response.shown.length) return;
    const node = list.querySelector(`.response[data-response="${number}"]`).token(Number(position));
    node.scrollIntoView({ block: "center" });
    pinned = true;
    open(node, response, true);
  }

  function open(node, response, speak) {
    if (active) active.classList.remove("on");
    active = node;
    node.classList.add("on");
    const i = Number(node.dataset.i), token = response.shown[i], js = jsOf(response, i);
    const earlier = now !== labels.at(-1) && response.earlier[now];
    panel.replaceChildren(
      make("h4", "", make("span", `t l${level(js)}`, ...visible(text(token[at.token]))),
        link(response, i), make("span", "", `JS ${fixed(js, 3)}`), closer),
      make("div", "both", candidates(token, "base", response, i), candidates(token, "policy", response, i)),
      make("p", "", `top-p JS ${fixed(token[at.js_top_p], 3)} nats. ▸ marks the token of the response.`),
      ...(earlier ? [make("p", "", `Shade and JS: of ${now}. Alternatives: of ${labels.at(-1)}, whose JS here is ${fixed(token[at.js], 3)}.`)] : []),
      ...(response.version_spans ? [make("p", "", `Sampled by weight version ${version(response, i)}.`)] : []));
    panel.hidden = false;
    panel.classList.toggle("pinned", pinned);
    place(node);
    if (speak) {
      const top = (who) => `${text(token[at[`${who}_texts`]][0])} ${percent(token[at[`${who}_probs`]][0])}`;
      byId("spoken").textContent = `${text(token[at.token])}: divergence ${fixed(js, 3)}. Base: ${top("base")}. Policy: ${top("policy")}.`;
    }
  }

  function place(node) {
    const box = node.getClientRects()[0], own = panel.getBoundingClientRect();
    const below = box.bottom + 10, fits = below + own.height < innerHeight;
    panel.style.top = `${fits ? below : Math.max(8, box.top - own.height - 10)}px`;
    panel.style.left = `${Math.max(8, Math.min(box.left - 20, innerWidth - own.width - 8))}px`;
  }

  function close() {
    if (active) active.classList.remove("on");
    active = null;
    pinned = false;
    panel.hidden = true;
  }

  function listen(body, response) {
    const tokenOf = (event) => event.target.closest?.(".t[data-i]");
    body.addEventListener("pointerover", (event) => {
      const node = tokenOf(event);
      if (node && !pinned && event.pointerType === "mouse" && !event.buttons) open(node, response, false);
    });
    body.addEventListener("pointerleave", (event) => {
      if (!pinned && event.pointerType === "mouse") close();
    });
    body.addEventListener("click", (event) => {
      const node = tokenOf(event);
      if (!node || !getSelection().isCollapsed) return;
      if (pinned && node === active) return close();
      pinned = true;
      open(node, response, false);
    });
    body.addEventListener("keydown", (event) => {
      const next = step(body, response, event.key);
      if (!next) return;
      event.preventDefault();
      pinned = true;
      open(next, response, true);
      next.scrollIntoView({ block: "nearest" });
      place(next);
    });
  }

  // The token that a key leads to; null for another key.
  function step(body, response, key) {
    const last = response.shown.length - 1, now = active && body.contains(active) ? Number(active.dataset.i) : -1;
    const wanted = filters.narrow() ? filters.meant : (r, i) => jsOf(r, i) > r.moved_above;
    const seek = (sign) => {
      for (let i = now + sign; i >= 0 && i <= last; i += sign) if (wanted(response, i)) return i;
      return Math.max(now, 0);
    };
    const to = { ArrowRight: () => Math.min(now + 1, last), ArrowLeft: () => Math.max(now - 1, 0), Home: () => 0, End: () => last,
      ArrowDown: () => seek(1), ArrowUp: () => seek(-1) }[key];
    return to ? body.token(to()) : null;
  }

  addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });
  addEventListener("scroll", () => { if (active && !pinned) close(); }, { passive: true });
  document.addEventListener("click", (event) => {
    if (active && !event.target.closest("#panel, .response")) close();
  });
  before.addEventListener("click", () => turn(-1));
  after.addEventListener("click", () => turn(1));
  addEventListener("hashchange", follow);
  show();
  follow();
})();
