"""An evaluation on disk, problem by problem: what has been sampled and graded is not done again.

<folder>/settings.json                      what the responses depend on
<folder>/parts/<set>-000032.jsonl           graded responses to the problems from that place in the set
<folder>/responses.parquet                  all responses of a finished evaluation, one a row
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from omegaconf import OmegaConf

from rlvr.analysis.progress import PartsDone
from rlvr.analysis.store import claim, reading, write_parquet, write_rows
from rlvr.config import Config
from rlvr.reward.verdict import Outcome, Verdict
from rlvr.runtime.dumps import sample_row
from rlvr.runtime.folder import RunFolder
from rlvr.runtime.keys import NOT_OF_EVALUATION, without
from rlvr.types import Group, Prompt, Sample

PROBLEMS_PER_PART = 32  # sampled together and written together

Respond = Callable[[Sequence[Prompt]], tuple[Group, ...]]  # prompts -> graded groups


def claim_settings(folder: RunFolder, cfg: Config) -> None:
    """Write down what the responses depend on, or check it against what an interrupted evaluation wrote.

    Raises:
        ConfigError: the folder holds parts of an evaluation with other settings.
    """
    content = OmegaConf.to_container(OmegaConf.structured(cfg))
    assert isinstance(content, dict)
    now = without({str(key): value for key, value in content.items()}, NOT_OF_EVALUATION)
    claim(folder.path / "settings.json", now, f"run.name={folder.path.name}")


def groups_in_parts(
    folder: RunFolder, name: str, prompts: Sequence[Prompt], respond: Respond
) -> tuple[Group, ...]:
    """The graded responses to all prompts of a set: read where a part is on disk, else sampled and written."""
    safe_name = re.sub(r"[^\w.-]", "_", name)
    files = {
        folder.path / "parts" / f"{safe_name}-{start:06d}.jsonl": prompts[start : start + PROBLEMS_PER_PART]
        for start in range(0, len(prompts), PROBLEMS_PER_PART)
    }
    done: list[Group] = []
    with PartsDone(f"evaluating on {name}", len(files), sum(file.exists() for file in files)) as progress:
        for file, chosen in files.items():
            if file.exists():
                done += _read_part(file, chosen)
                continue
            groups = respond(chosen)
            rows = [sample_row(group, i) for group in groups for i in range(len(group.samples))]
            write_rows(file, rows)
            done += groups
            progress.done(f"{name}: {len(done)} of {len(prompts)} problems")
    return tuple(done)


def _read_part(path: Path, prompts: Sequence[Prompt]) -> list[Group]:
    with reading(path):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        of_problem = {p.id: [r for r in rows if r["problem_id"] == p.id] for p in prompts}
        return [Group(prompt, tuple(_sample(row) for row in of_problem[prompt.id])) for prompt in prompts]


def _sample(row: dict[str, Any]) -> Sample:
    verdict = Verdict(
        row["sample_id"],
        Outcome(row["verdict"]),
        row["extracted"],
        row["answer"],
        0.0,
        score=row.get("score"),  # parts of an earlier version have none
    )
    return Sample(
        id=row["sample_id"],
        token_ids=tuple(row["response_ids"]),
        logprobs=np.zeros(0, dtype=np.float32),
        text=row["response"],
        truncated=row["truncated"],
        weight_version=row["weight_version"],
        verdict=verdict,
        reward=float("nan") if row["reward"] is None else row["reward"],
        in_loss=row["in_loss"],
    )


def write_responses(folder: RunFolder, sets: Sequence[tuple[str, Sequence[Group]]]) -> None:
    """Write responses.parquet: one row a response, with the set it belongs to."""
    rows = [
        {"set": name, **sample_row(group, i)}
        for name, groups in sets
        for group in groups
        for i in range(len(group.samples))
    ]
    table = pa.Table.from_pylist(rows)
    write_parquet(folder.path / "responses.parquet", [table], table.schema)
