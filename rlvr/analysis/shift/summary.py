"""From the finished token table to tables, headline figures and analysis.json.

The parts are read one at a time, once for most tables and once more for the listed tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rlvr.analysis.config import AnalyzeConfig, TablesConfig
from rlvr.analysis.shift import binned
from rlvr.analysis.shift.classes import CLASSES, class_of
from rlvr.analysis.shift.columns import COLUMNS_OF_TABLES, MEANINGS, OVERLAP_KS, TABLES
from rlvr.analysis.shift.identities import READ_AGAIN, Identities, shown_tokens
from rlvr.analysis.shift.inputs import PolicyToScore
from rlvr.analysis.shift.parts import SECTIONS, part_metadata
from rlvr.analysis.shift.responses import IndexSummary
from rlvr.analysis.shift.tally import Cells, TokenPart, poisson_weights
from rlvr.analysis.store import reading, versions_of, write_text
from rlvr.analysis.tables import FORMAT_VERSION, as_csv, table_of, where
from rlvr.runtime.disk.dumps import known_number
from rlvr.stats.accuracy import Estimate
from rlvr.stats.student import interval_text

BUILDERS = (
    binned.sparsity, binned.thresholds, binned.Evolution, binned.position, binned.js_entropy, binned.outcome,
    binned.classes, binned.overlap, binned.rank, binned.mass, binned.truncation, binned.truncation_agreement,
    Identities,
)  # fmt: skip
READ = (  # of the token table, for most tables
    "js", "js_top_p", "kl_policy_base", "kl_base_policy", "entropy_policy", "entropy_base",
    "top_policy_prob_base", "top_base_prob_policy", "position", "from_end", "token_id", "correct",
    "top_policy_rank_base", "top_base_rank_policy", *(f"overlap_{k}" for k in OVERLAP_KS), "section", "token",
)  # fmt: skip
DIGITS = 9  # significant ones of the numbers in the tables
PACKAGES = ("rlvr", "torch", "transformers", "pyarrow", "numpy")


@dataclass(frozen=True, slots=True)
class Headline:
    """The figures of one checkpoint on one model's responses."""

    checkpoint: str
    trajectory: str
    tokens: int
    figures: dict[str, Estimate]

    def lines(self, moved_above: float) -> list[str]:
        """The main figures as a person reads them."""

        def text(name: str, form: str) -> str:
            e = self.figures[name]
            return "none" if e.mean != e.mean else interval_text(e.mean, e.low, e.high, form, level="95% ")

        return [
            f"{self.checkpoint} against base on the {self.trajectory}'s responses: {self.tokens} tokens, "
            f"mean JS {text('mean_js', '.4f')}",
            f"  moved (JS > {moved_above:g}) {text('share_moved', '.2%')}; JS <= 0.01 "
            f"{text('share_near_zero', '.2%')}",
            f"  at moved positions: top-2 overlap {text('moved_overlap_2', '.1%')}, policy's top token "
            f"within base rank 3 {text('moved_policy_top_within_base_rank_3', '.1%')}",
        ]


def read_token_part(path: Path, cfg: TablesConfig, names: Sequence[str] = READ) -> TokenPart:
    """One part of the token table with its bootstrap weights; `names` limits the columns.

    Raises:
        DataError: the file is damaged.
    """
    unit = "problem_id" if cfg.unit == "problem" else "response"
    with reading(path):
        file = pq.ParquetFile(path)
        table = file.read(columns=[*names, unit])
    columns = {name: table[name].to_numpy() for name in names if name not in ("section", "token")}
    columns = {name: v.astype(np.float64) if v.dtype == np.float32 else v for name, v in columns.items()}
    if "section" in names:
        columns["section"] = np.asarray([SECTIONS.index(name) for name in table["section"].to_pylist()])
    if "token" in names:
        columns["class"] = np.asarray([CLASSES.index(class_of(text)) for text in table["token"].to_pylist()])
    units, index = np.unique(np.asarray(table[unit].to_pylist()), return_inverse=True)
    weights = poisson_weights([str(u) for u in units], cfg.bootstrap, cfg.bootstrap_seed)
    metadata = part_metadata(file)
    return TokenPart(metadata["checkpoint"], metadata["trajectory"], columns, index.astype(np.int64), weights)


def write_tables(
    folder: Path, files: Sequence[Path], cfg: TablesConfig, text: Callable[[int], str]
) -> list[Headline]:
    """Write `tables/*.csv` from the parts of the token table; `text` gives that of a token id.

    Raises:
        DataError: a part is damaged.
        RlvrError: a table cannot be written.
    """
    builders: dict[tuple[str, str], dict[str, Any]] = {}
    for path in files:
        part = read_token_part(path, cfg)
        key = (part.checkpoint, part.trajectory)
        own = builders.setdefault(key, {b.name: b for b in (build(cfg) for build in BUILDERS)})
        for builder in own.values():
            builder.add(part)
    shown = {key: shown_tokens(own[Identities.name], text) for key, own in builders.items()}
    for path in files:
        part = read_token_part(path, cfg, READ_AGAIN)
        shown[part.checkpoint, part.trajectory].add(part)
    rows: dict[str, list[Cells]] = {name: [] for name in TABLES}
    for key, own in builders.items():
        for builder in (*own.values(), shown[key]):
            rows[builder.name] += [(*key, *cells) for cells in builder.rows()]
    described: list[Cells] = []
    tables = {name: table_of(columns, rows[name]) for name, columns in TABLES.items()}
    for name, table in tables.items():
        write_text(folder / "tables" / f"{name}.csv", as_csv(table, digits=DIGITS))
        described.append((name, "", "", MEANINGS[name]))
        described += [(name, c.name, c.unit, c.meaning) for c in TABLES[name]]
    write_text(folder / "tables" / "columns.csv", as_csv(table_of(COLUMNS_OF_TABLES, described)))
    return [_headline(key, tables) for key in builders]


def _headline(key: tuple[str, str], tables: Mapping[str, pa.Table]) -> Headline:
    def figure(table: str, column: str, **wanted: object) -> Estimate:
        """A column with its interval, of the row with these values."""
        (row,) = where(tables[table], checkpoint=key[0], trajectory=key[1], **wanted).to_pylist()
        return Estimate(row[column], row[f"{column}_low"], row[f"{column}_high"])

    favourite = {"direction": "policy_in_base", "group": "moved"}
    figures = {
        "mean_js": figure("evolution", "value", measure="js", statistic="mean"),
        "share_moved": figure("evolution", "value", measure="js", statistic="share_moved"),
        "mean_js_top_p": figure("evolution", "value", measure="js_top_p", statistic="mean"),
        "share_moved_top_p": figure("evolution", "value", measure="js_top_p", statistic="share_moved"),
        "share_near_zero": figure("sparsity", "share", measure="js", at_most=binned.NEAR_ZERO),
        "moved_overlap_2": figure("overlap", "overlap", group="moved", k=2),
        "moved_policy_top_is_base_top": figure("rank", "share_within", **favourite, rank_from=1),
        "moved_policy_top_within_base_rank_3": figure("rank", "share_within", **favourite, rank_from=3),
        "moved_policy_top_base_prob_below_0.01": figure("mass", "share_below", **favourite, prob_to=0.01),
    }
    counted = where(tables["outcome"], checkpoint=key[0], trajectory=key[1])["tokens"]
    return Headline(*key, sum(counted.to_pylist()), figures)


def describe(index: IndexSummary, chosen: Sequence[PolicyToScore]) -> str:
    """What is about to be scored."""
    counts = [
        f"{index.responses[name]} responses of the {name} ({index.problems[name]} problems, "
        f"{index.tokens[name]} tokens, {index.correct[name] / index.responses[name]:.1%} correct)"
        for name in index.responses
    ]
    left_out = f"; {index.empty} without a token left out" if index.empty else ""
    left_out += f"; {index.failed} on which the verifier failed left out" if index.failed else ""
    return (
        f"{' and '.join(counts)}{left_out}; scored with {', '.join(p.label for p in chosen)} in "
        f"{index.parts * len(chosen)} parts"
    )


def analysis_json(
    cfg: AnalyzeConfig, index: IndexSummary, parts: Sequence[dict[str, Any]], headlines: Sequence[Headline]
) -> str:
    """The text of analysis.json: configuration, versions, counts, parts, headline figures, tables."""

    def ends(e: Estimate) -> dict[str, float | None]:
        return {"value": known_number(e.mean), "low": known_number(e.low), "high": known_number(e.high)}

    content = {
        "format_version": FORMAT_VERSION,
        "config": asdict(cfg),
        "versions": versions_of(*PACKAGES),
        "responses": asdict(index),
        "token_files": list(parts),
        "headline": [
            asdict(h) | {"figures": {name: ends(e) for name, e in h.figures.items()}} for h in headlines
        ],
        "tables": MEANINGS,
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"
