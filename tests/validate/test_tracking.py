"""Names that a tracking server would refuse when it is too late."""

from __future__ import annotations

import pytest

from rlvr.config import Config
from rlvr.errors import ConfigError
from rlvr.validate import validate


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("tags", ["a" * 65], "tracking.tags: 'a+' has 65 characters; wandb takes 1 to 64"),
        ("tags", ["mine", ""], "tracking.tags: '' has 0 characters"),
        ("project", "team/project", "tracking.project=team/project: wandb takes no / in the name"),
        ("project", "", "tracking.project=: 0 characters"),
        ("group", "g" * 129, "tracking.group=g+: 129 characters; wandb takes 1 to 128"),
    ],
)
def test_names_that_wandb_would_not_take_are_refused_before_the_start(key, value, said):
    cfg = Config(recipe="test")
    setattr(cfg.tracking, key, value)
    with pytest.raises(ConfigError, match=said):
        validate(cfg)
    cfg.tracking.wandb = "off"
    validate(cfg)


def test_the_longest_names_pass():
    cfg = Config(recipe="test")
    cfg.tracking.tags, cfg.tracking.project, cfg.tracking.group = ["a" * 64], "p" * 128, "g/h"
    validate(cfg)
