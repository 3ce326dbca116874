"""rlvr from Python, in a script or a notebook:

    import rlvr

    config = rlvr.load_recipe("grpo", ["steps=20", "run.name=mine"])
    result = rlvr.train(config)
    result.summary.eval_accuracy_after, result.run.metrics().to_pandas()
    rlvr.analyze(run=result.run.folder).tokens()
    rlvr.load_run("runs/mine").samples()

Whatever goes wrong is raised as an RlvrError with the words that the command would print; nothing ends the process.
Signal handlers, environment, working folder and Hydra are afterwards as they were before. Tables are pyarrow's;
`.to_pandas()` makes a pandas one of each. The import is light: torch and the engines come with the first use.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rlvr.analysis.loaded import LoadedAnalysis
from rlvr.analysis.run import LoadedRun, load_run
from rlvr.config import Config
from rlvr.errors import ConfigError
from rlvr.runtime.disk.summary import Summary

__all__ = ["LoadedAnalysis", "LoadedRun", "RunResult", "analyze", "load_recipe", "load_run", "train"]
# For which a run has handlers of its own.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


@dataclass(frozen=True, slots=True)
class RunResult:
    """A finished training run."""

    summary: Summary
    run: LoadedRun


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Config:
    """The configuration of a recipe with overrides as the command line takes them: "key=value", "group=option".

    Raises:
        ConfigError: there is no such recipe, key or option, or a value of the wrong type.
    """
    from rlvr.cli.overrides.compose import load

    if isinstance(overrides, str):
        raise ConfigError(
            f'overrides={overrides!r}: a list of "key=value" is expected, such as [{overrides!r}]'
        )
    return load([f"recipe={name}", *overrides])


def train(config: Config) -> RunResult:
    """Train a policy, from start (or checkpoint, as `config.run.resume` says) to the summary.

    Raises:
        RlvrError: as the command: a ConfigError before anything is started, others on the way; checkpoints are intact.
    """
    with _left_as_it_was():
        from rlvr.cli.overrides.compose import checked_types
        from rlvr.train import train as run

        summary = run(checked_types(config))
    return RunResult(summary, load_run(summary.folder))


def analyze(
    run: str | Path | None = None,
    *,
    base: str | Path | None = None,
    policy: str | Path | None = None,
    output: str | Path | None = None,
    overrides: Sequence[str] = (),
) -> LoadedAnalysis:
    """Where a policy moved from its base, token by token: of a training run, or of any two models.

    `overrides` are those of `rlvr analyze`, its short forms included, such as "data=arithmetic_heldout" and "n=4".

    Raises:
        RlvrError: as the command: settings, models or responses that cannot be analysed.
    """
    named = {"run": run, "base": base, "policy": policy, "output": output}
    given = [f"{name}={value}" for name, value in named.items() if value is not None]
    with _left_as_it_was():
        from rlvr.analyze import analyze as score
        from rlvr.cli.analyze_arguments import load

        return LoadedAnalysis(score(load([*given, *overrides])))


@contextmanager
def _left_as_it_was() -> Iterator[None]:
    """Signal handlers, environment and working folder as before, afterwards."""
    environment, folder = dict(os.environ), Path.cwd()
    in_main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in SIGNALS} if in_main else {}
    try:
        yield
    finally:
        os.chdir(folder)
        for name in set(os.environ) - set(environment):
            del os.environ[name]
        os.environ.update(environment)
        for number, handler in handlers.items():
            if handler is not None:  # one that C code has installed cannot be put back from here
                signal.signal(number, handler)
