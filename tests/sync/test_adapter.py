"""When pushes send adapters alone, the room that vLLM makes for them, and what they cannot go with."""

from __future__ import annotations

import pytest

from rlvr.config import Config
from rlvr.errors import ConfigError
from rlvr.sync.adapter import RANKS, Adapter, adapter_problems, room_for, sends_adapter
from rlvr.sync.sender import choose_backend
from rlvr.validate import validate


def config(rank: int = 16, **changes: object) -> Config:
    cfg = Config(recipe="test")
    cfg.model.lora.rank, cfg.sync.lora = rank, "adapter"
    for key, value in changes.items():
        section, _, name = key.partition("__")
        setattr(getattr(cfg, section), name, value)
    return cfg


def test_adapters_are_sent_alone_where_that_is_asked_for():
    assert sends_adapter(config())
    assert not sends_adapter(config(sync__lora="merged"))
    assert not sends_adapter(config(rank=0))
    assert sends_adapter(config(rank=1))
    validate(config())


@pytest.mark.parametrize(
    "cfg",
    [
        config(RANKS[-1]),
        config(cluster__colocate=True, cluster__sleep_level=1),
        config(cluster__sleep_level=2),  # engines that share no device do not sleep
        config(sync__backend="gloo"),
    ],
)
def test_what_goes_with_them_is_not_refused(cfg: Config):
    assert adapter_problems(cfg) == []


def test_they_travel_through_host_memory_whatever_the_devices():
    for device in ("cpu", "cuda"):
        assert choose_backend(config(cluster__colocate=True), device) == ("gloo", "adapters are small")
        assert choose_backend(config(sync__lora="merged"), device)[1] != "adapters are small"


def test_vllm_makes_room_for_the_next_rank_that_it_has():
    assert [room_for(rank) for rank in (1, 2, 8, 9, 16, 33, 512)] == [1, 8, 8, 16, 16, 64, 512]
    assert Adapter(3, 6.0, ("q_proj",)).room == 8


@pytest.mark.slow  # it imports vLLM
def test_the_ranks_are_those_of_vllm():
    from typing import get_args

    from vllm.config.lora import MaxLoRARanks

    assert get_args(MaxLoRARanks) == RANKS


@pytest.mark.parametrize(
    ("said", "cfg"),
    [
        ("sync.lora=adapter with model.lora.rank=0: there is no adapter to send", config(rank=0)),
        ("sync.lora=adapter with model.lora.rank=513: vLLM has adapters of rank 512 at most", config(513)),
        ("sync.lora=adapter with sync.backend=nccl: adapters travel", config(sync__backend="nccl")),
        ("sync.lora=adapter with sync.sparse=auto: an adapter is sent whole", config(sync__sparse="auto")),
        (
            "sync.lora=adapter with cluster.sleep_level=2: engines would drop",
            config(cluster__colocate=True, cluster__sleep_level=2),
        ),
    ],
)
def test_what_cannot_go_with_them_is_refused_by_name(said: str, cfg: Config):
    with pytest.raises(ConfigError) as caught:
        validate(cfg)
    assert str(caught.value).startswith(said)
    cfg.sync.lora = "merged"
    assert adapter_problems(cfg) == []
