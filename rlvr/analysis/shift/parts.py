"""Parts of the token table: which there are, which are finished, and how one is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from rlvr.analysis.config import AnalyzeConfig
from rlvr.analysis.shift.causal_lm import CausalLm, check_same_vocabulary, load_causal_lm
from rlvr.analysis.shift.columns import TOKEN_COLUMNS
from rlvr.analysis.shift.models import Models
from rlvr.analysis.shift.responses import Response, read_part
from rlvr.analysis.shift.score import Scores, score_part
from rlvr.analysis.shift.sections import sections
from rlvr.analysis.shift.storage import token_file, write_parquet
from rlvr.analysis.tables import schema

RESPONSE_FIELDS = ("response", "problem_id", "trajectory", "reward", "correct")  # repeated for every token


def write_parts(
    cfg: AnalyzeConfig,
    folder: Path,
    models: Models,
    report: Callable[[int, int, int], None],
) -> None:
    """Score every part that is not there yet; `report` gets (parts done, parts, tokens of this one).

    Raises:
        ConfigError: the models cannot be compared.
        RlvrError: a part cannot be written; earlier parts are kept.
    """
    index = pq.ParquetFile(folder / "responses.parquet")
    parts = index.num_row_groups
    base: CausalLm | None = None
    tokenizer = models.tokenizer
    texts = TokenTexts(tokenizer)
    for place, chosen in enumerate(models.policies):
        missing = [n for n in range(parts) if not token_file(folder, place * parts + n).exists()]
        if not missing:
            continue
        base = base or load_causal_lm(models.base, cfg.model, models.device)
        policy = load_causal_lm(chosen.path, cfg.model, models.device)
        check_same_vocabulary(base, policy)
        for n in missing:
            responses = read_part(index, n)
            scores = score_part(policy, base, responses, cfg.score)
            table = token_table(responses, scores, chosen.label, tokenizer, texts)
            metadata = {
                "checkpoint": chosen.label,
                "trajectory": responses[0].trajectory,
                "policy": chosen.path,
                "base": models.base,
                "temperature": str(cfg.score.temperature),
                "top_p": str(cfg.score.top_p),
            }
            path = token_file(folder, place * parts + n)
            write_parquet(path, [table], schema(TOKEN_COLUMNS, **metadata))
            report(place * parts + n + 1, parts * len(models.policies), table.num_rows)
        del policy


class TokenTexts:
    """The text of every token, decoded once."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._texts: dict[int, str] = {}

    def __getitem__(self, token_id: int) -> str:
        if token_id not in self._texts:
            # Rows beyond the tokenizer's vocabulary pad the output head of some models; they decode to "".
            self._texts[token_id] = str(self._tokenizer.decode([token_id]))
        return self._texts[token_id]

    def array(self, ids: NDArray[Any]) -> pa.DictionaryArray:
        """The texts of `ids` [T]."""
        distinct, index = np.unique(ids, return_inverse=True)
        return pa.DictionaryArray.from_arrays(
            pa.array(index, pa.int32()), pa.array([self[int(i)] for i in distinct], pa.string())
        )


def token_table(
    responses: Sequence[Response],
    scores: Scores,
    checkpoint: str,
    tokenizer: PreTrainedTokenizerBase,
    texts: TokenTexts,
) -> pa.Table:
    """The rows of one part, in the order of TOKEN_COLUMNS."""
    counts = [len(r.response_ids) for r in responses]

    def spread(field: str) -> list[object]:
        return [value for r, n in zip(responses, counts, strict=True) for value in [getattr(r, field)] * n]

    columns: dict[str, Any] = {name: spread(name) for name in RESPONSE_FIELDS}
    columns |= {name: values for name, values in scores.items() if values.ndim == 1}
    columns["checkpoint"] = [checkpoint] * sum(counts)
    columns["position"] = np.concatenate([np.arange(n) for n in counts])
    columns["from_end"] = np.concatenate([np.arange(n)[::-1] for n in counts])
    columns["section"] = [name for r in responses for name in sections(r.response_ids, tokenizer)]
    columns["token"] = texts.array(scores["token_id"])
    for side in ("policy", "base"):
        ids, probs = scores[f"{side}_ids"], scores[f"{side}_probs"]
        size = ids.shape[1]
        columns[f"{side}_ids"] = _lists(pa.array(ids.ravel(), pa.int32()), size)
        columns[f"{side}_texts"] = _lists(texts.array(ids.ravel()).dictionary_decode(), size)
        columns[f"{side}_probs"] = _lists(pa.array(probs.ravel(), pa.float32()), size)
    arrays = [_typed(columns[c.name], c.type) for c in TOKEN_COLUMNS]
    return pa.Table.from_arrays(arrays, names=[c.name for c in TOKEN_COLUMNS])


def _lists(values: pa.Array, size: int) -> pa.ListArray:
    """A list of `size` values for every token."""
    return pa.ListArray.from_arrays(pa.array(np.arange(0, len(values) + 1, size), pa.int32()), values)


def _typed(values: Any, kind: pa.DataType) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values, type=kind)
