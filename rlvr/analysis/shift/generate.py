"""Sample responses with the rollout engines and grade them, chunk by chunk, into files that are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from rlvr.analysis.config import AnalyzeConfig
from rlvr.analysis.evaluation import sample_missing
from rlvr.analysis.run import require_verifiers, without_training
from rlvr.analysis.shift.inputs import SHARED_SECTIONS, ModelsToCompare
from rlvr.analysis.store import IDENTITY, claim
from rlvr.config import Config
from rlvr.data.fingerprint import fingerprint
from rlvr.data.models.identity import identity
from rlvr.data.models.model_folders import is_training_checkpoint
from rlvr.data.stream import build_eval_sets
from rlvr.errors import ConfigError
from rlvr.rollout.stop import Ends, ends_of
from rlvr.runtime.actors import open_engines
from rlvr.runtime.disk.folder import RunFolder
from rlvr.runtime.evaluation import graded_responses
from rlvr.types import Prompt
from rlvr.validate import validate

# Keys of `data` that change prompts besides the template; an analysis without them goes on as it was begun.
PROMPT_KEYS = ("system", "examples", "chat_template", "chat_template_kwargs")


def generate(cfg: AnalyzeConfig, folder: Path, trajectory: str, models: ModelsToCompare) -> list[Path]:
    """Write `eval.samples_per_prompt` graded responses to every problem of `data.eval`; returns the files.

    Files that an earlier, interrupted run has finished are kept as they are.

    Raises:
        ConfigError, DataError: the model or the data cannot be sampled from, or the folder holds others.
        RlvrError: a file cannot be written, an engine died, or the verifier failed too often.
    """
    model = models.base if trajectory == "base" else models.policies[-1].path
    if is_training_checkpoint(model):
        raise ConfigError(
            f"the {trajectory} {model} is a training checkpoint, which can be scored but not sampled from; give its "
            "responses, or a folder in Hugging Face format"
        )
    sections = {name: getattr(cfg, name) for name in SHARED_SECTIONS}
    sections["model"] = replace(cfg.model, path=model, base_path=None)
    training = without_training(Config(recipe="analyze", seed=cfg.seed, **sections))
    validate(training)
    sets = build_eval_sets(
        cfg.data,
        models.tokenizer,
        context=cfg.model.max_length,
        max_response_tokens=cfg.rollout.max_response_tokens,
        verifier=training.reward.verifier,
    )
    prompts = [prompt for chosen in sets for prompt in chosen.prompts][: cfg.select.problems]
    n = cfg.eval.samples_per_prompt
    size = max(1, 4 * cfg.rollout.engines * cfg.rollout.max_concurrent // n)
    chunks = {
        folder / "samples" / f"{trajectory}-{k // size:05d}.jsonl": prompts[k : k + size]
        for k in range(0, len(prompts), size)
    }
    claim(folder / "samples" / f"{trajectory}.json", _settings(cfg, model, size, prompts), f"output={folder}")
    missing = [file for file in chunks if not file.exists()]
    if missing:
        require_verifiers(cfg.reward, [prompt.problem.rules for prompt in prompts])
        print(
            f"{trajectory}: sampling {len(prompts)} problems x {n} with {model}; {len(missing)} of {len(chunks)} "
            "files to do",
            flush=True,
        )
        run = RunFolder(folder.parent, folder.name)
        with open_engines(training, run, models.tokenizer) as (engines, graders):
            respond = partial(
                graded_responses,
                engines,
                graders,
                cfg=training,
                key=f"analyze-{trajectory}",
                where=f"responses of the {trajectory}",
                samples_folder=str(folder / "samples"),
                remedy="then give the same command again.",
            )
            sample_missing(f"responses of the {trajectory}", chunks, respond)
    return [*chunks]


def _settings(cfg: AnalyzeConfig, model: str, size: int, prompts: Sequence[Prompt]) -> dict[str, object]:
    """What decides which responses are sampled and how they are graded."""
    rollout, reward = cfg.rollout, cfg.reward
    return {
        IDENTITY: "content",
        "model": identity(model),
        "dtype": cfg.model.dtype,
        "data.eval": [asdict(source) for source in cfg.data.eval],
        "problems": asdict(fingerprint(prompts, len(prompts))),
        "data.template": cfg.data.template,
        **{f"data.{key}": value for key in PROMPT_KEYS if (value := getattr(cfg.data, key))},
        "select.problems": cfg.select.problems,
        "samples_per_prompt": cfg.eval.samples_per_prompt,
        "temperature": cfg.eval.temperature,
        "top_p": cfg.eval.top_p,
        "max_response_tokens": rollout.max_response_tokens,
        **({"ends": asdict(ends)} if (ends := ends_of(rollout)) != Ends() else {}),
        "reward": [reward.policy, reward.verifier, reward.correct, reward.incorrect]
        + (["truncated_can_be_correct"] if reward.truncated_can_be_correct else []),
        "seed": cfg.seed,
        "problems_per_file": size,
    }
