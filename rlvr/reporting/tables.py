"""The tables and main figures of a run's page, as text."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape
from omegaconf import OmegaConf

from rlvr.analysis.cross.store import CLASS_COLUMNS
from rlvr.analysis.loaded import LoadedAnalysis
from rlvr.analysis.shift.classes import CLASSES
from rlvr.analysis.tables import TextTable, known, read_csv, text_table, where
from rlvr.reporting.sources import Cross, ReportedRun
from rlvr.runtime.disk.summary import Summary
from rlvr.stats.student import p_text

SHOWN_IDENTITIES = 15
OF_RUN = ("run", "recipe", "seed", "steps", "set", "before", "after", "95 %", "minutes", "tokens", "mismatch")
HEADLINES = {
    "share_moved": "of tokens moved (JS > {:g})",
    "share_near_zero": "of tokens at JS ≤ 0.01",
    "moved_policy_top_within_base_rank_3": "of the policy's favourites are in the base's top 3, where moved",
}
WHITESPACE = {" ": "sp", "\n": "nl", "\t": "tab"}
# Control, format (bidirectional overrides among them), private, surrogate, line and paragraph separators.
UNSEEN = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp", "Zs"}


@dataclass(frozen=True, slots=True)
class Fact:
    """One of the large figures in the head of a page."""

    value: str
    label: str
    note: str


def lead(run: ReportedRun) -> str:
    """One sentence on what was run."""
    s = run.summary
    if s is None:
        unfinished = "This run has no summary.json: it has not finished, or it is an analysis alone."
        return unfinished if run.train else ""
    took = f"{s.steps} {'step' if s.steps == 1 else 'steps'} in {s.train_seconds / 60:.1f} min"
    return f"{s.recipe} on {s.data}, model {s.model}, seed {s.seed}: {took}, {s.tokens_generated:,} tokens sampled."


def facts(run: ReportedRun) -> Iterator[Fact]:
    """The main figures of a run: accuracy, how sparse the shift is, how much of the gap few tokens recover."""
    for name, found in (run.summary.eval_sets if run.summary else {}).items():
        value = f"{100 * found['before']:.1f} → {share(found['after'])}"
        yield Fact(value, f"accuracy on {name}, before and after", f"95 %: {_ends(found)}")
    if run.analysis is not None:
        whose = run.analysis.trajectories[0]
        for key, label in HEADLINES.items():
            if (headline := run.analysis.figure(key, whose)) is not None:
                value, low, high = map(share, headline)
                note = f"95 %: {low} to {high}; {whose}'s responses"
                yield Fact(value, label.format(run.analysis.moved_above), note)
    if run.cross is not None:
        rows = known(where(run.cross.budgets, direction="forward", rule="js"), "recovered_share").to_pylist()
        if rows:
            best = max(rows, key=lambda r: (r["recovered_share"], -r["share"]))
            label = f"of the gap recovered by {share(best['share'])} policy tokens"
            note = f"accuracy {share(best['accuracy'])}, 95 %: {_ends(best)}"
            yield Fact(share(best["recovered_share"]), label, note)


def summary_table(runs: Sequence[ReportedRun]) -> TextTable:
    """One row a run, from summary.json and the last evaluation."""
    rows: list[tuple[str, ...]] = []
    for run in runs:
        s = run.summary
        if s is None:
            rows.append((run.name, "not finished", *[""] * (len(OF_RUN) - 2)))
            continue
        start = (run.name, s.recipe, str(s.seed), str(s.steps))
        end = (f"{s.train_seconds / 60:.1f}", f"{s.tokens_generated:,}", _mismatch(s))
        for name, found in s.eval_sets.items():
            rows.append((*start, name, share(found["before"]), share(found["after"]), _ends(found), *end))
    caption = "Runs. Accuracy on held-out problems before and after, interval clustered by problem."
    return TextTable(OF_RUN, tuple(rows), caption)


def _mismatch(summary: Summary) -> str:
    """The largest mismatch of a run, and at how many steps it was compared if not at all of them."""
    largest, compared, steps = summary.max_logprob_mismatch, summary.mismatch_compared_steps, summary.steps
    if largest is None:
        return "not compared"
    return f"{largest:.1e}" + (f" (at {compared} of {steps} steps)" if compared not in (None, steps) else "")


def identity_table(analysis: LoadedAnalysis) -> TextTable | None:
    """The token identities that moved most; None if there are none."""
    trajectory = analysis.trajectories[0]
    found = analysis.rows("tokens", trajectory=trajectory).slice(0, SHOWN_IDENTITIES).to_pylist()
    if not found:
        return None
    context = analysis.rows("context", trajectory=trajectory, of="js").to_pylist()
    explained = share(context[0]["explained_adjusted"]) if context else ""
    said = (
        f"Identity alone explains {explained} of the variance of JS (epsilon squared)." if explained else ""
    )
    token = Markup('<span class="token">{}</span>')
    meter = Markup('<span class="bar" style="--v:{:.3f}"></span> {}')
    return text_table(
        f"Token identities with the largest mean divergence on the {trajectory}'s responses [nats]. Moved at some "
        f"occurrences and not at others: the context decides. {said}",
        found,
        ("token", lambda r: token.format(visible_token(json.loads(r["token"])))),
        ("occurrences", lambda r: str(r["count"])),
        ("mean JS", lambda r: f"{r['mean_js']:.3f}"),
        ("95 %", lambda r: _range(r, "mean_js", "{:.3f}")),
        ("largest", lambda r: f"{r['max_js']:.3f}"),
        ("moved", lambda r: meter.format(r["share_moved"], share(r["share_moved"]))),
    )


def outcome_table(analysis: LoadedAnalysis) -> TextTable:
    """Divergence of correct and of wrong responses."""
    return text_table(
        "Right and wrong responses: mean exact divergence [nats] and share of moved tokens.",
        [r for r in analysis.rows("outcome").to_pylist() if r["tokens"]],
        ("responses", lambda r: f"{r['outcome']}, written by the {r['trajectory']}"),
        ("tokens", lambda r: f"{r['tokens']:,}"),
        ("mean JS", lambda r: f"{r['mean_js']:.4f}"),
        ("95 %", lambda r: _range(r, "mean_js", "{:.4f}")),
        ("moved", lambda r: share(r["share_moved"])),
        ("95 %", lambda r: _range(r, "share_moved", "{:.1%}")),
    )


def class_table(analysis: LoadedAnalysis) -> TextTable | None:
    """Divergence by class of token; None for an analysis that was written before there were classes."""
    if "classes" not in analysis.tables:
        return None
    return text_table(
        "Classes of tokens, by their text alone: mean exact divergence [nats], and what each class has of all tokens, "
        "of the summed divergence and of the moved tokens.",
        [r for r in analysis.rows("classes").to_pylist() if r["tokens"]],
        ("class", lambda r: f"{r['class']}, in the {r['trajectory']}'s responses"),
        ("tokens", lambda r: f"{r['tokens']:,}"),
        ("of all", lambda r: share(r["share"])),
        ("mean JS", lambda r: f"{r['mean_js']:.4f}"),
        ("95 %", lambda r: _range(r, "mean_js", "{:.4f}")),
        ("of the divergence", lambda r: share(r["share_of_js"])),
        ("95 %", lambda r: _range(r, "share_of_js", "{:.1%}")),
        ("of the moved", lambda r: share(r["share_of_moved"])),
    )


def budget_table(cross: Cross) -> TextTable:
    """Every budget of cross-sampling."""
    return text_table(
        "Every budget. Effective: the primary model would have sampled another token. p: two-sided paired tests "
        "against no switches, and of a control against the JS rule at the same budget, all corrected together (Holm).",
        cross.budgets.to_pylist(),
        ("direction", lambda r: r["direction"]),
        ("rule", lambda r: r["rule"]),
        ("switched", lambda r: share(r["share"])),
        ("effective", lambda r: share(r["effective_share"])),
        ("a response", lambda r: f"{r['switches_per_response']:.2f}"),
        ("accuracy", lambda r: share(r["accuracy"])),
        ("95 %", _ends),
        ("of the gap", lambda r: share(r["recovered_share"])),
        ("p: no switches", lambda r: _p(r["p_primary_holm"])),
        ("p: JS rule", lambda r: _p(r["p_js_holm"])),
    )


def switch_class_table(cross: Cross) -> TextTable | None:
    """Effective switches by class of the token taken; None for results from before they were classed."""
    file = cross.folder / "classes.csv"
    if not file.is_file():
        return None
    rows: dict[tuple[str, str, str], dict[str, dict[str, Any]]] = {}
    for row in read_csv(file, CLASS_COLUMNS).to_pylist():
        rows.setdefault((row["direction"], row["rule"], row["level"]), {})[row["token_class"]] = row
    return text_table(
        "Where the effective switches fall: share of them by class of the token taken (its text alone decides), with "
        "95 % interval, bootstrapped over problems.",
        rows.items(),
        ("direction", lambda r: r[0][0]),
        ("rule", lambda r: r[0][1]),
        ("budget", lambda r: r[0][2]),
        ("switches", lambda r: f"{sum(one['effective'] for one in r[1].values()):,}"),
        *((name, lambda r, name=name: _class_cell(r[1][name])) for name in CLASSES),
    )


def _class_cell(row: Mapping[str, Any]) -> str:
    if math.isnan(row["share_of_effective"]):
        return ""
    return f"{share(row['share_of_effective'])} ({_range(row, 'share_of_effective', '{:.1%}')})"


def _p(value: float) -> str:
    return "" if math.isnan(value) else p_text(value)


def configs(runs: Sequence[ReportedRun]) -> Iterator[tuple[str, str]]:
    """The configurations as they were run, each with its name."""
    for run in runs:
        if run.config:
            yield f"{run.name}: training, config.yaml", run.config
        for what, part in (("analysis", run.analysis), ("cross-sampling", run.cross)):
            if part is not None:
                yield f"{run.name}: {what}", OmegaConf.to_yaml(OmegaConf.create(part.content["config"]))


def versions_table(runs: Sequence[ReportedRun]) -> TextTable | None:
    """Versions of every package that took part, by run and command; None if no run has any."""
    columns: dict[str, dict[str, str]] = {}
    for run in runs:
        parts = {
            "train": run.summary.versions if run.summary else None,
            "analyze": run.analysis.content["versions"] if run.analysis else None,
            "cross_sample": run.cross.content["versions"] if run.cross else None,
        }
        prefix = f"{run.name}: " if len(runs) > 1 else ""
        columns |= {f"{prefix}{name}": part for name, part in parts.items() if part is not None}
    packages = sorted({name for versions in columns.values() for name in versions})
    rows = ((name, *(versions.get(name, "") for versions in columns.values())) for name in packages)
    return TextTable(("package", *columns), tuple(rows), "Versions") if packages else None


def share(value: float | None) -> str:
    """A share in per cent; empty where it is not known."""
    return "" if value is None or math.isnan(value) else f"{100 * value:.1f}\u202f%"


def _ends(found: Mapping[str, float]) -> str:
    return f"{share(found['ci_low'])} to {share(found['ci_high'])}"


def _range(row: Mapping[str, float], name: str, form: str) -> str:
    """The interval of a column; a dash where one problem alone gives none."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    if math.isnan(low + high):
        return "–"
    return f"{form.format(low)} to {form.format(high)}".replace("%", "\u202f%")


def visible_token(text: str) -> Markup:
    """A token with its spaces and line ends shown by style, so that a selection still copies the text.

    Characters that cannot be seen, such as bidirectional overrides, are shown as U+XXXX.
    """
    return Markup("").join(map(_character, text)) or Markup('<span class="code">empty</span>')


def _character(character: str) -> Markup:
    if character in WHITESPACE:
        return Markup('<span class="{}">{}</span>').format(WHITESPACE[character], character)
    if unicodedata.category(character) in UNSEEN:
        return Markup('<span class="code">U+{:04X}</span>').format(ord(character))
    return escape(character)
