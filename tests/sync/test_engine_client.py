"""The client that brings weights to the engines."""

from __future__ import annotations

from typing import Any

from rlvr.sync import client as client_module
from rlvr.sync.client import EngineClient


class Method:
    """A remote method that notes its arguments."""

    def __init__(self, calls: list[tuple[str, Any]], name: str) -> None:
        self.calls, self.name = calls, name

    def remote(self, *arguments: Any) -> None:
        self.calls.append((self.name, *arguments))


class Engine:
    """An engine that notes every call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Method:
        return Method(self.calls, name)


def test_every_engine_takes_its_own_ranks_and_the_new_version(monkeypatch):
    phases = []
    monkeypatch.setattr(client_module, "wait", lambda refs, **said: phases.append(said))
    engines = [Engine(), Engine(), Engine()]
    client = EngineClient(engines, tensor_parallel=2, deadline_seconds=7)
    assert client.workers == 6
    info = {"rank_offset": 1, "host": "here"}
    client.init_weight_transfer_engine(info)
    client.start_weight_update()
    client.update_weights({"names": ["w"]})
    client.version = 12
    client.finish_weight_update()
    assert info == {"rank_offset": 1, "host": "here"}  # the caller's is left alone
    offsets = [e.calls[0][1]["rank_offset"] for e in engines]
    assert offsets == [1, 3, 5]
    for engine in engines:
        assert [c[0] for c in engine.calls[1:]] == [
            "start_weight_update",
            "update_weights",
            "finish_weight_update",
        ]
        assert engine.calls[-1] == ("finish_weight_update", 12)
    assert all(p["deadline_seconds"] == 7 for p in phases)
    named = [p["what"] for p in phases]
    assert [w.partition("phase ")[2] for w in named] == ["'rendezvous'", "'start'", "'receive'", "'finish'"]
