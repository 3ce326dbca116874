"""Fetch a model from the hub once, before the processes that load it start: each of them would fetch it else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rlvr.cluster.board import READY, Doing, report
from rlvr.errors import DataError, DeadlineError
from rlvr.timing import Patience, Stopwatch

LOOK_EVERY_SECONDS = 2.0
TEXT = (".json", ".txt", ".model", ".tiktoken", ".jinja", ".py")
WEIGHTS = (".safetensors", ".bin")  # in this order: a model that has both is read from the first


def wanted_files(files: Iterable[str]) -> list[str]:
    """What transformers and vLLM read of a model's repository: its small files, and weights in one format.

    Files in subfolders are other formats of the same weights, or code.
    """
    top = sorted(name for name in files if "/" not in name)
    kind = next((end for end in WEIGHTS if any(name.endswith(end) for name in top)), None)
    return [name for name in top if name.endswith(TEXT) or (kind is not None and name.endswith(kind))]


class ModelFetcher:
    """Fetches one model into the hub's cache of the node that this object lives on."""

    def __init__(self, name: str, stall_seconds: float) -> None:
        self.name, self.stall_seconds = name, stall_seconds

    def fetch(self) -> float:
        """Have the model in the cache; returns the seconds that it took.

        Raises:
            DataError: there is no such model, it may not be read, or the hub cannot be reached and the cache lacks it.
            DeadlineError: no new byte has come for `stall_seconds`.
        """
        watch = Stopwatch()
        report(Doing(f"looks for {self.name} on the hub"))
        size: list[int] = []

        def fetched() -> int:
            there = cached_bytes(self.name)
            if size:
                report(Doing(f"fetches {self.name},", there / 1e9, size[0] / 1e9, "GB"))
            return there

        bounded_by_progress(
            lambda: _fetch(self.name, size.append),
            fetched,
            stall_seconds=self.stall_seconds,
            what=f"download of the model {self.name}",
        )
        report(READY)
        return watch.seconds


def bounded_by_progress(
    work: Callable[[], Any], progress: Callable[[], int], *, stall_seconds: float, what: str
) -> None:
    """Run `work` in a thread for as long as `progress` changes; a slow network is no fault, a dead one is.

    Raises:
        DeadlineError: the same progress for `stall_seconds`; the thread is left behind, as nothing can end it.
    """
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # it belongs to the caller
            failures.append(error)

    thread = threading.Thread(target=run, name=what, daemon=True)
    thread.start()
    seen, since = progress(), Patience()
    while thread.is_alive():
        thread.join(min(LOOK_EVERY_SECONDS, stall_seconds))
        now = progress()
        if now != seen:
            seen, since = now, Patience()
        elif thread.is_alive() and since.seconds >= stall_seconds:
            raise DeadlineError(
                f"{what}: no new byte for {stall_seconds:g} s, {seen / 1e9:.2f} GB are there. Start again to go on "
                "from there, or raise model.download_stall_seconds."
            )
    if failures:
        raise failures[0]


def cached_bytes(name: str) -> int:
    """Bytes of a model in this node's cache of the hub, unfinished files included."""
    from huggingface_hub.constants import HF_HUB_CACHE

    total = 0
    for file in (Path(HF_HUB_CACHE) / f"models--{name.replace('/', '--')}" / "blobs").glob("*"):
        try:
            total += file.stat().st_size
        except FileNotFoundError:  # renamed just now, when it was whole
            continue
    return total


def _fetch(name: str, told: Callable[[int], object]) -> None:
    """Have the model in the cache; `told` is given the bytes of all its files before they are fetched."""
    import huggingface_hub
    from huggingface_hub.errors import RepositoryNotFoundError

    def cached() -> bool:
        try:
            huggingface_hub.snapshot_download(name, local_files_only=True)
        except Exception:  # not in the cache, in whatever words
            return False
        return True

    if huggingface_hub.constants.HF_HUB_OFFLINE:
        if not cached():
            raise DataError(
                f"model {name}: not in the cache of the hub, and HF_HUB_OFFLINE forbids to fetch it; download it "
                "first, or give a folder"
            )
        return
    try:
        listed = huggingface_hub.HfApi().model_info(name, files_metadata=True).siblings or ()
        wanted = wanted_files(file.rfilename for file in listed)
        told(sum(file.size or 0 for file in listed if file.rfilename in wanted))
        huggingface_hub.snapshot_download(name, allow_patterns=wanted)
    except RepositoryNotFoundError as error:  # also one that may not be read
        raise DataError(
            f"model {name}: the hub has no model of that name, or your account may not read it (set HF_TOKEN, and "
            "accept its licence on its page)"
        ) from error
    except Exception as error:  # of its network library, which is not ours to know
        if not cached():
            raise DataError(f"model {name}: cannot be fetched from the hub ({error})") from error
