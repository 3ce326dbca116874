"""Parts of the token table: which there are, which are finished, and how one is scored and written.

Shapes: `t` response tokens of a micro-batch, `T` of the part, `H` hidden size, `V` vocabulary. P is the policy,
Q the base. Full-vocabulary tensors exist for a chunk of tokens at a time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from rlvr.analysis.config import AnalyzeConfig, ScoreConfig
from rlvr.analysis.models import CausalLm, load_causal_lm
from rlvr.analysis.progress import PartsDone
from rlvr.analysis.shift.columns import CANDIDATES, OVERLAP_KS, TOKEN_COLUMNS
from rlvr.analysis.shift.inputs import ModelsToCompare
from rlvr.analysis.shift.responses import Response, read_part
from rlvr.analysis.side_by_side import at_once, side_by_side
from rlvr.analysis.store import reading, write_parquet
from rlvr.analysis.tables import schema
from rlvr.divergence import dist_stats
from rlvr.learner.packing import budget_split
from rlvr.reward.extract import find_boxes
from rlvr.timing import Stopwatch

SECTIONS = ("first", "reasoning", "answer", "end")  # of a response
RESPONSE_FIELDS = ("response", "problem_id", "trajectory", "reward", "correct")  # repeated for every token
ScoredColumns = dict[str, NDArray[np.generic]]  # column name -> [T] or [T, CANDIDATES]

# Our columns -> names of the divergence call.
STATISTIC = {
    "js": "js",
    "js_top_p": "js_top_p",
    "kl_policy_base": "kl_pq",
    "kl_base_policy": "kl_qp",
    "entropy_policy": "entropy_p",
    "entropy_base": "entropy_q",
    "logp_policy": "logp_p",
    "logp_base": "logp_q",
    "top_policy": "argmax_p",
    "top_base": "argmax_q",
    "top_policy_rank_base": "rank_p_in_q",
    "top_base_rank_policy": "rank_q_in_p",
}
WANT = (*STATISTIC.values(), "lse_p", "lse_q")
# [V] fp32 rows that one token needs at a time: logits of both models, scratch of the statistics.
ROW_BUFFERS = 8


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
        for place, own in groupby(missing, lambda k: k // parts):
            chosen = models.policies[place]
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


def score_part(
    policy: CausalLm, base: CausalLm, responses: Sequence[Response], cfg: ScoreConfig
) -> ScoredColumns:
    """The scores of every response token, response after response."""
    lengths = np.asarray([len(r.prompt_ids) + len(r.response_ids) for r in responses])
    counts = np.asarray([len(r.response_ids) for r in responses])
    starts = np.cumsum(counts) - counts
    out: ScoredColumns = {}
    budget = max(cfg.tokens_per_micro_batch, int(lengths.max()))  # one long response may stand alone
    for rows in budget_split(lengths, budget):
        place = np.concatenate([np.arange(starts[i], starts[i] + counts[i]) for i in rows])
        for name, values in _score_batch(policy, base, [responses[i] for i in rows], cfg).items():
            if name not in out:  # filled batch by batch, so that the scores of a part are held once
                out[name] = np.empty((int(counts.sum()), *values.shape[1:]), values.dtype)
            out[name][place] = values
    return out


def _score_batch(
    policy: CausalLm, base: CausalLm, responses: Sequence[Response], cfg: ScoreConfig
) -> ScoredColumns:
    ids = pad_sequence([torch.tensor(r.prompt_ids + r.response_ids) for r in responses], batch_first=True)
    row = torch.tensor([i for i, r in enumerate(responses) for _ in r.response_ids])
    column = torch.tensor([len(r.prompt_ids) + k for r in responses for k in range(len(r.response_ids))])
    ids, row, column = (x.to(policy.device) for x in (ids, row, column))
    whole = side_by_side([partial(model.hidden, ids) for model in (policy, base)], policy.device)
    hidden_p, hidden_q = (hidden[row, column - 1] for hidden in whole)
    target = ids[row, column]
    step = max(1, int(cfg.workspace_mb * 1e6) // (4 * ROW_BUFFERS * policy.vocabulary))
    shares = _shares(len(target), step, at_once(2, policy.device))

    def score(parts: Sequence[slice]) -> list[ScoredColumns]:
        return [_score_tokens(policy, base, hidden_p[k], hidden_q[k], target[k], cfg) for k in parts]

    scored = side_by_side([partial(score, share) for share in shares], policy.device)
    parts = [part for share in scored for part in share]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _shares(count: int, most: int, lanes: int) -> list[list[slice]]:
    """The places 0 to `count`, shared out among so many lanes, in parts of at most `most` for all lanes together."""
    share, step = -(-count // lanes), max(1, most // lanes)
    ends = [(start, min(start + share, count)) for start in range(0, count, share)]
    return [[slice(k, min(k + step, end)) for k in range(start, end, step)] for start, end in ends]


@torch.inference_mode()
def _score_tokens(
    policy: CausalLm, base: CausalLm, hidden_p: Tensor, hidden_q: Tensor, target: Tensor, cfg: ScoreConfig
) -> ScoredColumns:
    """The scores of t tokens from the hidden states [t, H] that predict them."""
    x, y = policy.logits(hidden_p), base.logits(hidden_q)
    stats = dist_stats(x, y, target, want=WANT, temperature=cfg.temperature, top_p=cfg.top_p)
    values: dict[str, Tensor] = {name: getattr(stats, statistic) for name, statistic in STATISTIC.items()}
    values["token_id"] = target
    best = {}
    sides = (
        ("policy", x, stats.lse_p, values["top_base"], "top_base_prob_policy"),
        ("base", y, stats.lse_q, values["top_policy"], "top_policy_prob_base"),
    )
    for name, logits, lse, others_top, column in sides:
        assert lse is not None  # it is among WANT
        values[f"rank_{name}"] = (logits > logits.gather(1, target[:, None])).sum(-1) + 1
        values[column] = (logits.gather(1, others_top[:, None])[:, 0] / cfg.temperature - lse).exp()
        likely = logits.topk(min(max(OVERLAP_KS), logits.shape[1]), sorted=True)
        best[name] = likely.indices
        values[f"{name}_ids"] = likely.indices[:, :CANDIDATES]
        values[f"{name}_probs"] = (likely.values[:, :CANDIDATES] / cfg.temperature - lse[:, None]).exp()
    same = best["policy"][:, :, None] == best["base"][:, None, :]
    for k in OVERLAP_KS:
        values[f"overlap_{k}"] = same[:, :k, :k].sum((1, 2))
    return {name: value.cpu().numpy() for name, value in values.items()}


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
    of_token = [r for r in responses for _ in r.response_ids]
    columns: dict[str, Any] = {name: [getattr(r, name) for r in of_token] for name in RESPONSE_FIELDS}
    for name, values in scored.items():
        columns[name] = values if values.ndim == 1 else _lists(values.ravel(), values.shape[1])
    columns["checkpoint"] = [checkpoint] * len(of_token)
    columns["position"] = np.concatenate([np.arange(n) for n in counts])
    columns["from_end"] = np.concatenate([np.arange(n)[::-1] for n in counts])
    columns["section"] = [name for r in responses for name in sections(r.response_ids, tokenizer)]
    columns["token"] = [texts(i) for i in scored["token_id"].tolist()]
    for side in ("policy", "base"):
        ids = scored[f"{side}_ids"]
        columns[f"{side}_texts"] = _lists([texts(i) for i in ids.ravel().tolist()], ids.shape[1])
    return pa.Table.from_pydict(columns, schema=schema(TOKEN_COLUMNS))


def _lists(values: Sequence[Any] | NDArray[np.generic], size: int) -> pa.ListArray:
    """A list of `size` values for every token, without a Python object for each list."""
    return pa.ListArray.from_arrays(np.arange(0, len(values) + 1, size), values)


def sections(ids: list[int], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The section of every token.

    The answer is every token that holds a character of the last complete box; without one there is none.
    After the answer, and at the end token, comes the end. The first token is a section of its own.
    """
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
