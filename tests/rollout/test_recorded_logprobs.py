"""What the engines are asked to record and to leave alone, and the shift that makes logits log-probs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rlvr.rollout.engine_spec import (
    further_arguments,
    in_one_process,
    logprobs_mode,
    split_prompts,
)
from tests.helpers.engine_specs import engine_spec


@pytest.mark.parametrize(
    ("temperature", "top_p", "top_k", "mode"),
    [
        (1.0, 1.0, -1, "raw_logprobs"),
        (0.7, 1.0, -1, "processed_logprobs"),
        (1.0, 0.7, -1, "processed_logits"),
        (0.7, 0.7, -1, "processed_logits"),
        (1.6, 1.0, 3, "processed_logits"),
    ],
)
def test_the_mode_depends_on_temperature_and_truncation(temperature, top_p, top_k, mode):
    assert logprobs_mode(temperature, top_p, top_k) == mode


def test_what_would_split_a_prompt_is_named():
    assert split_prompts({}, 512) == []
    assert split_prompts({"enable_chunked_prefill": False, "max_num_batched_tokens": 512}, 512) == []
    assert len(split_prompts({"enable_chunked_prefill": True, "max_num_batched_tokens": 511}, 512)) == 2
    assert split_prompts({"long_prefill_token_threshold": 64}, 512) == [
        "long_prefill_token_threshold=64: leave it out"
    ]


@pytest.mark.parametrize(
    ("device", "backend", "on_update", "one"),
    [
        ("cpu", "rlvr_gloo", "wait", True),
        ("cuda", "nccl", "wait", False),
        ("cuda", "ipc", "wait", True),
        ("cuda", "nccl", "keep", True),
        ("cuda", "nccl", "recompute", True),
    ],
)
def test_scheduling_shares_a_process_where_it_must(device, backend, on_update, one):
    assert in_one_process(device, backend, on_update) == one


@pytest.mark.parametrize(
    ("device", "width", "given", "executor"),
    [
        ("cpu", 1, {}, None),
        ("cuda", 1, {}, None),
        ("cuda", 2, {}, "mp"),
        ("cuda", 2, {"distributed_executor_backend": "ray"}, "ray"),
    ],
)
def test_tensor_parallel_ranks_are_processes_of_the_engine(device, width, given, executor):
    spec = engine_spec(device=device, tensor_parallel=width, transfer_backend="nccl", engine_args=given)
    assert further_arguments(spec).get("distributed_executor_backend") == executor


def log_softmax(logits: np.ndarray, temperature: object) -> np.ndarray:
    """In float64."""
    return torch.log_softmax(torch.from_numpy(logits.astype(np.float64) / temperature), -1).numpy()


@pytest.fixture(scope="module")
def processor_class():
    return pytest.importorskip("rlvr.sync.vllm_logprobs").WholeDistribution


@pytest.fixture
def logits() -> np.ndarray:
    rng = np.random.default_rng(0)
    rows = rng.normal(scale=6.0, size=(3, 1000)) + np.asarray([[0.0], [300.0], [-300.0]])
    rows[:, 7] = -np.inf  # a token that is not allowed
    return rows.astype(np.float32)


@pytest.mark.slow
def test_after_the_temperature_logits_become_log_probs(processor_class, logits):
    """The V1 runner has divided by the temperature already."""
    processor = processor_class(None, torch.device("cpu"), False)
    assert processor.is_argmax_invariant()
    found = processor.apply(torch.from_numpy(logits.copy()) / 0.7).numpy()
    np.testing.assert_allclose(found, log_softmax(logits, 0.7), atol=1e-4, rtol=1e-6)


@pytest.mark.slow
def test_before_the_temperature_each_row_has_its_own(processor_class, logits):
    """The V2 runner divides afterwards; slots are taken again by later requests, greedy ones have temperature 0."""
    processor = processor_class(None, SimpleNamespace(max_num_reqs=5, device=torch.device("cpu")))
    for slot, temperature in [(4, 0.3), (0, 1.0), (2, 1.6), (4, 0.7), (1, 0.0)]:
        assert processor.add_request(slot, SimpleNamespace(temperature=temperature))
    processor.apply_staged_writes()
    rows = SimpleNamespace(expanded_idx_mapping=torch.tensor([2, 0, 4]))
    temperatures = np.asarray([[1.6], [1.0], [0.7]])
    shifted = processor.apply(torch.from_numpy(logits.copy()), rows).numpy()
    expected = log_softmax(logits, temperatures)
    np.testing.assert_allclose(shifted / temperatures, expected, atol=1e-4, rtol=1e-6)
    rows = SimpleNamespace(expanded_idx_mapping=torch.tensor([1, 1, 1]))
    greedy = processor.apply(torch.from_numpy(logits.copy()), rows).numpy()
    assert (greedy.argmax(-1) == logits.argmax(-1)).all()
    assert not np.isnan(greedy).any()


@pytest.mark.slow
def test_both_runners_take_the_class(processor_class):
    """vLLM chooses the runner after it has been given the class, and each runner checks for its own interface."""
    from vllm.v1.sample.logits_processor import _load_custom_logitsprocs
    from vllm.v1.worker.gpu.sample.logits_processor.loader import _load_v2_logitsprocs_by_fqcns

    from rlvr.rollout.engine_spec import WHOLE_DISTRIBUTION

    assert processor_class in _load_custom_logitsprocs([WHOLE_DISTRIBUTION])
    assert _load_v2_logitsprocs_by_fqcns([WHOLE_DISTRIBUTION]) == [processor_class]
