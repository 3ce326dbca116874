"""Parts of the token table: which there are, which are finished, and how one is written."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from transformers import PreTrainedTokenizerBase

from rlvr.analysis.config import AnalyzeConfig
from rlvr.analysis.models import CausalLm, load_causal_lm
from rlvr.analysis.shift.columns import TOKEN_COLUMNS
from rlvr.analysis.shift.inputs import ModelsToCompare
from rlvr.analysis.shift.responses import Response, read_part
from rlvr.analysis.shift.score import ScoredColumns, score_part
from rlvr.analysis.store import PartsDone, reading, write_parquet
from rlvr.analysis.tables import schema
from rlvr.reward.extract import find_boxes
from rlvr.timing import Stopwatch

SECTIONS = ("first", "reasoning", "answer", "end")  # of a response
RESPONSE_FIELDS = ("response", "problem_id", "trajectory", "reward", "correct")  # repeated for every token


def token_file(folder: Path, number: int) -> Path:
    """Path of a part of the token table."""
    return folder / "tokens" / f"part-{number:05d}.parquet"


def part_metadata(file: pq.ParquetFile) -> dict[str, str]:
    """What a part says of itself: checkpoint, trajectory, models, temperature, nucleus."""
    return {key.decode(): value.decode() for key, value in file.schema_arrow.metadata.items()}


def write_parts(cfg: AnalyzeConfig, folder: Path, models: ModelsToCompare) -> None:
    """Score every part that is not there yet, and say how far it is.

    Raises:
        ConfigError: a model cannot be loaded.
        RlvrError: a part cannot be written; earlier parts are kept.
    """
    index = pq.ParquetFile(folder / "responses.parquet")
    parts = index.num_row_groups
    total = parts * len(models.policies)
    missing = [k for k in range(total) if not token_file(folder, k).exists()]
    base: CausalLm | None = None
    texts = token_texts(models.tokenizer)
    with PartsDone("scoring", total, total - len(missing)) as progress:
        for place, chosen in enumerate(models.policies):
            own = [k for k in missing if k // parts == place]
            if not own:
                continue
            base = base or load_causal_lm(models.base, cfg.model, models.device)
            policy = load_causal_lm(chosen.path, cfg.model, models.device)
            for k in own:
                watch, responses = Stopwatch(), read_part(index, k % parts)
                columns = score_part(policy, base, responses, cfg.score)
                table = token_table(responses, columns, chosen.label, models.tokenizer, texts)
                metadata = {
                    "checkpoint": chosen.label,
                    "trajectory": responses[0].trajectory,
                    "policy": chosen.path,
                    "base": models.base,
                    "temperature": str(cfg.score.temperature),
                    "top_p": str(cfg.score.top_p),
                }
                write_parquet(token_file(folder, k), [table], schema(TOKEN_COLUMNS, **metadata))
                seconds = watch.seconds
                progress.done(
                    f"part {k + 1}/{total}: {table.num_rows} tokens in {seconds:.1f} s, "
                    f"{table.num_rows / seconds:.0f} a second"
                )
            del policy


def finished_parts(folder: Path, models: ModelsToCompare) -> list[Path]:
    """The files of all parts, each compared with the responses that it was computed from.

    Raises:
        DataError: one is damaged, or holds the scores of other responses or of another policy.
    """
    index = pq.ParquetFile(folder / "responses.parquet")
    labels = [policy.label for policy in models.policies for _ in range(index.num_row_groups)]
    files = [token_file(folder, k) for k in range(len(labels))]
    for k, (path, label) in enumerate(zip(files, labels, strict=True)):
        rows = index.read_row_group(k % index.num_row_groups, columns=["response", "response_ids"])
        ids = rows["response_ids"].combine_chunks()
        numbers = np.repeat(rows["response"].to_numpy(), ids.value_lengths().to_numpy())
        with reading(path):
            part = pq.ParquetFile(path)
            found = part.read(columns=["response", "token_id"])
            same = np.array_equal(found["response"].to_numpy(), numbers) and np.array_equal(
                found["token_id"].to_numpy(), ids.flatten().to_numpy()
            )
            if not same or part_metadata(part)["checkpoint"] != label:
                raise ValueError(f"not the scores by {label} of the tokens that belong here")
    return files


def token_texts(tokenizer: PreTrainedTokenizerBase) -> Callable[[int], str]:
    """The text of every token, decoded once."""
    # Rows beyond the tokenizer's vocabulary pad the output head of some models; they decode to "".
    return cache(lambda token_id: str(tokenizer.decode([token_id])))


def token_table(
    responses: Sequence[Response],
    scored: ScoredColumns,
    checkpoint: str,
    tokenizer: PreTrainedTokenizerBase,
    texts: Callable[[int], str],
) -> pa.Table:
    """The rows of one part, in the order of TOKEN_COLUMNS."""
    counts = [len(r.response_ids) for r in responses]

    def spread(field: str) -> list[object]:
        return [value for r, n in zip(responses, counts, strict=True) for value in [getattr(r, field)] * n]

    columns: dict[str, Any] = {name: spread(name) for name in RESPONSE_FIELDS}
    columns |= {name: values if values.ndim == 1 else values.tolist() for name, values in scored.items()}
    columns["checkpoint"] = [checkpoint] * sum(counts)
    columns["position"] = np.concatenate([np.arange(n) for n in counts])
    columns["from_end"] = np.concatenate([np.arange(n)[::-1] for n in counts])
    columns["section"] = [name for r in responses for name in sections(r.response_ids, tokenizer)]
    columns["token"] = [texts(i) for i in scored["token_id"].tolist()]
    for side in ("policy", "base"):
        columns[f"{side}_texts"] = [[texts(i) for i in ids] for ids in columns[f"{side}_ids"]]
    return pa.Table.from_pydict(columns, schema=schema(TOKEN_COLUMNS))


def sections(ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The section of every token.

    The answer is every token that holds a character of the last complete box; without one there is none.
    After the answer, and at the end token, comes the end. The first token is a section of its own.
    """
    ids = list(ids)
    names = ["reasoning"] * len(ids)
    boxes = find_boxes(str(tokenizer.decode(ids)))
    if boxes:
        start = _token_at(ids, boxes[-1].start, tokenizer)
        stop = _token_at(ids, boxes[-1].end - 1, tokenizer) + 1
        names[start:stop] = ["answer"] * (stop - start)
        names[stop:] = ["end"] * (len(ids) - stop)
    if ids[-1] == tokenizer.eos_token_id:
        names[-1] = "end"
    names[0] = "first"
    return names


def _token_at(ids: list[int], character: int, tokenizer: PreTrainedTokenizerBase) -> int:
    """The token whose text reaches beyond the character, by bisection over decoded prefixes."""
    return bisect_right(range(len(ids) - 1), character, key=lambda k: len(tokenizer.decode(ids[: k + 1])))
