"use strict";
(() => {
  const settings = read("view-data");
  if (!settings) return;
  const number = (value, digits = 2) => (value === null || value === undefined ? "–" : value.toFixed(digits));
  const say = (text) => { byId("spoken").textContent = text; };

  async function ask(address, options) {
    const answer = await fetch(address, options);
    const content = await answer.json();
    if (!answer.ok) throw new Error(content.error);
    return content;
  }

  // ---- interventions: what tokens.js puts beside each alternative, and what came of them ----
  const buttons = new Map(); // by number of the intervention
  if (settings.interventions) {
    window.takeInstead = (response, position, id, shown) => {
      const taking = button("take", "take", `Take ${shown} instead and let the model go on`, async () => {
        const choice = {
          response: response.number, position, token_id: id, model: byId("model").value,
          samples: Number(byId("samples").value), seed: Number(byId("seed").value),
        };
        taking.disabled = true;
        try {
          const { number: given } = await ask("interventions", {
            method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(choice),
          });
          taking.textContent = `asked: ${given}`;
          buttons.set(given, taking);
          say(`Intervention ${given} is queued.`);
        } catch (error) {
          taking.textContent = error.message;
        }
      });
      return taking;
    };
    follow();
  }

  async function follow() {
    let version = -1;
    for (;;) {
      try {
        const news = await ask(`interventions?after=${version}`);
        if (news.version !== version) draw(news.asked);
        version = news.version;
      } catch {
        await new Promise((done) => setTimeout(done, 2000));
      }
    }
  }

  function draw(asked) {
    for (const { number: given, state, result } of asked) {
      const button = buttons.get(given);
      if (button && result) button.textContent = `${number(result.kept.success.mean)} → ${number(result.taken.success.mean)}`;
      else if (button && state === "failed") button.textContent = "failed";
    }
    const list = byId("asked");
    if (asked.length && !list.querySelector(".tried")) list.replaceChildren();
    for (const one of asked) { // the newest first; what a reader has opened in others stays open
      const before = list.querySelector(`.tried[data-number="${one.number}"]`);
      if (before) before.replaceWith(entry(one));
      else list.prepend(entry(one));
    }
  }

  function entry(one) {
    const { choice, result } = one;
    const who = choice.model === "base" ? "base" : "policy";
    const about = `response ${choice.response}, token ${choice.position + 1}; the ${who} goes on ${choice.samples} times, seed ${choice.seed}`;
    const head = make("header", "", make("b", "", `${one.number}.`), make("span", "", about), make("span", "state", one.state));
    const node = make("article", `pair tried ${one.state}`, head);
    node.dataset.number = one.number;
    if (one.error) node.append(make("p", "", one.error));
    if (result) {
      node.append(
        make("p", "", `${result.problem_id}, response of the ${result.trajectory}: `,
          make("span", "token", result.kept.token), " → ", make("span", "token", result.taken.token)),
        arm("kept", result.kept), arm("taken", result.taken),
        make("p", "outcome", `difference ${signed(result.difference.mean)} (95 % ${signed(result.difference.low)} to ${signed(result.difference.high)}), ${number(result.seconds, 1)} s`));
    }
    return node;
  }

  const signed = (value) => (value === null ? "–" : (value >= 0 ? "+" : "−") + Math.abs(value).toFixed(2));

  function arm(name, one) {
    const { mean, low, high } = one.success;
    const right = one.continuations.filter((c) => c.correct).length;
    const bar = make("span", "bar");
    bar.style.setProperty("--v", mean ?? 0);
    return make("details", "", make("summary", "", `${name} `, make("span", "token", one.token), " ", bar,
        ` ${right} of ${one.continuations.length} right: ${number(mean)} (95 % ${number(low)} to ${number(high)})`),
      make("ol", "continuations", ...one.continuations.map((c) =>
        make("li", "", `${c.correct === null ? "?" : c.correct ? "✓" : "✗"} `, make("span", "token", c.text), c.truncated ? " …" : ""))));
  }

  // ---- training: curves and the newest responses, while it goes on ----
  const CURVES = ["accuracy", "reward/mean", "length/mean", "entropy/mean", "js_base/mean", "grad_norm", "mismatch/mean", "seconds/step"];
  const POLL = 3000, WIDTH = 320, HEIGHT = 140;
  let rows = [], end = 0; // of what has been read of metrics.jsonl, in bytes

  async function watch() {
    try {
      const news = await ask(`training?after=${end}`);
      rows = news.start === 0 ? news.rows : [...rows, ...news.rows];
      end = news.end;
      curves();
      newest(news.samples);
      const last = rows.findLast((row) => row.kind === "train")?.step ?? 0;
      byId("state").textContent = `${last} of ${settings.steps} steps${news.finished ? ", finished" : ""}.`;
      if (news.finished) return;
    } catch (error) {
      byId("state").textContent = `No news: ${error.message}`;
    }
    setTimeout(watch, POLL);
  }

  function curves() {
    const evals = [...new Set(rows.flatMap((row) => Object.keys(row)).filter((key) => /^eval\/.*\/accuracy$/.test(key)))];
    const drawn = [...evals, ...CURVES].map((name) => {
      const points = rows.filter((row) => typeof row[name] === "number").map((row) => [row.step, row[name]]);
      return points.length > 0 ? curve(name, points) : null;
    });
    byId("curves").replaceChildren(...drawn.filter((one) => one !== null));
  }

  function curve(name, points) {
    const values = points.map((p) => p[1]), steps = points.map((p) => p[0]);
    const low = Math.min(...values), high = Math.max(...values), first = Math.min(...steps), last = Math.max(...steps);
    const x = (s) => 4 + (WIDTH - 8) * (last > first ? (s - first) / (last - first) : 0.5);
    const y = (v) => HEIGHT - 4 - (HEIGHT - 8) * (high > low ? (v - low) / (high - low) : 0.5);
    const label = `${name}: ${values.at(-1).toPrecision(3)} after step ${last}, from ${low.toPrecision(3)} to ${high.toPrecision(3)}`;
    const line = drawn("polyline", { points: points.map(([s, v]) => `${x(s)},${y(v)}`).join(" "), class: "live" });
    const svg = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label }, line);
    return make("figure", "", make("div", "plot", svg),
      make("figcaption", "", `${name}: ${values.at(-1).toPrecision(3)}; ${low.toPrecision(3)} to ${high.toPrecision(3)}, steps ${first} to ${last}`));
  }

  function newest(samples) {
    if (!samples) return;
    byId("newest").replaceChildren(make("h3", "", `Responses of ${samples.dump}`), ...samples.rows.map((row) =>
      make("article", "pair", make("header", "", make("span", "question", row.question), make("span", "", `answer ${row.answer}`),
        make("span", "", `${row.verdict}, reward ${number(row.reward)}`)), make("div", "response", row.response))));
  }

  watch();
})();
