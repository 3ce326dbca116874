"""A model to hand on: `rlvr export runs/mine/checkpoints/step_000020 output=my_model`.

The folder of a run gives its exported policy, or its newest checkpoint where there is none; a checkpoint's gives the
weights of that step, whether or not they were exported. Writes a folder in Hugging Face format: weights,
configuration, tokenizer, and a model card with what the run's files say of it.

    output=DIR   where to; unless named <run>/export/<step, or policy>
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rlvr.analysis.run import POLICY, LoadedRun, load_run
from rlvr.cli.model_card import model_card
from rlvr.cli.opening import opened
from rlvr.cli.overrides.shorthand import ShortForm, expand
from rlvr.data.models.end_tokens import save_tokenizer
from rlvr.data.models.model_folders import is_training_checkpoint
from rlvr.data.models.tokenizer import load_tokenizer
from rlvr.data.models.weight_files import WHOLE, folder_problem, weight_files
from rlvr.errors import ConfigError, where_it_fails
from rlvr.locks import lock_folder
from rlvr.runtime.checkpoints.checkpoint import list_checkpoints, read_checkpoint
from rlvr.runtime.disk.folder import RunFolder

FORMS = (ShortForm("output=DIR", "where to"),)


@dataclass(frozen=True, slots=True)
class Source:
    """A policy of a run."""

    run: LoadedRun
    step: int
    exported: Path | None  # in Hugging Face format already
    checkpoint: Path | None  # else its weights are here

    @property
    def name(self) -> str:
        return POLICY if self.checkpoint is None else self.checkpoint.name


def export(path: Path, output: Path | None = None) -> Path:
    """Write the policy of a run or of a checkpoint in Hugging Face format; returns the folder.

    Raises:
        ConfigError: no policy there, the output exists, or another process is writing it.
        CheckpointError: the checkpoint is damaged.
        RlvrError: the folder cannot be written.
    """
    source = find_source(path)
    target = output or source.run.folder / "export" / source.name
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"output={target}: exists already; name another folder, or remove it")
    remedy = "name a place with room for it by output="
    with where_it_fails(f"output={target}: cannot be written", remedy), _draft_of(target) as draft:
        _write(source, draft)
        (draft / "README.md").write_text(model_card(source.run, source.step))
        os.replace(draft, target)
    return target


@contextmanager
def _draft_of(target: Path) -> Iterator[Path]:
    """A folder beside the target that is not there yet, for this process alone; gone afterwards."""
    place = target.with_name(f".{target.name}.draft")
    with lock_folder(place, f"output={target}"):
        try:
            draft = place / "model"
            shutil.rmtree(draft, ignore_errors=True)  # of a process that was killed
            yield draft
        finally:
            shutil.rmtree(place, ignore_errors=True)


def find_source(path: Path) -> Source:
    """The policy that the folder of a run, of a checkpoint or of an exported policy stands for.

    Raises:
        ConfigError: the folder belongs to no run, or the run has neither a policy nor a checkpoint.
        CheckpointError: the checkpoint is damaged.
    """
    folder = path.expanduser().resolve()
    if folder.name == POLICY and not is_training_checkpoint(folder):
        folder = folder.parent
    if is_training_checkpoint(folder):
        return _of_checkpoint(folder)
    run = load_run(folder)
    if run.policy is not None and run.summary is not None:
        return Source(run, run.summary.steps, run.policy, None)
    checkpoints = list_checkpoints(RunFolder(run.folder.parent, run.folder.name))
    if not checkpoints:
        raise ConfigError(f"{path}: the run has neither a finished policy nor a checkpoint; let it train on")
    return _of_checkpoint(checkpoints[-1])


def _of_checkpoint(folder: Path) -> Source:
    step = read_checkpoint(folder).state.step
    owner = folder.parent.parent
    # A checkpoint that was moved away from its run still knows its configuration.
    run = load_run(owner if (owner / "config.yaml").is_file() else folder)
    exported = folder / POLICY
    return Source(run, step, exported if (exported / "config.json").is_file() else None, folder)


def _write(source: Source, draft: Path) -> None:
    settings = source.run.config
    cfg = settings.model
    if source.exported is not None:
        found = folder_problem(source.exported)
        if not (found or weight_files(source.exported)):
            found = f"{source.exported} has no weights, such as {WHOLE}; copy them there again"
        if found:
            raise ConfigError(f"{found}; or give a checkpoint of the run, step_<number>")
        _copy(source.exported, draft)
    else:
        from transformers.utils.logging import disable_progress_bar

        from rlvr.analysis.models import load_causal_lm  # torch
        from rlvr.learner.model.causal_lm import save_lm

        disable_progress_bar()
        save_lm(load_causal_lm(str(source.checkpoint), cfg, "cpu").lm, draft)
    tokenizer = load_tokenizer(cfg.path, cfg.trust_remote_code, settings.data.chat_template)
    save_tokenizer(tokenizer, draft, settings.rollout.stop_token_ids)


def _copy(folder: Path, target: Path) -> None:
    try:
        shutil.copytree(folder, target)
    except shutil.Error as error:  # a list of what failed at every file
        raise OSError(error.args[0][0][2]) from error


def parse(arguments: Sequence[str]) -> tuple[Path, Path | None]:
    """The folder to export from, and the one to write.

    Raises:
        ConfigError: not exactly one folder, or an option that does not exist.
    """
    expanded = expand(arguments, FORMS)
    folders = [
        argument
        for argument in expanded.arguments
        if not argument.startswith("-") and ("=" not in argument or Path(argument).is_dir())
    ]
    if unknown := [argument for argument in expanded.arguments if argument not in folders]:
        raise ConfigError(f"{unknown[0]}: there is no such option; the only one is output=DIR")
    if len(folders) != 1:
        raise ConfigError("name one folder of a run or of a checkpoint, such as: rlvr export runs/latest")
    output = expanded.own.get("output")
    return Path(folders[0]), Path(output).expanduser() if output else None


def main() -> None:
    """Entry point."""
    with opened("export"):
        # Nothing here is on a GPU, and DeepSpeed, which transformers imports to save, would warn of that.
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
        target = export(*parse(sys.argv[1:]))
        print(f"model, tokenizer and README.md in {target}")


if __name__ == "__main__":
    main()
