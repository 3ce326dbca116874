"""A run in the browser: `rlvr view runs/latest`. Take another token there, and see what becomes of it.

Serves one page on this machine's loopback, with a secret in its address, until Ctrl-C: the responses of the run's
analysis token by token, and, while the run trains, its curves and newest responses. A click on an alternative puts
that token in place of the response's own; the policy or the base, loaded here, goes on from both, and the run's
verifier judges. Everything that was tried is kept in <run>/interventions.jsonl. Options and their defaults:

    port=0            a free one
    divergent=40      pairs of responses with the largest mean JS on the page
    random=40         pairs drawn at random from the rest
    tokens=1000       tokens shown of a response
    temperature=1     at which continuations are sampled
    device=auto       cuda where there is a GPU, else cpu
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from rlvr.analysis.cross.config import CrossSampleConfig
from rlvr.analysis.cross.inputs import read_inputs
from rlvr.analysis.intervene.bench import Bench
from rlvr.analysis.run import LoadedRun, require_verifiers
from rlvr.analysis.run import read_run as read_training
from rlvr.cli.opening import opened
from rlvr.cli.overrides.options import Option, read_options
from rlvr.errors import ConfigError
from rlvr.locks import exclusive
from rlvr.reporting.pages import view_page
from rlvr.reporting.sources import ReportedRun, read_run
from rlvr.reporting.viewer import Interventions, Viewer
from rlvr.reward.workers.pool import open_grader_pool

LAST_PORT = 65535
FOLDER = "interventions"  # of the run: the lock, and responses on which the verifier failed


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """The command line."""

    run: Path
    port: int = 0
    divergent: int = 40
    random: int = 40
    tokens: int = 1000
    temperature: float = 1.0
    device: str = "auto"


def open_viewer(options: ViewOptions, stack: ExitStack) -> Viewer:
    """A server of the run, not yet answering; what it starts ends with `stack`.

    Raises:
        ConfigError: no run, a port that is taken, or another process lets people intervene there.
        DataError: a file of the run is damaged.
    """
    training = read_training(options.run)
    shown = read_run(training.folder)
    why_not = _why_not(shown, training)
    page = view_page(
        shown,
        training.config,
        why_not,
        divergent=options.divergent,
        drawn=options.random,
        tokens=options.tokens,
    )
    interventions = None if why_not else _interventions(options, training, shown, stack)
    viewer = Viewer(page, interventions, training.folder, options.port)
    stack.callback(viewer.server_close)
    return viewer


def _why_not(shown: ReportedRun, training: LoadedRun) -> str:
    if training.policy is None:
        return "The run has no policy yet that could go on"
    if shown.analysis is None:
        return "There is no analysis whose responses could go on otherwise"
    return ""


def _interventions(
    options: ViewOptions, training: LoadedRun, shown: ReportedRun, stack: ExitStack
) -> Interventions:
    inputs = read_inputs(CrossSampleConfig(run=str(training.folder), temperature=options.temperature))
    rules = [prompt.problem.rules for prompt in inputs.prompts]
    require_verifiers(inputs.reward, rules)
    folder = training.folder / FOLDER
    stack.enter_context(exclusive(folder))
    graders = stack.enter_context(open_grader_pool(inputs.reward, rules, workers=1, save_folder=folder))
    assert shown.analysis is not None
    responses = shown.analysis.folder / "responses.parquet"
    device = _device(options.device)
    return Interventions(
        training.folder,
        lambda: Bench(inputs, responses, graders, device=device),
    )


def _device(named: str) -> str:
    if named != "auto":
        return named
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def view(options: ViewOptions) -> None:
    """Serve the page until Ctrl-C; raises as `open_viewer`."""
    with ExitStack() as stack:
        viewer = open_viewer(options, stack)
        server = threading.Thread(target=viewer.serve_forever, name="viewer", daemon=True)
        server.start()
        stack.callback(viewer.shutdown)
        print(f"{viewer.address}\n(only from this machine; Ctrl-C ends it)", flush=True)
        server.join()


def parse(arguments: Sequence[str]) -> ViewOptions:
    """The command line as a record.

    Raises:
        ConfigError: not one folder, an unknown option, or a value of the wrong kind.
    """
    kinds: dict[str, Any] = {f.name: type(f.default) for f in fields(ViewOptions) if f.name != "run"}
    known = {name: Option(kind, f"a {kind.__name__}") for name, kind in kinds.items()}
    runs, given = read_options(arguments, known)
    if len(runs) != 1:
        raise ConfigError("name the folder of one run, such as: rlvr view runs/latest")
    options = ViewOptions(runs[0], **given)
    if (
        min(options.port, options.divergent, options.random) < 0
        or options.tokens < 1
        or not options.temperature > 0
    ):
        raise ConfigError(
            "port, divergent and random are 0 or more, tokens is 1 or more, temperature is greater than 0"
        )
    if options.port > LAST_PORT:
        raise ConfigError(f"port={options.port}: there is none above {LAST_PORT}; 0 takes a free one")
    if options.device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device={options.device}: use auto, cpu or cuda")
    return options


def main() -> None:
    """Entry point."""
    with opened("view"):
        view(parse(sys.argv[1:]))


if __name__ == "__main__":
    main()
