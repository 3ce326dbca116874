"""The run on wandb: where its own variables rule, a server that cannot be reached costs seconds, and no failure of
tracking ends a training."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlvr.config import Config, TrackingConfig
from rlvr.runtime.disk.files import write_atomically
from rlvr.runtime.disk.folder import RunFolder
from rlvr.runtime.disk.settings import as_plain

SERVER_SECONDS = 20  # for the server to answer when a run begins; wandb's own limit is 90
FINISH_SECONDS = 120  # to send the rest when a run ends; wandb's own tries go on for hours
_MODES = {"online": "online", "run": "online", "offline": "offline", "dryrun": "offline", "disabled": "off"}


def wandb_mode(cfg: Config) -> tuple[str, str]:
    """online, offline or off, and the reason: wandb's variables before tracking.wandb, which `off` alone overrules."""
    if cfg.tracking.wandb == "off":
        return "off", "tracking.wandb=off"
    if os.environ.get("WANDB_DISABLED", "").lower() in ("1", "true", "yes", "on"):
        return "off", "WANDB_DISABLED is set"
    named = os.environ.get("WANDB_MODE", "").lower()
    if named in _MODES:
        return _MODES[named], f"WANDB_MODE={named}"
    if named:
        return "offline", f"WANDB_MODE={named}, which is none of {', '.join(_MODES)}"
    if cfg.tracking.wandb == "offline" and os.environ.get("WANDB_API_KEY"):
        return "online", "WANDB_API_KEY is set"
    return cfg.tracking.wandb, f"tracking.wandb={cfg.tracking.wandb}"


class WandbRun:
    """A run on wandb, or none; after its first failure it stays silent and the training goes on."""

    def __init__(self, cfg: Config, folder: RunFolder, note: Callable[[str], None], *, goes_on: bool) -> None:
        self._note, self._files = note, folder.path / "wandb" / "latest-run"
        self._newest = 0  # step
        self._run: Any = None
        mode, reason = wandb_mode(cfg)
        if mode == "off":
            return
        if os.environ.get("WANDB_MODE", "").lower() not in ("", *_MODES):
            note(f"wandb is {mode}: {reason}")
            del os.environ["WANDB_MODE"]  # wandb would refuse it, whatever it is told
        os.environ.setdefault("WANDB_SILENT", "true")
        if moved := _give_cache(folder):
            note(moved)
        try:
            self._run = _init(cfg, folder, mode, goes_on=goes_on)
        except Exception as error:  # whatever the server or wandb does must not cost a training
            note(f"wandb ({mode}: {reason}) failed: {_first_line(error)}")
            if mode != "online":
                return
            try:
                self._run = _init(cfg, folder, "offline", goes_on=False)
                note(f"wandb goes on offline; `wandb sync` in {folder.path / 'wandb'} sends the run later")
            except Exception as second:
                note(f"wandb offline failed as well: {_first_line(second)}; metrics.jsonl has everything")

    def log(self, row: dict[str, float], step: int) -> None:
        """Send the numbers of a step; wandb would drop those of an earlier one, which go to the newest and say so."""
        if step < self._newest:
            row = {**row, "eval/step": float(step)}
        self._newest = max(step, self._newest)
        self._try(lambda run: run.log(row, step=self._newest))

    def close(self, summary: dict[str, Any] | None) -> None:
        """End the run; with a summary it carries it and counts as finished."""

        def end(run: Any) -> None:
            if summary is not None:
                run.summary.update(summary)
            limit, began = getattr(run.settings, "finish_timeout", 0), time.monotonic()
            run.finish(exit_code=0 if summary is not None else 1)
            if 0 < limit <= time.monotonic() - began:
                self._note(f"wandb may not have sent everything; `wandb sync {self._files}` sends the rest")

        self._try(end)
        self._run = None

    def _try(self, action: Callable[[Any], None]) -> None:
        if self._run is None:
            return
        try:
            action(self._run)
        except Exception as error:
            self._run = None
            self._note(
                f"wandb failed and gets no more of this run: {_first_line(error)}; metrics.jsonl has everything"
            )


def _init(cfg: Config, folder: RunFolder, mode: Any, *, goes_on: bool) -> Any:
    import wandb

    identity = folder.path / "wandb_id"
    # Offline, each attempt is a run that can be synced. Online the run on the server goes on, unless it has steps
    # that are to be done again: wandb would drop the new ones.
    same = mode == "online" and goes_on and identity.exists()
    run = wandb.init(
        project=_project(cfg),
        group=cfg.tracking.group,
        tags=list(cfg.tracking.tags) or None,
        name=os.environ.get("WANDB_NAME") or folder.path.name,
        id=identity.read_text() if same else None,
        resume="allow" if same else None,
        dir=str(folder.path),
        mode=mode,
        config=as_plain(cfg),
        settings=_limits(wandb.Settings),
        # wandb would give us a run that somebody else in this process has begun.
        reinit="create_new" if getattr(wandb, "run", None) is not None else None,
    )
    if mode == "online":
        write_atomically(identity, run.id)
    return run


def _give_cache(folder: RunFolder) -> str:
    """Where the user's cache cannot be written, have wandb keep its own in the run; what to say of it, or nothing.

    Without one wandb's service has no file for its log, and writes all of it over the run's lines.
    """
    if os.environ.get("WANDB_CACHE_DIR"):
        return ""
    usual = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "wandb"
    try:
        usual = usual.expanduser()
        usual.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=usual):
            return ""
    except (OSError, RuntimeError) as error:  # the second: a user of whom the machine knows no home
        own = folder.path / "wandb" / "cache"
        os.environ["WANDB_CACHE_DIR"] = str(own.absolute())
        why = (error.strerror if isinstance(error, OSError) else None) or error
        return f"wandb keeps its cache in {own} (WANDB_CACHE_DIR): {usual} cannot be written ({why})"


def _project(cfg: Config) -> str:
    """The project that is set, or else the one that wandb's variable names."""
    given = cfg.tracking.project
    return os.environ.get("WANDB_PROJECT") or given if given == TrackingConfig().project else given


def _limits(known: Any) -> dict[str, float]:
    """Seconds that wandb may keep a run waiting, where its variables do not say: by default it would for hours."""
    limits = {"init_timeout": SERVER_SECONDS, "finish_timeout": FINISH_SECONDS}
    return {
        name: float(seconds)
        for name, seconds in limits.items()
        if name in known.model_fields and not os.environ.get(f"WANDB_{name.upper()}")
    }


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    # The first line of what wandb's settings say is how many of them are wrong.
    said = lines[:3] if type(error).__name__ == "ValidationError" else lines[:1]
    return f"{type(error).__name__}: {' '.join(line.strip() for line in said)}"
