"""What a run reads before anything is started: tokenizer, prompts, evaluation sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlvr.config import Config
from rlvr.data.catalog import CATALOG
from rlvr.data.context import check_context
from rlvr.data.sources import load_problems
from rlvr.data.stream import EvalSet, PromptStream, build_eval_sets, build_training_stream
from rlvr.data.templates import takes_conversations
from rlvr.data.tokenizer import is_local, load_tokenizer, model_folder
from rlvr.errors import ConfigError
from rlvr.reward.pool import GraderPool
from rlvr.reward.verdict import GradeRequest, Outcome
from rlvr.types import Problem, Tokenizer


@dataclass(frozen=True, slots=True)
class TrainingInputs:
    """What a run reads before anything is started."""

    base_folder: str
    tokenizer: Tokenizer
    stream: PromptStream
    eval_sets: tuple[EvalSet, ...]


def read_inputs(cfg: Config) -> TrainingInputs:
    """Tokenizer, prompts and evaluation sets, each checked.

    Raises:
        ConfigError: whatever is wrong with them; nothing has been started, and the user can mend it.
    """
    room = {"context": cfg.model.max_length, "max_response_tokens": cfg.rollout.max_response_tokens}
    try:
        check_context(cfg.model)
        base_folder = model_folder(cfg.model.base_path or cfg.model.path)
        tokenizer = load_tokenizer(cfg.model.path, cfg.model.trust_remote_code)
        eval_sets = build_eval_sets(cfg.data, tokenizer, **room)
        check_verifier(cfg, eval_sets[0].prompts[0].problem)
        stream = build_training_stream(cfg.data, tokenizer, seed=cfg.seed, eval_sets=eval_sets, **room)
    except (ValueError, OSError) as error:
        raise ConfigError(str(error)) from error
    return TrainingInputs(base_folder, tokenizer, stream, eval_sets)


def distinct_inputs(configurations: Sequence[Config]) -> list[Config]:
    """One configuration for each different choice of model, data and grader; a sweep mostly shares them."""
    found: dict[str, Config] = {}
    for cfg in configurations:
        found.setdefault(repr((cfg.model, cfg.data, cfg.reward, cfg.rollout.max_response_tokens)), cfg)
    return list(found.values())


def check_without_engines(cfg: Config) -> list[str]:
    """Read a run's inputs where it is submitted; returns what cannot be checked there: models and data on the hub.

    Raises:
        ConfigError: data, template, tokenizer or verifier cannot work.
    """
    sources = (cfg.data.train, *cfg.data.eval)
    models = (cfg.model.path, cfg.model.base_path)
    remote = [f"model {path}" for path in models if path and not is_local(path)]
    remote += [
        f"data set {source.name}" for source in sources if source.path is None and source.name in CATALOG
    ]
    if not remote:
        read_inputs(cfg)
        return []
    check_verifier(cfg, None)
    for source in sources:
        if source.path is not None:
            try:
                load_problems(
                    source,
                    on_bad_row=cfg.data.on_bad_row,
                    conversations=takes_conversations(cfg.data.template),
                )
            except (ValueError, OSError) as error:
                raise ConfigError(str(error)) from error
    return [f"{what} is on the hub: it is read when the run starts" for what in remote]


def check_verifier(cfg: Config, problem: Problem | None) -> None:
    """Load a verifier of the user's own in a worker, as the run will, and try it on a problem's own answer.

    Raises:
        ConfigError: it cannot be loaded, raises, or gives no verdict in time.
    """
    if cfg.reward.verifier is None:
        return
    with GraderPool(
        workers=1,
        deadline_seconds=cfg.reward.deadline_seconds,
        memory_mb=cfg.reward.memory_mb,
        verifier=cfg.reward.verifier,
    ) as pool:
        if problem is None:
            return
        request = GradeRequest("trial", problem.answer, rf"\boxed{{{problem.answer}}}")
        verdict = pool.grade([request])["trial"]
    if verdict.outcome in (Outcome.FAILED, Outcome.TIMED_OUT):
        raise ConfigError(
            f"reward.verifier={cfg.reward.verifier}: tried on problem {problem.id} with its own answer "
            f"{problem.answer!r:.60}, it gave no verdict: {verdict.detail}"
        )
