"""The model card of an exported policy: what the files of its run say, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.analysis.run import LoadedRun
from rlvr.cli.verifier_names import verifier_names
from rlvr.config import Config, SourceConfig
from rlvr.data.eval_sets import eval_named
from rlvr.data.models.tokenizer import is_local
from rlvr.data.prompts import template_of
from rlvr.metrics import sets_among

LOADING = """```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")  # this folder
model = AutoModelForCausalLM.from_pretrained(".")
```"""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The accuracy on one held-out set at one step; the interval is 95 %, clustered by problem."""

    name: str
    accuracy: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.accuracy:.3f} (95 %: {self.low:.3f} to {self.high:.3f})"


def model_card(run: LoadedRun, step: int) -> str:
    """README.md of the policy that a run had after `step` steps."""
    cfg = run.config
    head = ["---", "library_name: transformers", "pipeline_tag: text-generation"]
    if not is_local(cfg.model.path):
        head.append(f"base_model: {cfg.model.path}")
    head += ["tags:", "- reinforcement-learning", "- rlvr", "---"]
    rows = [f"| {name} | {value} |" for name, value in _facts(run, step)]
    parts = [
        "\n".join(head),
        f"# {run.folder.name}, step {step}",
        f"{cfg.model.path}, trained by reinforcement learning with verifiable rewards.",
        "\n".join(["| | |", "| --- | --- |", *rows]),
        "## Accuracy\n\n" + _accuracy_text(run, step),
        f"## Loading\n\n{LOADING}\n\n{_prompt_text(cfg)}",
    ]
    return "\n\n".join(parts) + "\n"


def accuracies(run: LoadedRun, step: int) -> list[Accuracy]:
    """What an evaluation after `step` steps found, set by set; empty where there was none."""
    # The last one counts: a run that went back and on again evaluated a step twice.
    rows: Sequence[dict[str, Any]] = [r for r in run.metrics("eval").to_pylist() if r["step"] == step]
    found = rows[-1] if rows else {}
    named = ("accuracy", "ci_low", "ci_high")
    figures: dict[str, list[Any]] = {
        name: [found.get(f"eval/{name}/{figure}") for figure in named] for name in sets_among(found)
    }
    return [Accuracy(name, *values) for name, values in figures.items() if None not in values]


def _facts(run: LoadedRun, step: int) -> list[tuple[str, object]]:
    cfg, summary = run.config, run.summary
    facts: list[tuple[str, object]] = [
        ("base", cfg.model.path),
        ("recipe", cfg.recipe),
        ("steps", f"{step} of {cfg.steps}"),
        ("seed", cfg.seed),
        ("data", ", ".join(map(_source, cfg.data.training))),
        ("a step", f"{cfg.data.prompts_per_step} prompts x {cfg.rollout.samples_per_prompt} responses"),
        ("token weighting", cfg.advantage.token),
        ("learning rate", f"{cfg.learner.lr:g}"),
        ("precision", cfg.model.dtype),
        ("verifier", "; ".join(verifier_names(cfg))),
    ]
    if summary is not None and summary.steps == step:
        facts.append(("tokens generated in training", summary.tokens_generated))
        facts += [("changed on the way", change) for change in summary.changes]
        facts.append(("versions", ", ".join(f"{name} {value}" for name, value in summary.versions.items())))
    return facts


def _source(source: SourceConfig) -> str:
    return source.name if source.path is None else f"{source.name} ({source.path})"


def _accuracy_text(run: LoadedRun, step: int) -> str:
    after = accuracies(run, step)
    if not after:
        return f"The run was not evaluated after step {step}."
    before = {part.name: part for part in accuracies(run, 0)}
    lines = ["| held-out set | before training | this model |", "| --- | --- | --- |"]
    lines += [f"| {part.name} | {before.get(part.name, '-')} | {part} |" for part in after]
    return "\n".join(lines) + f"\n\n{_sampling_text(run.config, [part.name for part in after])}"


def _sampling_text(cfg: Config, names: Sequence[str]) -> str:
    """How the sets were sampled, one by one where they were not sampled alike."""
    sets: dict[str, list[str]] = {}
    for name in names:
        own = eval_named(name, cfg)
        how = (
            f"{own.samples_per_prompt} response(s) to each problem at temperature {own.temperature:g}, "
            f"top_p {own.top_p:g}"
        )
        sets.setdefault(how, []).append(name)
    parts = [how if len(sets) == 1 else f"{', '.join(named)}: {how}" for how, named in sets.items()]
    return f"{'; '.join(parts)}; intervals are clustered by problem."


def _prompt_text(cfg: Config) -> str:
    templates = dict.fromkeys(template_of(source, cfg.data) for source in cfg.data.training)
    how = " and ".join(
        "with the tokenizer's chat template (`tokenizer.apply_chat_template`)"
        if template == "chat"
        else f"as the template `{template}` of rlvr writes it"
        for template in templates
    )
    texts = ", ".join(f"`{text!r}`" for text in cfg.rollout.stop)
    ended = (
        f" The texts {texts} ended a response there, and have to elsewhere (stop strings)." if texts else ""
    )
    return (
        f"It was trained on prompts {how}, with responses of at most {cfg.rollout.max_response_tokens} tokens at "
        f"temperature {cfg.rollout.temperature:g}.{ended}"
    )
