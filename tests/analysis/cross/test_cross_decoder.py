"""The decoder against a plain recomputation: one token at a time, no cache, float64, textbook formulas."""

import copy
import functools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from rlvr.analysis.cross.decoder import PURE_INTERVENING, PURE_PRIMARY, MixedDecoder, ResponseJob
from rlvr.analysis.cross.rules import Stream, sample_key, uniforms
from rlvr.analysis.cross.slots import Prefills, SlotModel
from rlvr.rollout.stop import Ends, stop_check
from tests.helpers.cross_cases import SAMPLING, TOKENIZER, base_model, jobs, policy_model, tiny

THRESHOLDS = {
    "js": 0.02, "random": 0.8, "entropy": 0.5, "earliest": -2.5, "entropy_other": 0.5, "kl": 0.05, "kl_other": 0.05,
    "dlogp_lowered": 0.05, "dlogp_raised": -0.5, "dlogp_changed": 0.2, "dlogp_favoured": 0.05,
}  # fmt: skip


def decode(todo, rule="js", batch=16, sampling=SAMPLING, pair=None):
    if pair is None:
        return decoded(tuple(todo), rule, batch, sampling)
    return MixedDecoder(*pair, sampling, batch).run(todo, rule)


@functools.cache
def decoded(todo, rule, batch, sampling):
    """By the models of most tests; some decode the same."""
    return MixedDecoder(base_model(), policy_model(), sampling, batch).run(todo, rule)


def same_responses(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert (a.problem_id, a.sample, a.truncated) == (b.problem_id, b.sample, b.truncated)
        for name in ("token_ids", "switched", "effective", "differs"):
            assert getattr(a, name).tolist() == getattr(b, name).tolist(), name


@functools.cache
def in_float64(which: str):
    return copy.deepcopy(base_model() if which == "base" else policy_model()).double()


def softmax(logits, temperature, top_p=1.0):
    """Probabilities of one row; with top_p, of its nucleus."""
    p = np.exp((logits - logits.max()) / temperature)
    p /= p.sum()
    if top_p < 1:
        order = np.argsort(-p)
        kept = order[: int(np.searchsorted(np.cumsum(p[order]), top_p)) + 1]
        p = np.where(np.isin(np.arange(len(p)), kept), p, 0)
        p /= p.sum()
    return p


def js(p, q):
    m = (p + q) / 2
    terms = [a[a > 0] @ np.log(a[a > 0] / m[a > 0]) for a in (p, q)]
    return sum(terms) / 2


def inverse_cdf(p, u):
    total = 0.0
    for token, mass in enumerate(p):
        total += mass
        if total > u:
            return token
    raise AssertionError("the distribution ended below u")


@torch.inference_mode()
def recompute(job, got, rule, sampling=SAMPLING):
    """The response of one job: (token_ids, switched, effective, scores), ending where it leaves the one that it got.

    The logits after each prefix come from one pass over the tokens that it got.
    """
    key = np.asarray([sample_key(sampling.seed, job.problem_id, job.sample)], np.uint64)
    ids = torch.tensor([[*job.prompt_ids, *got.token_ids.tolist()]])
    start = len(job.prompt_ids) - 1
    base, policy = (in_float64(name)(ids).logits[0, start:].numpy() for name in ("base", "policy"))
    tokens, switched, effective, scores = [], [], [], []
    for t in range(sampling.max_tokens):
        rows = (base[t], policy[t])
        p, q = (softmax(row, sampling.temperature) for row in rows)
        u = uniforms(key, np.asarray([t]), Stream.TOKEN)[0]
        own, other = (inverse_cdf(softmax(row, sampling.temperature, sampling.top_p), u) for row in rows)
        score = {
            "js": lambda p=p, q=q, rows=rows: (
                js(p, q)
                if sampling.js_top_p is None
                else js(*(softmax(row, sampling.temperature, sampling.js_top_p) for row in rows))
            ),
            "random": lambda t=t: uniforms(key, np.asarray([t]), Stream.SWITCH)[0],
            "entropy": lambda p=p: -(p[p > 0] @ np.log(p[p > 0])),
            "earliest": lambda t=t: -t - uniforms(key, np.asarray([0]), Stream.SWITCH)[0],
            "entropy_other": lambda q=q: -(q[q > 0] @ np.log(q[q > 0])),
            "kl": lambda p=p, q=q: p @ np.log(p / q),
            "kl_other": lambda p=p, q=q: q @ np.log(q / p),
            "dlogp_lowered": lambda p=p, q=q, own=own: np.log(p[own] / q[own]),
            "dlogp_raised": lambda p=p, q=q, own=own: np.log(q[own] / p[own]),
            "dlogp_changed": lambda p=p, q=q, own=own: abs(np.log(q[own] / p[own])),
            "dlogp_favoured": lambda p=p, q=q, other=other: np.log(q[other] / p[other]),
        }[rule]()
        switch = score > job.threshold
        token = other if switch else own
        tokens.append(token)
        scores.append(score)
        if switch:
            switched.append(t)
            if own != other:
                effective.append(t)
        if token in sampling.stop_ids or got.token_ids[t : t + 1].tolist() != [token]:
            break
    return tokens, switched, effective, scores


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("js", {}),
        ("js", {"temperature": 0.7, "top_p": 0.9}),
        ("js", {"js_top_p": 0.7}),
        ("random", {}),
        ("entropy", {"temperature": 1.3}),
        ("earliest", {}),
        ("entropy_other", {}),
        ("kl", {"temperature": 0.7}),
        ("kl_other", {}),
        ("dlogp_lowered", {}),
        ("dlogp_raised", {"temperature": 0.7, "top_p": 0.9}),
        ("dlogp_changed", {}),
        ("dlogp_favoured", {"temperature": 1.3}),
    ],
)
def test_responses_equal_a_plain_recomputation(rule, changes):
    sampling = replace(SAMPLING, **changes)
    todo = jobs(6, 2, THRESHOLDS[rule])
    switches = effective = 0
    for job, got in zip(todo, decode(todo, rule, batch=5, sampling=sampling), strict=True):
        tokens, switched, differing, scores = recompute(job, got, rule, sampling)
        assert got.token_ids.tolist() == tokens
        assert got.switched.tolist() == switched
        assert got.effective.tolist() == differing
        np.testing.assert_allclose(got.values, scores, rtol=2e-4, atol=2e-6)
        switches += len(switched)
        effective += len(differing)
    assert switches > effective > 0  # the comparison saw both kinds of switch


@pytest.mark.slow
def test_where_the_draws_differ_is_known_without_a_switch():
    """A switch is effective where the draws differ; positions that stay the primary's are counted as well."""
    unswitched = 0
    for got in decode(jobs(15, 2, THRESHOLDS["js"])):
        assert set(got.effective) == set(got.switched) & set(np.flatnonzero(got.differs))
        unswitched += len(set(np.flatnonzero(got.differs)) - set(got.switched))
    assert unswitched > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["builtin", "llama", "gpt2"])
def test_cached_logits_equal_uncached_ones(kind):
    """Rows of different lengths arrive, leave and move; each logit row equals the one without a cache."""
    model = base_model() if kind == "builtin" else tiny(kind)
    rng = np.random.default_rng(0)
    slots = SlotModel(model, 6)
    rows, done = (
        [],
        [],
    )  # of each row its tokens, and the logits that the cache gave after some of its prefixes

    def arrive(lengths):
        prompts = [tuple(rng.integers(2, 47, length).tolist()) for length in lengths]
        slots.admit(prompts, len(rows))
        rows.extend((list(prompt), {}) for prompt in prompts)
        done.extend(rows[-len(prompts) :])

    def advance():
        last = torch.tensor([tokens[-1] for tokens, _ in rows])
        got = slots.step(last, torch.tensor([len(tokens) - 1 for tokens, _ in rows]))
        for (tokens, seen), logits in zip(rows, got, strict=True):
            seen[len(tokens) - 1] = logits.clone()
            tokens.append(int(rng.integers(2, 47)))

    arrive([3, 9, 1, 5])
    for _ in range(3):
        advance()
    slots.move(torch.tensor([3]), torch.tensor([1]))  # rows 1 and 2 end; row 3 moves into the gap
    rows[:] = [rows[0], rows[3]]
    advance()
    arrive([12, 2, 2, 1])
    for _ in range(70):  # past the first allocation of columns
        advance()
    assert sum(len(seen) for _, seen in done) == 3 * 4 + 2 + 70 * 6
    with torch.inference_mode():
        for tokens, seen in done:
            plain = model(torch.tensor([tokens])).logits[0]
            torch.testing.assert_close(torch.stack(list(seen.values())), plain[list(seen)], rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kept_bytes", [1 << 20, 60_000, 0])
def test_prompts_read_before_are_not_read_again(kept_bytes):
    """What decoders share changes no response; what does not fit is read again."""
    todo, prefills, reads = jobs(12, 2, THRESHOLDS["js"]), (Prefills(kept_bytes), Prefills(kept_bytes)), []
    pair = base_model(), policy_model()
    hooks = [
        model.base_model.register_forward_pre_hook(
            lambda _, __, given: reads.append(
                given["input_ids"].numel() if given["input_ids"].shape[1] > 1 else 0
            ),
            with_kwargs=True,
        )
        for model in pair
    ]
    try:
        first, second = (
            MixedDecoder(*pair, SAMPLING, 64, prefills=prefills).run(todo, rule) for rule in ("js", "js")
        )
    finally:
        for hook in hooks:
            hook.remove()
    alone = decode(todo)
    for again, shared, plain in zip(first, second, alone, strict=True):
        assert again.token_ids.tolist() == shared.token_ids.tolist() == plain.token_ids.tolist()
    reads = [tokens for tokens in reads if tokens]
    assert len(reads) == {1 << 20: 2, 60_000: 4, 0: 4}[kept_bytes]
    assert sum(reads[2:]) < sum(reads[:2]) or kept_bytes == 0


def test_padding_on_the_left_gives_the_same_logits():
    """The decoder pads on the right; a batch padded on the left under a mask agrees with it."""
    prompts = sorted({job.prompt_ids for job in jobs(30, 1, 0.0)}, key=len)
    prompts = [prompts[0], prompts[-1], *prompts[5:8]]
    width = max(map(len, prompts))
    assert min(map(len, prompts)) < width
    ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    slots = SlotModel(base_model(), len(prompts))
    slots.admit(prompts, 0)
    got = slots.step(
        torch.tensor([prompt[-1] for prompt in prompts]),
        torch.tensor([len(prompt) - 1 for prompt in prompts]),
    )
    with torch.inference_mode():
        padded = base_model()(ids, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0))
    torch.testing.assert_close(got, padded.logits[:, -1], rtol=0, atol=1e-4)


@pytest.mark.slow
def test_padding_of_prompts_changes_nothing():
    """A short prompt decodes the same beside a long one as alone."""
    by_length = sorted(jobs(40, 1, 0.02), key=lambda job: len(job.prompt_ids))
    short, long = by_length[:3], by_length[-3:]
    assert len(long[0].prompt_ids) > len(short[-1].prompt_ids)
    same_responses(decode([*long, *short])[3:], decode(short, batch=2))


@pytest.mark.slow
def test_a_prompt_of_one_token_needs_no_prefill():
    todo = [ResponseJob("one", k, (5,), 0.02) for k in range(3)]
    for job, got in zip(todo, decode(todo), strict=True):
        assert got.token_ids.tolist() == recompute(job, got, "js")[0]


@pytest.mark.slow
def test_every_position_above_zero_is_the_intervening_model():
    ends = decode(jobs(6, 2, PURE_INTERVENING))
    zero = decode(jobs(6, 2, 0.0))
    alone = decode(jobs(6, 2, PURE_PRIMARY), pair=(policy_model(), base_model()))
    for a, b, c in zip(ends, zero, alone, strict=True):
        assert a.token_ids.tolist() == b.token_ids.tolist() == c.token_ids.tolist()
        assert len(a.switched) == len(a.token_ids)


@pytest.mark.slow
def test_above_ln_2_nothing_switches():
    pure = decode(jobs(6, 2, PURE_PRIMARY))
    same_responses(decode(jobs(6, 2, math.log(2) + 1e-6)), pure)
    same_responses(decode(jobs(6, 2, PURE_PRIMARY), "random"), pure)
    assert all(len(response.switched) == 0 for response in pure)
    intervening = decode(jobs(6, 2, PURE_INTERVENING))
    assert any(a.token_ids.tolist() != b.token_ids.tolist() for a, b in zip(pure, intervening, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 3, 200])
def test_batches_do_not_change_responses(batch):
    todo = jobs(12, 3, 0.02)
    same_responses(decode(todo, batch=batch), decode(todo, batch=16))


@pytest.mark.slow
def test_models_in_float64_give_the_same_responses():
    pair = (in_float64("base"), in_float64("policy"))
    same_responses(decode(jobs(6, 2, 0.02), pair=pair), decode(jobs(6, 2, 0.02)))


@pytest.mark.slow
def test_order_and_selection_do_not_change_responses():
    todo = jobs(8, 2, 0.02)
    whole = decode(todo)
    order = np.random.default_rng(1).permutation(len(todo))
    same_responses(decode([todo[i] for i in order], batch=7), [whole[i] for i in order])
    same_responses(decode(todo[6:10]), whole[6:10])


@pytest.mark.slow
def test_jobs_may_have_thresholds_of_their_own():
    low, high = jobs(6, 2, 0.01), jobs(6, 2, 0.05)
    together = decode([*low, *high])
    same_responses(together[: len(low)], decode(low))
    same_responses(together[len(low) :], decode(high))


@pytest.mark.slow
def test_a_switch_between_equal_models_has_no_effect():
    todo = jobs(10, 2, 0.5)
    pair = (base_model(), copy.deepcopy(base_model()))
    mixed = decode(todo, "random", pair=pair)
    assert sum(len(response.switched) for response in mixed) > 50
    assert all(len(response.effective) == 0 for response in mixed)
    pure = decode(jobs(10, 2, PURE_PRIMARY), pair=pair)
    assert [r.token_ids.tolist() for r in mixed] == [r.token_ids.tolist() for r in pure]


@pytest.mark.slow
def test_the_first_effective_switch_is_where_the_response_leaves_the_primary():
    pure, mixed = decode(jobs(15, 2, PURE_PRIMARY)), decode(jobs(15, 2, 0.01))
    left = 0
    for own, response in zip(pure, mixed, strict=True):
        first = int(response.effective[0]) if len(response.effective) else None
        assert response.token_ids[:first].tolist() == own.token_ids[:first].tolist()
        if first is not None:
            assert response.token_ids[first] != own.token_ids[first]
            left += 1
    assert left > 5


@pytest.mark.slow
def test_the_earliest_rule_switches_a_prefix():
    for response in decode(jobs(10, 2, -2.5), "earliest"):
        n = len(response.token_ids)
        assert response.switched.tolist() in ([*range(min(2, n))], [*range(min(3, n))])
    for response in decode(jobs(5, 2, -4.0), "earliest"):
        assert response.switched.tolist() == [*range(min(4, len(response.token_ids)))]


@pytest.mark.slow
def test_a_response_ends_at_the_limit():
    got = decode(jobs(10, 2, 0.02), sampling=replace(SAMPLING, max_tokens=12))
    whole = decode(jobs(10, 2, 0.02))
    for short, long in zip(got, whole, strict=True):
        assert short.token_ids.tolist() == long.token_ids[:12].tolist()
        assert short.truncated == (len(long.token_ids) > 12)
    assert {response.truncated for response in got} == {True, False}


@pytest.mark.slow
def test_no_job_is_no_response():
    assert decode([]) == []


@pytest.mark.slow
def test_a_stop_text_ends_a_response_where_it_is_complete():
    ends = Ends((" then", "5"))
    stops = stop_check(ends, TOKENIZER)
    todo = jobs(8, 4, THRESHOLDS["js"])
    uncut = decode(todo)
    cut = MixedDecoder(base_model(), policy_model(), replace(SAMPLING, ends=ends), 16, stops).run(todo, "js")
    stopped = 0
    for long, short in zip(uncut, cut, strict=True):
        ids, text = short.token_ids.tolist(), TOKENIZER.decode(short.token_ids.tolist())
        assert ids == long.token_ids[: len(ids)].tolist()
        assert short.values.tolist() == pytest.approx(long.values[: len(ids)].tolist(), abs=1e-5)
        assert not any(end in TOKENIZER.decode(ids[:-1]) for end in ends.texts)
        ended = any(end in text for end in ends.texts)
        assert ended or len(ids) == len(long.token_ids)
        assert short.truncated == (not ended and long.truncated)
        stopped += ended
    assert stopped > 0


@pytest.mark.slow
def test_nothing_ends_a_response_before_its_least_number_of_tokens():
    ends = Ends((" so",), (), 12)
    stops = stop_check(ends, TOKENIZER)
    written = MixedDecoder(base_model(), policy_model(), replace(SAMPLING, ends=ends), 16, stops).run(
        jobs(6, 4, PURE_PRIMARY), "js"
    )
    assert all(len(one.token_ids) > 12 for one in written)
    assert not any(TOKENIZER.eos_token_id in one.token_ids[:12] for one in written)
    assert any(one.token_ids[-1] == TOKENIZER.eos_token_id for one in written)
