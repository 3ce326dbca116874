"""A study as its file states it: recipes/study/NAME.yaml, or a file of one's own. All sizes stand there.

The first task, the first recipe of `weighting` and the first seed are the study's main run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from rlvr.errors import ConfigError

RESERVED = ("pieces", "findings")  # folders beside those of the tasks


@dataclass
class StudyConfig:
    """What is trained, analysed and compared; every list of text is as on the command line of the tool that gets it."""

    title: str = MISSING  # of the page
    trainings: list[str] = field(default_factory=list)  # arguments of every training
    tasks: dict[str, list[str]] = field(default_factory=dict)  # name -> arguments of the trainings on it
    # arguments of the trainings with one recipe alone
    recipes: dict[str, list[str]] = field(default_factory=dict)
    weighting: list[str] = field(default_factory=list)  # recipes compared over seeds, on the first task
    seeds: list[int] = field(default_factory=lambda: [1])
    # recipes compared on every task, with the first seed; analysed
    training: list[str] = field(default_factory=list)
    analyze: list[str] = field(default_factory=list)  # arguments of every `rlvr analyze`
    cross_sample: list[str] = field(default_factory=list)  # arguments of `rlvr cross-sample`, of the main run
    # of finished trainings; those that are analysed keep their policy in any case
    keep_checkpoints: bool = False


def read_study(file: Path) -> StudyConfig:
    """The study of a file.

    Raises:
        ConfigError: the file cannot be read, or does not say what a study is made of.
    """
    try:
        merged = OmegaConf.merge(OmegaConf.structured(StudyConfig), OmegaConf.load(file))
        cfg = OmegaConf.to_object(merged)
    except (OSError, OmegaConfBaseException, YAMLError, ValueError) as error:  # a file of the user's
        keys = ", ".join(StudyConfig.__dataclass_fields__)
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"study={file}: cannot be read as a study ({reason}); its keys are {keys}"
        ) from error
    assert isinstance(cfg, StudyConfig)
    lacking = [key for key in ("tasks", "weighting", "seeds") if not getattr(cfg, key)]
    if lacking:
        raise ConfigError(f"study={file}: {', '.join(lacking)} is empty; name at least one each")
    if odd := [name for name in cfg.tasks if "/" in name or name in RESERVED]:
        raise ConfigError(
            f"study={file}: tasks: {', '.join(odd)} cannot be the name of a folder of its own; no / in it, and not "
            f"{' or '.join(RESERVED)}"
        )
    unused = sorted(set(cfg.recipes) - {*cfg.weighting, *cfg.training})
    if unused:
        raise ConfigError(f"study={file}: recipes: {', '.join(unused)} is in neither weighting nor training")
    return cfg
