"""Stream over the finished token table, once for most tables and once for the listed tokens, and write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from rlvr.analysis.config import TablesConfig
from rlvr.analysis.shift.candidates import Mass, Overlap, Rank
from rlvr.analysis.shift.columns import OVERLAP_KS
from rlvr.analysis.shift.identities import Identities, ShownTokens
from rlvr.analysis.shift.parts import part_metadata
from rlvr.analysis.shift.profiles import ByOutcome, JsEntropy, Position
from rlvr.analysis.shift.sections import SECTIONS
from rlvr.analysis.shift.sparsity import (
    Evolution,
    Sparsity,
    Thresholds,
    Truncation,
    TruncationAgreement,
)
from rlvr.analysis.shift.tables import COLUMNS_OF_TABLES, TABLES
from rlvr.analysis.shift.tally import Cells, TokenPart, poisson_weights
from rlvr.analysis.store import reading, write_text
from rlvr.analysis.tables import as_csv, table_of
from rlvr.stats.accuracy import Estimate

BUILDERS = (
    Sparsity, Thresholds, Evolution, Position, JsEntropy, ByOutcome, Overlap, Rank, Mass, Truncation,
    TruncationAgreement, Identities,
)  # fmt: skip
FLOATS = (
    "js", "js_top_p", "kl_policy_base", "kl_base_policy", "entropy_policy", "entropy_base",
    "top_policy_prob_base", "top_base_prob_policy",
)  # fmt: skip
WHOLE = (
    "position", "from_end", "token_id", "correct", "top_policy_rank_base", "top_base_rank_policy",
    *(f"overlap_{k}" for k in OVERLAP_KS),
)  # fmt: skip
DIGITS = 9  # significant ones of the numbers in the tables
UNIT_COLUMN = {"problem": "problem_id", "response": "response"}


@dataclass(frozen=True, slots=True)
class Headline:
    """The figures of one checkpoint on one model's responses."""

    checkpoint: str
    trajectory: str
    tokens: int
    figures: dict[str, Estimate]


def read_token_part(path: Path, cfg: TablesConfig, names: Sequence[str] | None = None) -> TokenPart:
    """One part of the token table with its bootstrap weights; `names` limits the columns.

    Raises:
        DataError: the file is damaged.
    """
    unit = UNIT_COLUMN[cfg.unit]
    wanted = [*FLOATS, *WHOLE, "section"] if names is None else list(names)
    with reading(path):
        file = pq.ParquetFile(path)
        table = file.read(columns=[*wanted, unit])
    columns = {}
    for name in wanted:
        if name == "section":
            place = {section: i for i, section in enumerate(SECTIONS)}
            columns[name] = np.asarray([place[s] for s in table[name].to_pylist()])
        else:
            values = table[name].to_numpy()
            columns[name] = values.astype(np.float64) if name in FLOATS else values
    units, index = np.unique(np.asarray(table[unit].to_pylist()), return_inverse=True)
    metadata = part_metadata(file)
    return TokenPart(
        metadata["checkpoint"],
        metadata["trajectory"],
        columns,
        index.astype(np.int64),
        poisson_weights([str(u) for u in units], cfg.bootstrap, cfg.bootstrap_seed),
    )


def write_tables(
    folder: Path, files: Sequence[Path], cfg: TablesConfig, text: Callable[[int], str]
) -> list[Headline]:
    """Write `tables/*.csv` from the parts of the token table, which are read one at a time.

    Raises:
        RlvrError: a table cannot be written.
    """
    builders: dict[tuple[str, str], list] = {}
    for path in files:
        part = read_token_part(path, cfg)
        chosen = builders.setdefault((part.checkpoint, part.trajectory), [b(cfg) for b in BUILDERS])
        for builder in chosen:
            builder.add(part)
    shown = {
        key: ShownTokens(next(b for b in chosen if isinstance(b, Identities)))
        for key, chosen in builders.items()
    }
    for path in files:
        part = read_token_part(path, cfg, ShownTokens.reads)
        shown[part.checkpoint, part.trajectory].add(part)
    rows: dict[str, list[Cells]] = {name: [] for name in TABLES}
    for key, chosen in builders.items():
        for builder in chosen:
            rows[builder.name] += [(*key, *cells) for cells in builder.rows()]
        rows["tokens"] += [(*key, *cells) for cells in shown[key].rows(text)]
    for name, table in TABLES.items():
        text_of_table = as_csv(table_of(table.columns, rows[name]), digits=DIGITS)
        write_text(folder / "tables" / f"{name}.csv", text_of_table)
    documentation = [
        cells
        for name, table in TABLES.items()
        for cells in (
            (name, "", "", table.meaning),
            *((name, c.name, c.unit, c.meaning) for c in table.columns),
        )
    ]
    write_text(folder / "tables" / "columns.csv", as_csv(table_of(COLUMNS_OF_TABLES, documentation)))
    return [_headline(key, chosen, cfg) for key, chosen in builders.items()]


def _headline(key: tuple[str, str], chosen: Sequence, cfg: TablesConfig) -> Headline:
    by_name = {builder.name: builder for builder in chosen}
    means, rank, mass = by_name["evolution"].means, by_name["rank"], by_name["mass"]
    figures = {
        "mean_js": means["js"].mean(0),
        "share_moved": by_name["thresholds"].share_above("js", cfg.moved_above),
        "mean_js_top_p": means["js_top_p"].mean(0),
        "share_moved_top_p": by_name["thresholds"].share_above("js_top_p", cfg.moved_above),
        "share_near_zero": by_name["sparsity"].near_zero(),
        "moved_overlap_2": by_name["overlap"].at("moved", 2),
        "moved_policy_top_is_base_top": rank.below("policy_in_base", "moved", 2),
        "moved_policy_top_within_base_rank_3": rank.below("policy_in_base", "moved", 4),
        "moved_policy_top_base_prob_below_0.01": mass.below("policy_in_base", "moved", 0.01),
    }
    return Headline(*key, int(means["js"].count.total[0]), figures)
