"""What a run reads before anything is started: tokenizer, prompts, evaluation sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlvr.cluster.imports import uncollected
from rlvr.config import Config
from rlvr.data.curriculum import check_sampler
from rlvr.data.fingerprint import DataSeen
from rlvr.data.models.context import check_context
from rlvr.data.models.tokenizer import is_local, load_tokenizer, model_folder
from rlvr.data.problems import rules_of
from rlvr.data.prompts import load_source
from rlvr.data.reading.formats import PLAIN
from rlvr.data.sources import all_sources, is_on_the_hub
from rlvr.data.stream import EvalSet, PromptStream, build_eval_sets, build_training_stream
from rlvr.errors import ConfigError
from rlvr.reward.verdict import Outcome, Rules, options_text
from rlvr.reward.verifiers import is_math
from rlvr.reward.workers.pool import open_grader_pool
from rlvr.rollout.stop import stop_tokens_problems
from rlvr.runtime.model_checks import check_models, warn_of_chat_template
from rlvr.types import Problem, Tokenizer

TRIED = 64  # training prompts of a source among which a problem for each verifier is looked for


@dataclass(frozen=True, slots=True)
class TrainingInputs:
    """What a run reads before anything is started."""

    base_folder: str
    tokenizer: Tokenizer
    stream: PromptStream
    eval_sets: tuple[EvalSet, ...]
    vocabulary: int  # rows of the policy's head

    @property
    def formats(self) -> str:
        """What is to be said of sources whose rows were not plain ones."""
        named = [(part.name, part.format) for part in self.stream.parts]
        named += [(chosen.name, chosen.format) for chosen in self.eval_sets]
        read = [f"{name} as {form} writes them" for name, form in named if form not in ("", PLAIN)]
        return f"rows: {', '.join(read)}" if read else ""

    @property
    def seen(self) -> DataSeen:
        """What tells this data from other data; computed anew each time."""
        parts = self.stream.parts
        return DataSeen(
            self.stream.fingerprint,
            {chosen.name: chosen.fingerprint for chosen in self.eval_sets},
            {part.name: part.fingerprint for part in parts} if len(parts) > 1 else {},
        )


def read_inputs(cfg: Config) -> TrainingInputs:
    """Tokenizer, prompts and evaluation sets, each checked.

    Raises:
        ConfigError: whatever is wrong with them; nothing has been started, and the user can mend it.
    """
    room = {"context": cfg.model.max_length, "max_response_tokens": cfg.rollout.max_response_tokens}
    verifier = cfg.reward.verifier
    try:
        with uncollected():  # these import transformers
            check_context(cfg.model)
            base_folder = model_folder(cfg.model.base_path or cfg.model.path)
            tokenizer = load_tokenizer(cfg.model.path, cfg.model.trust_remote_code, cfg.data.chat_template)
            vocabulary = check_models(cfg, tokenizer)
        warn_of_chat_template(cfg, tokenizer)
        if problems := stop_tokens_problems(cfg.rollout, len(tokenizer)):
            raise ConfigError("\n".join(problems))
        eval_sets = build_eval_sets(cfg.data, tokenizer, verifier=verifier, **room)
        stream = build_training_stream(
            cfg.data, tokenizer, seed=cfg.seed, eval_sets=eval_sets, verifier=verifier, **room
        )
        check_sampler(cfg, stream)
        prompts = [chosen.prompts[0] for chosen in eval_sets]
        for part in stream.parts:
            prompts += part.take(0, min(TRIED, part.size or TRIED))
        check_verifiers(cfg, [prompt.problem for prompt in prompts])
    except (ValueError, OSError) as error:
        raise ConfigError(str(error)) from error
    return TrainingInputs(base_folder, tokenizer, stream, eval_sets, vocabulary)


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
    sources = all_sources(cfg.data)
    models = (cfg.model.path, cfg.model.base_path)
    remote = [f"model {path}" for path in models if path and not is_local(path)]
    remote += [f"data set {source.name}" for source in sources if is_on_the_hub(source)]
    if not remote:
        read_inputs(cfg)
        return []
    check_verifiers(cfg, [])
    for source in sources:
        if source.path is not None:
            try:
                load_source(source, cfg.data, verifier=cfg.reward.verifier)
            except (ValueError, OSError) as error:
                raise ConfigError(str(error)) from error
    return [f"{what} is on the hub: it is read when the run starts" for what in remote]


def check_verifiers(cfg: Config, problems: Sequence[Problem]) -> None:
    """Load all verifiers but ours in a worker, as the run will, and try each on a problem's own answer.

    Raises:
        ConfigError: one cannot be loaded, raises, or gives no verdict in time.
    """
    sources = all_sources(cfg.data)
    default = Rules(cfg.reward.verifier, options=options_text(cfg.reward.verifier_options))
    if all(is_math(rules) and not rules.options for rules in (default, *map(rules_of, sources))):
        return
    with open_grader_pool(cfg.reward, map(rules_of, sources), workers=1) as pool:
        tried = {problem.rules: problem for problem in reversed(problems)}
        requests = [
            request
            for place, problem in enumerate(tried.values())
            for request in problem.grade_requests([(str(place), rf"\boxed{{{problem.answer}}}")])
        ]
        verdicts = pool.grade(requests)
    for request, verdict in zip(requests, verdicts.values(), strict=True):
        if verdict.failed:
            verifier, of_source = request.rules.verifier, f"verifier of source {request.row.source}"
            named = (
                f"reward.verifier={cfg.reward.verifier}" if verifier is None else f"{of_source}={verifier}"
            )
            late = verdict.outcome is Outcome.TIMED_OUT
            raise ConfigError(
                f"{named}: tried on problem {request.row.id} with its own answer {request.gold!r:.60}, it gave no "
                f"verdict: {verdict.detail}"
                + (
                    ". Import what takes long where its module begins, or raise reward.deadline_seconds"
                    * late
                )
            )
