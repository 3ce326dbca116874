"""Look a training run over before it is started: `rlvr check recipe=grpo reward.verifier=my_verifier:grade`.

Takes what `rlvr train` takes for a single run, and starts neither Ray nor an engine: the keys are checked together,
the data is read; of each source three rows are graded, and one prompt is shown as the model will see it. What Ray and
the engines need of this machine is looked at last, unless `cluster.address` names another's Ray.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlvr.cli.entry import hydra_entry
from rlvr.cli.verifier_names import verifier_names
from rlvr.config import Config
from rlvr.data.prompts import template_of
from rlvr.data.reading.formats import PLAIN
from rlvr.data.stream import MixtureSource, PromptStream
from rlvr.errors import ConfigError
from rlvr.learner.scoring import needed_signals
from rlvr.reward.verdict import DEFAULT_RULES, GradeRequest, Rules, Verdict
from rlvr.reward.verifiers import is_math
from rlvr.reward.workers.pool import open_grader_pool
from rlvr.runtime.actors import check_machine
from rlvr.runtime.inputs import TrainingInputs, read_inputs
from rlvr.runtime.planning.fit import planned
from rlvr.sweep.needs import job_need
from rlvr.types import Prompt, Tokenizer
from rlvr.validate import validate

ROWS = 3  # graded
NEXT_LINE = "\n               "  # below what stands beside a heading
WRONG = "-987654321"  # an answer that no problem has


@dataclass(frozen=True, slots=True)
class Trial:
    """A row's own answer, and a wrong one, as the run's verifier grades them."""

    problem_id: str
    gold: str  # empty where the row has none, which its verifier has no need of
    itself: Verdict
    wrong: Verdict
    rules: Rules = DEFAULT_RULES

    def __str__(self) -> str:
        own = f"gold {self.gold!r:.60} itself" if self.gold else "no gold answer; an empty response"
        return f"{self.problem_id}: {own} {_word(self.itself)}, {WRONG} {_word(self.wrong)}"


def check(cfg: Config) -> None:
    """Print what a run would do and need.

    Raises:
        ConfigError: what is wrong with the configuration, the data, the verifier or the machine; nothing has been
            started.
    """
    plan, plugin = validate(cfg)
    print(f"configuration  recipe {cfg.recipe}: its keys go together")
    inputs = read_inputs(cfg)
    print(f"data           {described_data(inputs)}")
    parts = [part.take(0, min(ROWS, part.size or ROWS)) for part in inputs.stream.parts]
    prompts = [prompt for part in parts for prompt in part]
    trials = graded(cfg, prompts)
    print(f"verifier       {NEXT_LINE.join(verifier_names(cfg))}")
    for trial in trials:
        print(f"  {trial}")
    for note in refuse_misjudged(cfg, trials):
        print(f"  NOTE {note}")
    for source, (first, *_) in zip(cfg.data.training, parts, strict=True):
        print(f"prompt         {first.id}, template {repr(template_of(source, cfg.data))[1:-1]}")
        print(shown_prompt(first, inputs.tokenizer))
    print(f"arithmetic     {cfg.steps} steps; {plan}")
    print(f"needs          {needs(cfg)}")
    print(f"plan           {planned(cfg, needed_signals(plugin, cfg.loss, cfg.tracking.signals))}")
    check_machine(cfg)
    print("nothing speaks against this run; `rlvr train` with the same arguments starts it")


def described_data(inputs: TrainingInputs) -> str:
    """Names and sizes of the training stream and the evaluation sets, and what was left out of them."""
    sets = [
        (f"train {part.name}{share}", part.size, part.left_out, part.format)
        for part, share in zip(inputs.stream.parts, _shares(inputs.stream), strict=True)
    ]
    sets += [(f"eval {s.name}", len(s.prompts), s.left_out, s.format) for s in inputs.eval_sets]
    lines = []
    for name, size, left_out, form in sets:
        counts = {
            "bad rows left out": len(left_out.bad_rows),
            "long prompts left out": len(left_out.long_prompts),
            "questions with control tokens left out": len(left_out.control_tokens),
            "questions that also stand in an evaluation set": len(left_out.overlaps),
        }
        said = [f"{count} {what}" for what, count in counts.items() if count]
        size_said = "made as they are needed, without end" if size is None else f"{size} problems"
        read = [f"rows as {form} writes them"] if form not in ("", PLAIN) else []
        lines.append(", ".join([f"{name}: {size_said}", *read, *said]))
    return NEXT_LINE.join(lines)


def _shares(stream: PromptStream) -> list[str]:
    """What share of the prompts each source of a mixture gives; nothing to say of one source."""
    if not isinstance(stream.source, MixtureSource):
        return [""]
    weights = stream.source.weights
    return [f" ({weight / sum(weights):.0%} of the prompts)" for weight in weights]


def graded(cfg: Config, prompts: Sequence[Prompt]) -> list[Trial]:
    """Each row's own answer and a wrong one, graded by the run's verifier in a worker, as in the run.

    The row's own is tried in a box, and bare for verifiers that want no box: the better verdict of the two counts.
    """
    requests: list[GradeRequest] = []
    for prompt in prompts:
        answer = prompt.problem.answer
        boxed = rf"\boxed{{{answer}}}" if answer else ""
        tried = {"boxed": boxed, "bare": answer, "wrong": rf"\boxed{{{WRONG}}}"}
        if is_math(prompt.problem.rules.over(Rules(cfg.reward.verifier))):
            del tried["bare"]
        requests += prompt.problem.grade_requests(
            (f"{prompt.id}/{kind}", text) for kind, text in tried.items()
        )
    with open_grader_pool(cfg.reward, [prompt.problem.rules for prompt in prompts], workers=1) as pool:
        verdicts = pool.grade(requests)

    def itself(prompt: Prompt) -> Verdict:
        boxed, bare = verdicts[f"{prompt.id}/boxed"], verdicts.get(f"{prompt.id}/bare")
        return bare if bare is not None and bare.correct and not boxed.correct else boxed

    return [
        Trial(p.problem.id, p.problem.answer, itself(p), verdicts[f"{p.id}/wrong"], p.problem.rules)
        for p in prompts
    ]


def refuse_misjudged(cfg: Config, trials: Sequence[Trial]) -> list[str]:
    r"""What is odd about a verifier of the user's own, which may want another form than \boxed{answer}.

    Raises:
        ConfigError: the verifier failed on a row, or ours takes a row's own answer for wrong or a wrong one for right.
    """
    found = [
        f"row {trial.problem_id}: the verifier failed on its own answer {trial.gold!r:.60}: {verdict.detail}"
        for trial in trials
        for verdict in (trial.itself, trial.wrong)
        if verdict.failed
    ]
    odd = [
        (trial, f"row {trial.problem_id}: its own answer {trial.gold!r:.60} is graded {_word(trial.itself)}")
        for trial in trials
        if trial.gold and not (trial.itself.correct or trial.itself.failed)
    ]
    odd += [
        (trial, f"row {trial.problem_id}: {WRONG} is graded correct, its answer is {trial.gold!r:.60}")
        for trial in trials
        if trial.gold and trial.wrong.correct
    ]
    ours = [is_math(trial.rules.over(Rules(cfg.reward.verifier))) for trial, _ in odd]
    found += [
        f"{line}; look at the column of answers (data.train.answer)"
        for own, (_, line) in zip(ours, odd, strict=True)
        if own
    ]
    if found:
        raise ConfigError("\n".join(found))
    return [rf"{line}; right if the verifier wants another form than \boxed{{answer}}" for _, line in odd]


def shown_prompt(prompt: Prompt, tokenizer: Tokenizer) -> str:
    """A prompt as text, white space visible, and as tokens with their ids."""
    text = str(tokenizer.decode(list(prompt.token_ids)))
    tokens = [f"{id_}:{str(tokenizer.decode([id_]))!r}" for id_ in prompt.token_ids]
    return f"  text    {text!r}\n  tokens  {len(tokens)}: {' '.join(tokens)}"


def needs(cfg: Config) -> str:
    """Processes, memory and GPUs of the run."""
    need = job_need(cfg)
    ranks = cfg.rollout.engines * cfg.rollout.tensor_parallel
    processes = (
        f"1 driver, {cfg.rollout.engines} engine(s) on {ranks} rank(s), {cfg.learner.workers} learner(s), "
        f"{cfg.reward.workers} grader(s)"
    )
    # Without the size of its model there is no estimate.
    memory = "" if need.alone.startswith("memory") else f"; at most about {need.memory_mb} MiB of host memory"
    return f"{processes}; {f'{need.gpus} GPU(s)' if need.gpus else 'no GPU'}{memory}"


def _word(verdict: Verdict) -> str:
    return verdict.outcome.value


main = hydra_entry(check, command="check")

if __name__ == "__main__":
    main()
