"""Parts of the token table: which there are, which are finished, and how one is written."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from transformers import PreTrainedTokenizerBase

from rlvr.analysis.config import AnalyzeConfig
from rlvr.analysis.shift.causal_lm import CausalLm, check_same_vocabulary, load_causal_lm
from rlvr.analysis.shift.columns import TOKEN_COLUMNS, schema
from rlvr.analysis.shift.inputs import PolicyToScore
from rlvr.analysis.shift.responses import Response, read_part
from rlvr.analysis.shift.score import Scores, score_part
from rlvr.analysis.shift.sections import sections
from rlvr.analysis.shift.storage import token_file, write_parquet


def write_parts(
    cfg: AnalyzeConfig,
    folder: Path,
    base_path: str,
    policies: Sequence[PolicyToScore],
    tokenizer: PreTrainedTokenizerBase,
    device: str,
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
    texts = TokenTexts(tokenizer)
    for place, chosen in enumerate(policies):
        missing = [n for n in range(parts) if not token_file(folder, place * parts + n).exists()]
        if not missing:
            continue
        base = base or load_causal_lm(base_path, cfg.model, device)
        policy = load_causal_lm(chosen.path, cfg.model, device)
        check_same_vocabulary(base, policy)
        for n in missing:
            responses = read_part(index, n)
            scores = score_part(policy, base, responses, cfg.score)
            table = token_table(responses, scores, chosen.label, tokenizer, texts)
            metadata = {
                "checkpoint": chosen.label,
                "trajectory": responses[0].trajectory,
                "policy": chosen.path,
                "base": base_path,
                "temperature": str(cfg.score.temperature),
                "top_p": str(cfg.score.top_p),
            }
            path = token_file(folder, place * parts + n)
            write_parquet(path, [table.replace_schema_metadata(None)], schema(TOKEN_COLUMNS, **metadata))
            report(place * parts + n + 1, parts * len(policies), table.num_rows)
        del policy


class TokenTexts:
    """The text of every token, decoded once."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._texts: dict[int, str] = {}

    def __getitem__(self, token_id: int) -> str:
        if token_id not in self._texts:
            # Rows beyond the tokenizer's vocabulary pad the output head of some models; they decode to "".
            self._texts[token_id] = self._tokenizer.decode([token_id])
        return self._texts[token_id]


def token_table(
    responses: Sequence[Response],
    scores: Scores,
    checkpoint: str,
    tokenizer: PreTrainedTokenizerBase,
    texts: TokenTexts,
) -> pa.Table:
    """The rows of one part, in the order of TOKEN_COLUMNS."""
    counts = [len(r.response_ids) for r in responses]

    def spread(values: Sequence[object]) -> list[object]:
        return list(itertools.chain.from_iterable([v] * n for v, n in zip(values, counts, strict=True)))

    position = np.concatenate([np.arange(n) for n in counts])
    columns: dict[str, object] = {
        "response": spread([r.response for r in responses]),
        "problem_id": spread([r.problem_id for r in responses]),
        "trajectory": spread([r.trajectory for r in responses]),
        "checkpoint": [checkpoint] * len(position),
        "position": position,
        "from_end": np.concatenate([np.arange(n)[::-1] for n in counts]),
        "section": list(_sections(responses, tokenizer)),
        "token": [texts[int(i)] for i in scores["token_id"]],
        "reward": spread([r.reward for r in responses]),
        "correct": spread([r.correct for r in responses]),
    }
    for name, values in scores.items():
        columns[name] = values if values.ndim == 1 else list(values)
    for side in ("policy", "base"):
        columns[f"{side}_texts"] = [[texts[int(i)] for i in row] for row in scores[f"{side}_ids"]]
    arrays = [pa.array(columns[c.name], type=c.type) for c in TOKEN_COLUMNS]
    return pa.Table.from_arrays(arrays, names=[c.name for c in TOKEN_COLUMNS])


def _sections(responses: Sequence[Response], tokenizer: PreTrainedTokenizerBase) -> Iterator[str]:
    for response in responses:
        yield from sections(response.response_ids, tokenizer)
