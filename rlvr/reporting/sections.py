"""The parts of the page that are not figures: the head, tables, the set-up, and what is missing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from omegaconf import OmegaConf

from rlvr.reporting.html import Content, Markup, details, table, visible_token
from rlvr.reporting.sources import Analysis, Cross, Row, Run, number
from rlvr.stats.student import p_text

SHOWN_IDENTITIES = 15


def missing(what: str, command: str) -> str:
    """A note on a part that is not there, with the command that makes it."""
    return (
        f'<div class="missing"><p>{escape(what)}. To make it:</p><div class="scroll" tabindex="0">'
        f"<code>python -m {escape(command)}</code></div></div>"
    )


def command(run: Run, module: str) -> str:
    """The command that makes a missing part of a run, or of two models where the folder is not that of a run."""
    if run.config:
        return f"rlvr.{module} run={run.folder}"
    below = {"analyze": "analysis", "cross_sample": "cross_sampling"}[module]
    return f"rlvr.{module} base=BASE policy=POLICY output={run.folder / below}"


def overview(runs: Sequence[Run]) -> str:
    """Name and main figures."""
    title = " against ".join(run.name for run in runs) if len(runs) <= 3 else f"{len(runs)} runs"
    lines = [f'<header class="top"><h1>{escape(title)}</h1>']
    if len(runs) == 1:
        lines.append(f'<p class="lead">{escape(_what(runs[0]))}</p>')
        lines.append(f'<dl class="facts">{"".join(_facts(runs[0]))}</dl>')
    return "".join([*lines, "</header>"])


def _what(run: Run) -> str:
    if run.summary is None:
        return (
            "This run has no summary.json: it has not finished, or it is an analysis alone."
            if run.train
            else ""
        )
    s = run.summary
    minutes = s["train_seconds"] / 60
    return (
        f"{s['recipe']} on {s['data']}, model {s['model']}, seed {s['seed']}: {s['steps']} steps in {minutes:.1f} min, "
        f"{s['tokens_generated']:,} tokens sampled."
    )


def _facts(run: Run) -> list[str]:
    facts = []
    for name, found in (run.summary or {}).get("eval_sets", {}).items():
        facts.append(
            _fact(
                f"{100 * found['before']:.1f} → {_share(found['after'])}",
                f"accuracy on {name}, before and after",
                f"95 %: {_share(found['ci_low'])} to {_share(found['ci_high'])}",
            )
        )
    if run.analysis is not None:
        whose = run.analysis.trajectories[0]
        labels = {
            "share_moved": f"of tokens moved (JS > {run.analysis.moved_above:g})",
            "share_near_zero": "of tokens at JS ≤ 0.01",
            "moved_policy_top_within_base_rank_3": "of the policy's favourites are in the base's top 3, where moved",
        }
        for key, label in labels.items():
            found = run.analysis.figure(key, whose)
            if found is not None:
                value, low, high = map(_share, found)
                facts.append(_fact(value, label, f"95 %: {low} to {high}; {whose}'s responses"))
    facts += _recovered(run.cross)
    return facts


def _recovered(cross: Cross | None) -> list[str]:
    rows = [] if cross is None else cross.budgets
    rows = [r for r in rows if (r["direction"], r["rule"]) == ("forward", "js") and r["recovered_share"]]
    if not rows:
        return []
    best = max(rows, key=lambda r: (number(r["recovered_share"]), -number(r["share"])))
    return [
        _fact(
            _share(number(best["recovered_share"])),
            f"of the gap recovered by {_share(number(best['share']))} policy tokens",
            f"accuracy {_share(number(best['accuracy']))}, 95 %: {_share(number(best['ci_low']))} to "
            f"{_share(number(best['ci_high']))}",
        )
    ]


def _fact(value: str, label: str, note: str) -> str:
    return f"<div><dd>{escape(value)}</dd><dt>{escape(label)}<small>{escape(note)}</small></dt></div>"


def summary_table(runs: Sequence[Run]) -> str:
    """One row a run, from summary.json and the last evaluation."""
    header = (
        "run",
        "recipe",
        "seed",
        "steps",
        "set",
        "before",
        "after",
        "95 %",
        "minutes",
        "tokens",
        "mismatch",
    )
    rows: list[list[Content]] = []
    for run in runs:
        s = run.summary
        if s is None:
            rows.append([run.name, "not finished", *[""] * (len(header) - 2)])
            continue
        for name, found in s["eval_sets"].items():
            rows.append(
                [
                    run.name,
                    s["recipe"],
                    str(s["seed"]),
                    str(s["steps"]),
                    name,
                    _share(found["before"]),
                    _share(found["after"]),
                    f"{_share(found['ci_low'])} to {_share(found['ci_high'])}",
                    f"{s['train_seconds'] / 60:.1f}",
                    f"{s['tokens_generated']:,}",
                    _mismatch(s),
                ]
            )
    return table(
        header, rows, "Runs. Accuracy on held-out problems before and after, interval clustered by problem."
    )


def _mismatch(summary: Mapping[str, Any]) -> str:
    """The largest mismatch of a run, and at how many steps it was compared if not at all of them."""
    largest, compared, steps = (
        summary.get(key) for key in ("max_logprob_mismatch", "mismatch_compared_steps", "steps")
    )
    if largest is None:
        return "not compared"
    return f"{largest:.1e}" + (f" (at {compared} of {steps} steps)" if compared not in (None, steps) else "")


def identity_table(analysis: Analysis) -> str:
    """The token identities that moved most."""
    rows: list[list[Content]] = []
    trajectory = analysis.trajectories[0]
    for r in analysis.rows("tokens", trajectory=trajectory)[:SHOWN_IDENTITIES]:
        share = number(r["share_moved"])
        meter = f'<span class="bar" style="--v:{share:.3f}"></span>'
        rows.append(
            [
                Markup(f'<span class="token">{visible_token(json.loads(r["token"])).html}</span>'),
                r["count"],
                f"{number(r['mean_js']):.3f}",
                _range(r, "mean_js", "{:.3f}"),
                f"{number(r['max_js']):.3f}",
                Markup(f"{meter} {_share(share)}"),
            ]
        )
    if not rows:
        return ""
    context = analysis.rows("context", trajectory=trajectory, of="js")
    explained = _share(number(context[0]["explained_adjusted"])) if context else ""
    return table(
        ("token", "occurrences", "mean JS", "95 %", "largest", "moved"),
        rows,
        f"Token identities with the largest mean divergence on the {trajectory}'s responses [nats]. Moved at some "
        "occurrences and not at others: the context decides. "
        + (
            f"Identity alone explains {explained} of the variance of JS (epsilon squared)."
            if explained
            else ""
        ),
    )


def outcome_table(analysis: Analysis) -> str:
    """Divergence of correct and of wrong responses."""
    rows: list[list[Content]] = [
        [
            f"{r['outcome']}, written by the {r['trajectory']}",
            f"{int(r['tokens']):,}",
            f"{number(r['mean_js']):.4f}",
            _range(r, "mean_js", "{:.4f}"),
            _share(number(r["share_moved"])),
            _range(r, "share_moved", "{:.1%}"),
        ]
        for r in analysis.rows("outcome")
        if int(r["tokens"])
    ]
    return table(
        ("responses", "tokens", "mean JS", "95 %", "moved", "95 %"),
        rows,
        "Right and wrong responses: mean exact divergence [nats] and share of moved tokens.",
    )


def budget_table(cross: Cross) -> str:
    """Every budget of cross-sampling."""
    rows: list[list[Content]] = [
        [
            r["direction"],
            r["rule"],
            _share(number(r["share"])),
            _share(number(r["effective_share"])),
            f"{number(r['switches_per_response']):.2f}",
            _share(number(r["accuracy"])),
            f"{_share(number(r['ci_low']))} to {_share(number(r['ci_high']))}",
            _share(number(r["recovered_share"])),
            _p(r.get("p_primary_holm", "")),
            _p(r.get("p_js_holm", "")),
        ]
        for r in cross.budgets
    ]
    header = ("direction", "rule", "switched", "effective", "a response", "accuracy", "95 %", "of the gap",
              "p: no switches", "p: JS rule")  # fmt: skip
    content = table(
        header,
        rows,
        "Every budget. Effective: the primary model would have sampled another token. p: two-sided paired tests "
        "against no switches, and of a control against the JS rule at the same budget, all corrected together (Holm).",
    )
    return f'<div class="budgets">{content}</div>'


def config_blocks(runs: Sequence[Run]) -> str:
    """The configurations as they were run."""
    blocks = []
    for run in runs:
        if run.config:
            blocks.append(details(f"{run.name}: training, config.yaml", run.config))
        for what, part in (("analysis", run.analysis), ("cross-sampling", run.cross)):
            if part is not None:
                text = OmegaConf.to_yaml(OmegaConf.create(part.content["config"]))
                blocks.append(details(f"{run.name}: {what}", text))
    return "".join(blocks)


def versions_table(runs: Sequence[Run]) -> str:
    """Versions of every package that took part, by run and command."""
    columns: dict[str, dict[str, str]] = {}
    for run in runs:
        prefix = f"{run.name}: " if len(runs) > 1 else ""
        if run.summary is not None:
            columns[f"{prefix}train"] = run.summary["versions"]
        if run.analysis is not None:
            columns[f"{prefix}analyze"] = run.analysis.content["versions"]
        if run.cross is not None:
            columns[f"{prefix}cross_sample"] = run.cross.content["versions"]
    packages = sorted({name for versions in columns.values() for name in versions})
    if not packages:
        return ""
    rows = [[name, *(versions.get(name, "") for versions in columns.values())] for name in packages]
    return table(("package", *columns), rows, "Versions")


def _share(value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return f"{100 * value:.1f}\u202f%"


def _range(row: Row, name: str, form: str) -> str:
    """The interval of a column; a dash where one problem alone gives none."""
    low, high = number(row[f"{name}_low"]), number(row[f"{name}_high"])
    return (
        "–"
        if math.isnan(low + high)
        else f"{form.format(low)} to {form.format(high)}".replace("%", "\u202f%")
    )


def _p(text: str) -> str:
    return p_text(number(text)) if text else ""
