"""What the learner writes of its policy when a training has ended."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from transformers import AutoModelForCausalLM

from rlvr.config import Config
from rlvr.data.models.tokenizer import BUILTIN_FOLDER
from rlvr.learner.model.policy import load_policy
from rlvr.learner.weights import PolicyWeights


def test_a_training_is_not_lost_to_settings_of_generation_that_transformers_reads_and_does_not_write(
    tmp_path,
):
    base = Path(shutil.copytree(BUILTIN_FOLDER, tmp_path / "base"))
    settings = {"temperature": 0.6, "top_p": 0.95, "eos_token_id": [1, 2]}  # sampled without do_sample
    (base / "generation_config.json").write_text(json.dumps(settings))
    cfg = Config(recipe="test")
    cfg.model.path = str(base)
    lm = load_policy(cfg.model, str(base), 1.0).lm
    PolicyWeights(cfg, lm).export(tmp_path / "out", writes=True)
    assert settings.items() <= json.loads((tmp_path / "out" / "generation_config.json").read_text()).items()
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert again.state_dict().keys() == lm.state_dict().keys()
    assert lm.generation_config.temperature == 0.6
    modes = {path.name: path.stat().st_mode for path in (tmp_path / "out").iterdir()}
    assert len(set(modes.values())) == 1, modes  # whoever may read the one may read the others
