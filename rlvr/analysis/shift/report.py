"""analysis.json, and the lines that a person reads while and after an analysis runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rlvr.analysis.config import AnalyzeConfig, TablesConfig
from rlvr.analysis.shift.inputs import PolicyToScore
from rlvr.analysis.shift.responses import IndexSummary
from rlvr.analysis.shift.summary import Headline
from rlvr.analysis.shift.tables import TABLES
from rlvr.analysis.store import versions_of
from rlvr.analysis.tables import FORMAT_VERSION
from rlvr.runtime.dumps import known_number
from rlvr.stats.accuracy import Estimate

PACKAGES = ("rlvr", "torch", "transformers", "pyarrow", "numpy")


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


def headline_lines(headlines: Sequence[Headline], cfg: TablesConfig) -> list[str]:
    """The main figures of every checkpoint and trajectory."""
    lines = []
    for h in headlines:
        figures = h.figures
        lines += [
            f"{h.checkpoint} against base on the {h.trajectory}'s responses: {h.tokens} tokens, "
            f"mean JS {_text(figures['mean_js'], '.4f')}",
            f"  moved (JS > {cfg.moved_above:g}) {_text(figures['share_moved'], '.2%')}; JS <= 0.01 "
            f"{_text(figures['share_near_zero'], '.2%')}",
            f"  at moved positions: top-2 overlap {_text(figures['moved_overlap_2'], '.1%')}, policy's top token "
            f"within base rank 3 {_text(figures['moved_policy_top_within_base_rank_3'], '.1%')}",
        ]
    return lines


def _text(estimate: Estimate, form: str) -> str:
    if estimate.mean != estimate.mean:
        return "none"
    return f"{estimate.mean:{form}} (95% {estimate.low:{form}}..{estimate.high:{form}})"


def analysis_json(
    cfg: AnalyzeConfig, index: IndexSummary, parts: Sequence[dict[str, Any]], headlines: Sequence[Headline]
) -> str:
    """The text of analysis.json: configuration, versions, counts, parts, headline figures, tables."""
    content = {
        "format_version": FORMAT_VERSION,
        "config": asdict(cfg),
        "versions": versions_of(*PACKAGES),
        "responses": asdict(index),
        "token_files": list(parts),
        "headline": [
            {
                "checkpoint": h.checkpoint,
                "trajectory": h.trajectory,
                "tokens": h.tokens,
                "figures": {
                    name: {
                        "value": known_number(e.mean),
                        "low": known_number(e.low),
                        "high": known_number(e.high),
                    }
                    for name, e in h.figures.items()
                },
            }
            for h in headlines
        ],
        "tables": {name: table.meaning for name, table in TABLES.items()},
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"
