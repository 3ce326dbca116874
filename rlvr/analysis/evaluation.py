"""An evaluation on disk: its parts while it runs, and what it leaves behind.

<folder>/settings.json                      what the responses depend on
<folder>/parts/<set>-000032.jsonl           graded responses to the problems from that place in the set, see `file_name`
<folder>/responses.parquet                  all responses of a finished evaluation, one a row
<folder>/evaluation.json                    the figures of every set, and every sample's correctness, length and answer

With the samples, two evaluations can be compared problem by problem long after both have run. `correct` is 1, 0, or
null where the verifier failed: such a sample counts in no figure but lengths and truncation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from rlvr.analysis.progress import PartsDone
from rlvr.analysis.store import claim, reading, write_parquet, write_rows
from rlvr.config import Config
from rlvr.data.fingerprint import Fingerprint, what_changed
from rlvr.data.models.identity import identity
from rlvr.data.stream import EvalSet
from rlvr.errors import DataError
from rlvr.runtime.checkpoints.resume import differences
from rlvr.runtime.disk.dumps import read_sample, read_verdict, sample_rows, without_nan
from rlvr.runtime.disk.folder import RunFolder
from rlvr.runtime.disk.names import file_name
from rlvr.runtime.keys import NOT_OF_EVALUATION, without
from rlvr.stats.accuracy import EvalResult, LengthStats, accuracy_ci95, correctness, length_stats, pass_at_k
from rlvr.stats.majority import majority_at_k
from rlvr.types import Group, Prompt, Sample, Span, Tokenizer

NOT_KEPT = np.zeros(0, dtype=np.float32)  # log-probs
PROBLEMS_PER_PART = 32  # sampled together and written together
FILE_NAME = "evaluation.json"
CONTENT = "content"  # key of its settings: the fingerprint of each set

Respond = Callable[[Sequence[Prompt]], tuple[Group, ...]]  # prompts -> graded groups


def claim_settings(folder: RunFolder, cfg: Config, sets: Sequence[EvalSet]) -> None:
    """Write down what the responses depend on, or check it against what an interrupted evaluation wrote.

    Raises:
        ConfigError: the folder holds parts of an evaluation with other settings, of another model or on other data.
    """
    now = without(asdict(cfg), NOT_OF_EVALUATION) | {
        "content of model.path": identity(cfg.model.path),
        "content of data.eval": fingerprints(sets),
    }
    claim(folder.path / "settings.json", now, f"run.name={folder.path.name}")


def fingerprints(sets: Sequence[EvalSet]) -> dict[str, Any]:
    """The content of each set, to be told from what lies at its place later."""
    return {chosen.name: asdict(chosen.fingerprint) for chosen in sets}


def groups_in_parts(
    folder: RunFolder, name: str, prompts: Sequence[Prompt], respond: Respond
) -> tuple[Group, ...]:
    """The graded responses to all prompts of a set: read where a part is on disk, else sampled and written."""
    files = {}
    for start in range(0, len(prompts), PROBLEMS_PER_PART):
        file = folder.path / "parts" / f"{file_name(name)}-{start:06d}.jsonl"
        files[file] = prompts[start : start + PROBLEMS_PER_PART]
    sample_missing(name, files, respond)
    return tuple(group for file, chosen in files.items() for group in _read_part(file, chosen))


def sample_missing(name: str, files: Mapping[Path, Sequence[Prompt]], respond: Respond) -> None:
    """Sample and grade the prompts of every file that is not there yet, and say how far it is.

    Raises:
        RlvrError: a file cannot be written; those before are kept.
    """
    found = [file for file in files if file.exists()]
    done, total = sum(len(files[file]) for file in found), sum(map(len, files.values()))
    with PartsDone(f"sampling {name}", len(files), len(found)) as progress:
        for file in [file for file in files if file not in found]:
            write_rows(file, sample_rows(respond(files[file])))
            done += len(files[file])
            progress.done(f"{name}: {done} of {total} problems")


def _read_part(path: Path, prompts: Sequence[Prompt]) -> list[Group]:
    with reading(path):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        samples = [read_sample(r, NOT_KEPT, (Span(r["weight_version"], 0),), read_verdict(r)) for r in rows]
        found = [(row["problem_id"], sample) for row, sample in zip(rows, samples, strict=True)]
        groups = [Group(p, tuple(sample for name, sample in found if name == p.id)) for p in prompts]
        counts = {len(group.samples) for group in groups}
        if counts == {0} or len(counts) > 1 or sum(counts) * len(groups) != len(found):
            raise ValueError(
                f"{len(found)} responses that are not as many to each of its {len(groups)} problems"
            )
        return groups


def write_responses(folder: RunFolder, sets: Sequence[tuple[str, Sequence[Group]]]) -> None:
    """Write responses.parquet: one row a response, with the set it belongs to."""
    rows = [{"set": name, **row} for name, groups in sets for row in sample_rows(groups)]
    table = pa.Table.from_pylist(rows)
    write_parquet(folder.path / "responses.parquet", [table], table.schema)


@dataclass(frozen=True, slots=True)
class SetSummary:
    """The figures of one evaluation set; accuracy is avg@n with its 95 % interval, clustered by problem."""

    name: str
    problems: int
    samples_per_problem: int
    accuracy: float
    ci_low: float
    ci_high: float
    pass_at: dict[int, float]  # k -> pass@k
    majority_at: dict[int, float]  # k -> expected accuracy of a majority vote
    lengths: LengthStats


def result_of(name: str, groups: Sequence[Group]) -> EvalResult:
    """Return graded responses as arrays [problems, samples]."""
    samples = [group.samples for group in groups]
    return EvalResult(
        name=name,
        problem_ids=tuple(group.prompt.id for group in groups),
        correct=correctness([[None if s.failed else s.correct for s in row] for row in samples]),
        lengths=np.array([[len(s.token_ids) for s in row] for row in samples]),
        truncated=np.array([[s.truncated for s in row] for row in samples]),
        answers=tuple(tuple(s.verdict.extracted if s.verdict else None for s in row) for row in samples),
    )


def counts_up_to(n: int) -> list[int]:
    """Return the values of k to report: the powers of two below n, and n."""
    return [2**power for power in range(n.bit_length()) if 2**power < n] + [n]


def summarise(result: EvalResult) -> SetSummary:
    """Return the figures of one evaluation set."""
    problems, n = result.correct.shape
    accuracy, low, high = accuracy_ci95(result.correct)
    passes = pass_at_k(result.correct)
    return SetSummary(
        name=result.name,
        problems=problems,
        samples_per_problem=n,
        accuracy=accuracy,
        ci_low=low,
        ci_high=high,
        pass_at={k: _mean(passes[:, k - 1]) for k in counts_up_to(n)},
        majority_at={k: _mean(majority_at_k(result.answers, result.correct, k)) for k in counts_up_to(n)},
        lengths=length_stats(result),
    )


def evaluation_as_json(model: str, settings: dict[str, Any], results: Sequence[EvalResult]) -> str:
    """Return the text of `evaluation.json`: what was evaluated how, and per set its figures and samples."""
    sets = [
        {"summary": without_nan(asdict(summarise(result))), **samples_as_json(result)} for result in results
    ]
    content = {"model": model, "settings": settings, "sets": sets}
    return json.dumps(content, allow_nan=False) + "\n"


def differing_settings(path: Path, now: Mapping[str, Any]) -> list[str]:
    """The settings, and the data, in which an earlier evaluation differs from these, as far as it has them.

    Its seed is none of them: it changes which responses were drawn, and nothing about them. The file has been read
    before, by `read_evaluation`.
    """
    earlier = json.loads((path / FILE_NAME if path.is_dir() else path).read_text()).get("settings", {})
    seen = earlier.get(CONTENT, {})
    data = [
        f"the data of {name}: {why}"
        for name, content in now.get(CONTENT, {}).items()
        if name in seen and (why := what_changed(Fingerprint(**seen[name]), Fingerprint(**content)))
    ]
    return data + [
        f"{key} {old!r} -> {new!r}"
        for key, old, new in differences(earlier, json.loads(json.dumps(now)))
        if (first := key.split(".")[0]) in earlier and first not in ("seed", CONTENT)
    ]


def read_evaluation(path: Path) -> dict[str, EvalResult]:
    """Read the sets of an `evaluation.json`, or of the folder that holds one, by name.

    Raises DataError if there is no such file or if it is not one of ours.
    """
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        raise DataError(f"{file} does not exist; expected the folder or the {FILE_NAME} of an evaluation")
    try:
        content = json.loads(file.read_text())
        results = [result_from_json(part["summary"]["name"], part) for part in content["sets"]]
    except (KeyError, TypeError, ValueError) as error:  # a user's file: bad JSON, missing or odd fields
        raise DataError(f"{file} is not an {FILE_NAME} of this project: {error!r}") from error
    return {result.name: result for result in results}


def samples_as_json(result: EvalResult) -> dict[str, Any]:
    """The samples of a result as `result_from_json` reads them; correct is 1, 0 or null."""
    return {
        "problem_ids": list(result.problem_ids),
        "correct": [
            [None if value != value else int(value) for value in row] for row in result.correct.tolist()
        ],
        "lengths": result.lengths.tolist(),
        "truncated": result.truncated.astype(int).tolist(),
        "answers": [list(row) for row in result.answers],
    }


def result_from_json(name: str, content: dict[str, Any]) -> EvalResult:
    """Read the samples of a result; raises KeyError, TypeError or ValueError for what is none."""
    return EvalResult(
        name=name,
        problem_ids=tuple(content["problem_ids"]),
        correct=correctness(content["correct"]),
        lengths=np.asarray(content["lengths"], dtype=np.int64),
        truncated=np.asarray(content["truncated"], dtype=np.bool_),
        answers=tuple(tuple(row) for row in content["answers"]),
    )


def written_samples(
    names: Sequence[str], token_ids: list[list[int]], truncated: Sequence[bool], tokenizer: Tokenizer
) -> tuple[Sample, ...]:
    """Responses that no engine of a run has written, not graded yet: without log-probs, of no version."""
    texts = tokenizer.batch_decode(token_ids, skip_special_tokens=True)
    return tuple(
        Sample(name, tuple(ids), NOT_KEPT, text, cut, (Span(0, 0),))
        for name, ids, text, cut in zip(names, token_ids, texts, truncated, strict=True)
    )


def _mean(values: np.ndarray) -> float:
    """The mean over the problems that have the number; nan where none has."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
