"""Whether the installed torch has code for a machine's GPUs."""

from __future__ import annotations

import pytest

from rlvr.cluster import cards
from rlvr.cluster.cards import GpuCard, check_wheel, has_code_for, local_cards, read_cards
from rlvr.errors import ConfigError

H100, V100, B200 = (
    GpuCard("NVIDIA H100", (9, 0)),
    GpuCard("Tesla V100", (7, 0)),
    GpuCard("NVIDIA B200", (10, 0)),
)


def test_what_the_driver_says_is_read():
    assert read_cards("NVIDIA H100 80GB HBM3, 9.0\nOdd, Name, 12.0\n\n[N/A], [N/A]\n") == [
        GpuCard("NVIDIA H100 80GB HBM3", (9, 0)),
        GpuCard("Odd, Name", (12, 0)),
    ]


def test_a_machine_without_a_driver_has_no_cards(monkeypatch):
    monkeypatch.setattr(cards, "QUERY", ("no-such-program-anywhere",))
    assert local_cards() == []
    monkeypatch.setattr(cards, "QUERY", ("false",))
    assert local_cards() == []


@pytest.mark.parametrize(
    ("capability", "built_for", "runs"),
    [
        ((9, 0), ["sm_80", "sm_90"], True),
        ((8, 9), ["sm_80", "sm_90"], True),  # machine code of the same generation
        ((8, 0), ["sm_86"], False),
        ((7, 0), ["sm_75", "sm_80"], False),
        ((10, 0), ["sm_90"], False),
        ((10, 0), ["sm_90", "compute_90"], True),  # translated
        ((9, 0), ["sm_100", "compute_100"], False),
        ((9, 0), ["sm_90a"], True),
        ((10, 0), ["sm_90a"], False),
        ((12, 0), ["sm_120"], True),
        ((9, 0), [], False),
    ],
)
def test_which_builds_run_on_which_cards(capability, built_for, runs):
    assert has_code_for(capability, built_for) == runs


def test_a_wheel_without_the_cards_architecture_is_refused_by_name():
    check_wheel([H100], ["sm_80", "sm_90"], "2.13.0")
    check_wheel([], [], "2.13.0+cpu")
    with pytest.raises(
        ConfigError, match=r"Tesla V100: .*torch 2\.13\.0 has no code .* sm_70 \(it has sm_75, sm_90\)"
    ):
        check_wheel([H100, V100], ["sm_75", "sm_90"], "2.13.0")
    with pytest.raises(ConfigError, match="built for CPUs; install the GPU stack"):
        check_wheel([B200], [], "2.13.0+cpu")
