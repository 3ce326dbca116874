"use strict";
// Which responses are listed, in which order, and which of their tokens are meant.
(() => {
  // `jsOf(response, i)` is the divergence shown now. `changed` runs when another choice is made.
  window.tokenFilters = (data, at, jsOf, changed) => {
    const lead = (pair) => data.responses[pair.lead];
    const partner = (pair) => (pair.partner === null ? null : data.responses[pair.partner]);
    const both = (pair) => [lead(pair), partner(pair)].filter((response) => response !== null);
    const own = (key) => (pair) => lead(pair)[key] ?? -Infinity;
    const either = (key) => (pair) => Math.max(lead(pair)[key], partner(pair)?.[key] ?? 0);
    const order = (value, sign) => (a, b) => sign * (value(a) - value(b)) || a.lead - b.lead;
    // Options are pairs of name and value, and chosen by their place: a data set may have any name.
    const SORTS = [
      ["divergence: largest mean", order(either("mean_js"), -1)],
      ["divergence: largest at one token", order(either("max_js"), -1)],
      ["divergence: most moved tokens", order(either("moved"), -1)],
      ["divergence: smallest mean", order(either("mean_js"), 1)],
      ["reward of the policy: highest", order(own("reward"), -1)],
      ["reward of the policy: lowest", order(own("reward"), 1)],
      ["length: longest first", order(either("tokens"), -1)],
    ];
    const SHOWN = [
      ["all", () => true],
      ["the most divergent", (pair) => pair.why === "divergent"],
      ["the random draw", (pair) => pair.why === "random"],
      ["policy right", (pair) => lead(pair).correct === true],
      ["policy wrong", (pair) => lead(pair).correct === false],
      ["one right, one wrong", (pair) => partner(pair) !== null && partner(pair).correct !== lead(pair).correct],
    ];
    const sources = [...new Set(data.responses.map((response) => response.data).filter((name) => name))].sort();
    const SOURCES = [["all sources", () => true], ...sources.map((name) => [name, (pair) => lead(pair).data === name])];
    const CLASSES = [["any", null], ...data.classes.map((name, number) => [name, number])];
    const DIVERGENCES = [["any", () => true], ["moved", (response, i) => jsOf(response, i) > response.moved_above],
      ...data.edges.map((edge) => [`from ${edge}`, (response, i) => jsOf(response, i) >= edge])];

    const choice = (options) => make("select", "", ...options.map(([name]) => make("option", "", name)));
    const chosen = (options, node) => options[node.selectedIndex][1];
    const sort = choice(SORTS), shown = choice(SHOWN), source = choice(SOURCES), kind = choice(CLASSES), size = choice(DIVERGENCES);
    const search = Object.assign(make("input", ""), { type: "search", placeholder: "question or response" });
    for (const node of [sort, shown, source, kind, size]) node.addEventListener("change", changed);
    search.addEventListener("input", changed);

    const anyToken = () => kind.selectedIndex === 0 && size.selectedIndex === 0;
    const filters = {
      both, // the responses of a pair, the leading one first
      controls: [["Sort by", sort], ["Show", shown], ...(sources.length > 1 ? [["Source", source]] : []),
        ["Tokens of class", kind], ["JS of a token", size], ["Find", search]],
      // Whether the tokens are narrowed down, and whether this is one of those meant.
      narrow: () => !anyToken(),
      byDivergence: () => size.selectedIndex > 0,
      meant(response, i) {
        const wanted = chosen(CLASSES, kind);
        return (wanted === null || data.text_classes[response.shown[i][at.token]] === wanted) && chosen(DIVERGENCES, size)(response, i);
      },
      // The pairs that are left, in their order. A pair stays if one of its tokens is meant.
      pairs() {
        const words = search.value.toLowerCase();
        const holds = (r) => [r.question, r.text, r.problem_id].some((s) => (s ?? "").toLowerCase().includes(words));
        return data.pairs
          .filter(chosen(SHOWN, shown))
          .filter(chosen(SOURCES, source))
          .filter((pair) => !words || both(pair).some(holds))
          .filter((pair) => anyToken() || both(pair).some((r) => r.shown.some((_, i) => filters.meant(r, i))))
          .sort(chosen(SORTS, sort));
      },
      clear() {
        search.value = "";
        for (const node of [shown, source, kind, size]) node.selectedIndex = 0;
      },
    };
    return filters;
  };
})();
