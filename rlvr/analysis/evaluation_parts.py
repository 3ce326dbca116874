"""An evaluation on disk, problem by problem: what has been sampled and graded is not done again.

<folder>/settings.json                      what the responses depend on
<folder>/parts/<set>-000032.jsonl           graded responses to the problems from that place in the set
<folder>/responses.parquet                  all responses of a finished evaluation, one a row
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from omegaconf import OmegaConf

from rlvr.config import Config
from rlvr.errors import ConfigError, RlvrError
from rlvr.reward.verdict import Outcome, Verdict
from rlvr.runtime.dumps import sample_row
from rlvr.runtime.folder import RunFolder, write_atomically
from rlvr.runtime.resume import differences
from rlvr.types import Group, Prompt, Sample

PROBLEMS_PER_PART = 32  # sampled together and written together
# Sections and keys that decide where, how fast and how long, but not what is sampled.
FREE = ("run", "tracking", "cluster", "sync", "learner", "steps", "recipe", "loss", "advantage")

Respond = Callable[[Sequence[Prompt]], tuple[Group, ...]]  # prompts -> graded groups


def claim_settings(folder: RunFolder, cfg: Config) -> None:
    """Write down what the responses depend on, or check it against what an interrupted evaluation wrote.

    Raises:
        ConfigError: the folder holds parts of an evaluation with other settings.
    """
    now = {k: v for k, v in _container(cfg).items() if k not in FREE}
    del now["reward"]["max_failed"]  # what may be raised to go on
    path = folder.path / "settings.json"
    if path.exists():
        changed = [f"{key} was {old!r}, is {new!r}" for key, old, new in differences(_read(path), now)]
        if changed:
            raise ConfigError(
                f"run.name={folder.path.name}: holds parts of an evaluation with other settings: "
                f"{'; '.join(changed)}. Choose another run.name, or put these back to go on with it."
            )
    (folder.path / "parts").mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(now, indent=2) + "\n")


def _container(cfg: Config) -> dict[str, Any]:
    # Through JSON, so that what is compared later has the types that JSON gives back.
    return json.loads(json.dumps(OmegaConf.to_container(OmegaConf.structured(cfg))))


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:  # a file on disk may have been damaged
        raise RlvrError(
            f"{path}: cannot be read ({error}); remove it to sample its responses again"
        ) from error


def groups_in_parts(
    folder: RunFolder, name: str, prompts: Sequence[Prompt], respond: Respond
) -> tuple[Group, ...]:
    """The graded responses to all prompts of a set: read where a part is on disk, else sampled and written."""
    safe_name = re.sub(r"[^\w.-]", "_", name)
    done: list[Group] = []
    for start in range(0, len(prompts), PROBLEMS_PER_PART):
        chosen = prompts[start : start + PROBLEMS_PER_PART]
        path = folder.path / "parts" / f"{safe_name}-{start:06d}.jsonl"
        if path.exists():
            done += _read_part(path, chosen)
            continue
        groups = respond(chosen)
        rows = [sample_row(group, i) for group in groups for i in range(len(group.samples))]
        write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows))
        done += groups
        print(f"{name}: {len(done)} of {len(prompts)} problems", flush=True)
    return tuple(done)


def _read_part(path: Path, prompts: Sequence[Prompt]) -> Iterator[Group]:
    try:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        of_problem = {p.id: [r for r in rows if r["problem_id"] == p.id] for p in prompts}
        for prompt in prompts:
            yield Group(prompt, tuple(_sample(row) for row in of_problem[prompt.id]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RlvrError(f"{path}: damaged ({error}); remove it to sample its responses again") from error


def _sample(row: dict[str, Any]) -> Sample:
    verdict = Verdict(row["sample_id"], Outcome(row["verdict"]), row["extracted"], row["answer"], 0.0)
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
    draft = folder.path / ".responses.parquet"
    pq.write_table(pa.Table.from_pylist(rows), draft)
    draft.replace(folder.path / "responses.parquet")
