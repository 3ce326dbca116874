"""Run folders in the real formats, written by the project's own writers from made-up numbers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa

from rlvr.analysis.config import AnalyzeConfig, TablesConfig
from rlvr.analysis.cross.records import Part
from rlvr.analysis.cross.store import Store
from rlvr.analysis.shift.columns import CANDIDATES, OVERLAP_KS, RESPONSE_COLUMNS, TOKEN_COLUMNS
from rlvr.analysis.shift.parts import token_file
from rlvr.analysis.shift.responses import IndexSummary
from rlvr.analysis.shift.summary import analysis_json, write_tables
from rlvr.analysis.store import write_parquet, write_text
from rlvr.analysis.tables import schema
from rlvr.config import Config
from rlvr.runtime.disk.folder import RunFolder
from rlvr.runtime.disk.summary import Summary
from rlvr.stats.accuracy import EvalResult

# Texts that would break a page that trusted them.
TEXTS = (
    "a",
    " then",
    "\n",
    "</script>",
    "<img src=x onerror=alert(1)>",
    "&amp;",
    "‮",
    "\\",
    "7",
    '"',
    "“é”",
    "",
)
CHECKPOINTS = ("step_000010", "policy")
TRAJECTORIES = ("policy", "base")
PROBLEMS, SAMPLES = 4, 3
QUESTION = "1 < 2 & </script>?"


def write_training(root: Path, name: str, steps: int = 6) -> Path:
    """A finished training run."""
    folder = RunFolder(root, name)
    folder.create(Config(recipe="made_up"))
    rng = np.random.default_rng(len(name))
    for step in range(steps + 1):
        if step:
            folder.append_metrics({"step": step, "kind": "train", **_metrics(rng, step)})
        if step % 3 == 0:
            folder.append_metrics({"step": step, "kind": "eval", **_evaluation(0.3 + 0.05 * step)})
    folder.write_summary(
        Summary(
            recipe="made_up",
            model="builtin",
            data="arithmetic",
            seed=1,
            steps=steps,
            eval_accuracy_before=0.3,
            eval_accuracy_after=0.6,
            eval_accuracy_ci95=(0.5, 0.7),
            eval_sets={"held": {"before": 0.3, "after": 0.6, "ci_low": 0.5, "ci_high": 0.7}},
            train_seconds=120.0,
            setup_seconds=10.0,
            tokens_generated=12345,
            max_logprob_mismatch=1e-7,
            resumed_from=None,
            versions={"rlvr": "0.1.0", "torch": "2.13.0"},
            folder=str(folder.path),
        )
    )
    return folder.path


def _metrics(rng: np.random.Generator, step: int) -> dict[str, float]:
    names = (
        "accuracy", "reward/mean", "js_base/mean", "js_base/p50", "js_base/p95", "js_base/p99", "token_weight/mean",
        "entropy/mean", "length/mean", "length/max", "grad_norm", "clip/high", "clip/low", "mismatch/mean",
        "mismatch/max", "seconds/step", "token_weight/gini", "token_weight/effective", "gradient/top1",
        "gradient/top5", "gradient/top20",
    )  # fmt: skip
    return {name: float(rng.random()) for name in names} | {"tokens/trained": 100.0 * step}


def _evaluation(accuracy: float) -> dict[str, float]:
    return {
        "eval/held/accuracy": accuracy,
        "eval/held/ci_low": accuracy - 0.1,
        "eval/held/ci_high": accuracy + 0.1,
        "eval/held/outcome/correct": 80 * accuracy,
        "eval/held/outcome/wrong": 80 * (1 - accuracy),
    }


def write_analysis(
    folder: Path, trajectories: tuple[str, ...] = TRAJECTORIES, *, bootstrap: int = 20
) -> Path:
    """An analysis of random scores: 12 responses of each trajectory, two checkpoints."""
    rng = np.random.default_rng(3)
    cfg = AnalyzeConfig(output=str(folder), tables=TablesConfig(bootstrap=bootstrap, min_count=1))
    responses = [
        _response(k * PROBLEMS * SAMPLES + i, k, trajectory, i, rng)
        for k, trajectory in enumerate(trajectories)
        for i in range(PROBLEMS * SAMPLES)
    ]
    parts = [[r for r in responses if r["part"] == k] for k in range(len(trajectories))]
    tables = [pa.Table.from_pylist(part, schema=schema(RESPONSE_COLUMNS)) for part in parts]
    write_parquet(folder / "responses.parquet", tables, schema(RESPONSE_COLUMNS))
    files, entries = [], []
    for c, checkpoint in enumerate(CHECKPOINTS):
        for k, part in enumerate(parts):
            rows = [row for response in part for row in _tokens(response, checkpoint, rng)]
            models = {"policy": "/some/where/policy", "base": "/some/where/model"}
            own = schema(TOKEN_COLUMNS, checkpoint=checkpoint, trajectory=trajectories[k], **models)
            path = token_file(folder, c * len(parts) + k)
            write_parquet(path, [pa.Table.from_pylist(rows, schema=own)], own)
            files.append(path)
            name = str(path.relative_to(folder))
            entries.append(
                {"file": name, "checkpoint": checkpoint, "trajectory": trajectories[k], "tokens": len(rows)}
            )
    headlines = write_tables(folder, files, cfg.tables, TEXTS.__getitem__)
    counts = dict.fromkeys(trajectories, PROBLEMS * SAMPLES)
    index = IndexSummary(len(parts), counts, counts, counts, counts, 0, "made up")
    write_text(folder / "analysis.json", analysis_json(cfg, index, entries, headlines))
    return folder


def _response(number: int, part: int, trajectory: str, i: int, rng: np.random.Generator) -> dict:
    ids = rng.integers(0, len(TEXTS), size=int(rng.integers(1, 9))).tolist()
    reward = float(rng.integers(0, 2))
    return {
        "response": number,
        "part": part,
        "trajectory": trajectory,
        "problem_id": f"p{i // SAMPLES}",
        "sample_id": f"p{i // SAMPLES}/{i % SAMPLES}",
        "source": "made up",
        "data": ("sums", "words")[i % 2],
        "question": QUESTION,
        "answer": "yes",
        "text": "".join(TEXTS[k] for k in ids),
        "reward": reward,
        "correct": reward > 0,
        "truncated": None,
        "tokens": len(ids),
        "prompt_ids": [0],
        "response_ids": ids,
        # Weights arrived in the middle of the policy's longer responses.
        "version_spans": [[3, 0], [4, len(ids) // 2]] if trajectory == "policy" and len(ids) > 1 else None,
    }


def _tokens(response: dict, checkpoint: str, rng: np.random.Generator) -> list[dict]:
    ids = response["response_ids"]
    rows = []
    for position, token in enumerate(ids):
        row = {column.name: 0.25 for column in TOKEN_COLUMNS if column.type == pa.float32()}
        row |= {
            name: response[name] for name in ("response", "problem_id", "trajectory", "reward", "correct")
        }
        row |= {
            "checkpoint": checkpoint,
            "position": position,
            "from_end": len(ids) - 1 - position,
            "section": "first" if position == 0 else "reasoning",
            "token_id": token,
            "token": TEXTS[token],
            "js": float(rng.random() ** 3 * math.log(2)),
            "entropy_base": float(rng.random() * 3),
            "logp_policy": -1.0,
            "logp_base": -2.0,
        }
        row |= {
            c.name: 1 for c in TOKEN_COLUMNS if c.name.startswith(("rank_", "top_")) and c.name not in row
        }
        row |= {f"overlap_{k}": int(rng.integers(0, k + 1)) for k in OVERLAP_KS}
        for side in ("policy", "base"):
            best = rng.permutation(len(TEXTS))[:CANDIDATES].tolist()
            row[f"{side}_ids"] = best
            row[f"{side}_texts"] = [TEXTS[k] for k in best]
            row[f"{side}_probs"] = [0.5, 0.2, 0.1, 0.05, 0.01]
        rows.append(row)
    return rows


def write_cross(folder: Path) -> Path:
    """Cross-sampling with two rules and two budgets in both directions."""
    store = Store(folder, {"made": "up"})
    rng = np.random.default_rng(5)
    parts = [
        _part("endpoint", "base", None, 0.2, rng),
        _part("endpoint", "policy", None, 0.9, rng),
    ]
    for direction in ("forward", "reverse"):
        for rule in ("js", "random"):
            for budget in (0.02, 0.1):
                parts.append(_part(direction, rule, budget, 0.5, rng))
    for part in parts:
        store.write_part(part, [])
    store.write_summary(parts, {"samples": SAMPLES}, {"rlvr": "0.1.0"})
    return folder


def _part(direction: str, rule: str, budget: float | None, accuracy: float, rng: np.random.Generator) -> Part:
    shape = (20, SAMPLES)
    graded = EvalResult(
        name=f"{direction}-{rule}-{budget}",
        problem_ids=tuple(f"p{i}" for i in range(shape[0])),
        correct=rng.random(shape) < accuracy,
        lengths=np.full(shape, 10),
        truncated=np.zeros(shape, dtype=bool),
        answers=tuple(("1",) * shape[1] for _ in range(shape[0])),
    )
    switches = int(600 * (budget or 0))
    threshold = None if budget is None else 0.1
    return Part(
        direction,
        rule,
        budget,
        target=budget,
        threshold=threshold,
        calibration=None,
        tokens=600,
        switches=switches,
        effective=switches // 2,
        graded=graded,
        differing=0,
    )
