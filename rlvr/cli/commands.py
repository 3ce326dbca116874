"""The commands of the program: what each does, its keys used most, and examples. Their help is made from this table."""

from __future__ import annotations

from dataclasses import dataclass

RECIPES = "`rlvr recipes` lists the recipes and the options of every group."
TRAINING_KEYS = "All keys of training work here as well: `rlvr train --help`, rlvr/config.py."


@dataclass(frozen=True, slots=True)
class Command:
    """A command: the module that runs it, and its help."""

    module: str
    summary: str  # a few words, for the list of commands
    usage: str  # what stands behind the command's name
    # Sentences for its help; null: what its module says of itself, which then names its options too.
    about: str | None
    examples: tuple[tuple[str, str], ...]  # arguments, and what they do
    rest: str  # where everything else stands
    schema: str | None = None  # the dataclass of its keys, by dotted path
    keys: tuple[str, ...] = ()  # those used most
    forms: str | None = None  # its short forms (rlvr.cli.overrides.shorthand.ShortForm), by dotted path


COMMANDS: dict[str, Command] = {
    "train": Command(
        "rlvr.train",
        "train a policy: one run, or a sweep with -m",
        "[recipe=NAME] [group=option ...] [key=value ...]",
        "Trains a policy with verifiable rewards. recipe= names the algorithm (dapo_divweight unless you say), model=, "
        "data=, rollout=, learner=, cluster= and advantage= choose options of their groups, and every key can be set. "
        "The run's folder is runs/<recipe>-<date>-<time>; runs/latest points at the newest. A line with -m and values "
        "with commas, or +sweep=NAME, runs one job after the other, or side by side where there is room.",
        (
            ("recipe=grpo steps=20 seed=3", "GRPO on the built-in model and task, 20 steps"),
            ("recipe=dapo run.name=mine run.resume=auto", "go on from the newest checkpoint of run `mine`"),
            ("-m recipe=grpo,dapo seed=1,2,3", "a sweep of six runs"),
        ),
        f"{RECIPES} All keys: rlvr/config.py. `--config-dir DIR` adds recipes of your own.",
        schema="rlvr.config:Config",
        keys=(
            "steps",
            "seed",
            "model.path",
            "data.train.path",
            "data.prompts_per_step",
            "rollout.samples_per_prompt",
            "rollout.max_response_tokens",
            "learner.lr",
            "run.name",
            "run.resume",
        ),
    ),
    "plan": Command(
        "rlvr.plan",
        "memory, tokens and seconds of a run, before it is started",
        "[recipe=NAME] [card=NAME] [rates=FILE] [group=option ...] [key=value ...]",
        None,
        (
            ("recipe=dapo_divweight_1_5b_node data.template=qwen_math", "the 1.5B recipe on its GPUs"),
            ("recipe=dapo cluster=gpu_1_80gb model=qwen2_5_math_1_5b card=a100", "one GPU of another kind"),
            (
                "recipe=dapo cluster=node_8gpu model=qwen2_5_math_7b rates=mine.yaml",
                "with rates of one's own",
            ),
        ),
        "Keys: `rlvr train --help`, rlvr/config.py.",
        schema="rlvr.config:Config",
        keys=(
            "model.path",
            "model.dtype",
            "model.max_length",
            "model.gradient_checkpointing",
            "data.prompts_per_step",
            "rollout.samples_per_prompt",
            "rollout.max_response_tokens",
            "learner.workers",
            "learner.zero_stage",
            "learner.tokens_per_micro_batch",
        ),
        forms="rlvr.plan:FORMS",
    ),
    "check": Command(
        "rlvr.cli.check",
        "look a run over before it starts: data, verifier, prompt, arithmetic",
        "[recipe=NAME] [group=option ...] [key=value ...]",
        None,
        (
            ("recipe=grpo", "the recipe as it stands"),
            (
                "recipe=dapo data=local data.train.path=rows.jsonl data.eval=[{name:mine,path:held.jsonl}]",
                "own data",
            ),
            ("recipe=grpo reward.verifier=my_verifier:grade", "a verifier of one's own, tried on three rows"),
        ),
        "Exit code 1 and what to do where something is wrong. Keys: `rlvr train --help`, rlvr/config.py.",
        schema="rlvr.config:Config",
        keys=(
            "data.train.name",
            "data.train.path",
            "data.train.question",
            "data.train.answer",
            "data.template",
            "data.max_prompt_tokens",
            "rollout.max_response_tokens",
            "reward.policy",
            "reward.verifier",
            "model.path",
        ),
    ),
    "evaluate": Command(
        "rlvr.evaluate",
        "avg@n, pass@k and majority@k of a model, with intervals",
        "model=PATH [data=A,B] [n=32] [key=value ...]",
        "Samples answers to held-out problems and grades them. The policy of a training run is evaluated as the run "
        "itself does it, unless the command says otherwise. Writes <run.root>/<run.name>/evaluation.json, "
        "responses.parquet and samples/; with the same run.name an interrupted evaluation goes on.",
        (
            ("model=runs/latest n=32", "the newest run's policy on its own held-out sets"),
            ("model=builtin data=arithmetic_heldout n=8", "the built-in model, untrained"),
            ("model=runs/latest compare=runs/before", "and problem by problem against an earlier evaluation"),
        ),
        TRAINING_KEYS,
        schema="rlvr.config:Config",
        keys=(
            "model.path",
            "model.max_length",
            "data.template",
            "rollout.max_response_tokens",
            "eval.samples_per_prompt",
            "eval.temperature",
            "eval.top_p",
            "reward.verifier",
            "run.name",
            "seed",
        ),
        forms="rlvr.cli.evaluate_arguments:FORMS",
    ),
    "analyze": Command(
        "rlvr.analyze",
        "where the policy's token distributions moved away from the base's",
        "run=FOLDER | base=PATH policy=PATH [key=value ...]",
        "Scores a policy and its base on responses of both, token by token, and writes a token table, summary tables "
        "and analysis.json. Interrupted? The same command goes on where it stopped.",
        (
            ("run=runs/latest", "the newest run: its policy and checkpoints against its base"),
            (
                "base=builtin policy=my/policy data=arithmetic_heldout n=4 output=out",
                "any two models, sampled afresh",
            ),
            ("run=runs/latest select.problems=50 score.top_p=0.9", "fewer problems, another nucleus"),
        ),
        "All keys: rlvr/analysis/config.py, or `rlvr analyze --cfg job`.",
        schema="rlvr.analysis.config:AnalyzeConfig",
        keys=(
            "trajectory",
            "generate",
            "output",
            "select.problems",
            "select.samples",
            "score.device",
            "score.top_p",
            "score.tokens_per_micro_batch",
            "tables.moved_above",
            "tables.bootstrap",
        ),
        forms="rlvr.cli.analyze_arguments:FORMS",
    ),
    "cross-sample": Command(
        "rlvr.cross_sample",
        "whether the moved tokens carry the gain in accuracy",
        "run=FOLDER | base=PATH policy=PATH [key=value ...]",
        "Two models write each response together: the next token comes from the intervening model where a switch rule "
        "says so, and from the primary model elsewhere. Writes budgets.csv, cross_sampling.json and every response; "
        "started again, it skips what is finished.",
        (
            ("run=runs/latest", "the newest run, both directions, the usual budgets"),
            ("run=runs/latest budgets=0.02,0.05 rules=js,random", "two budgets and one control"),
            ("base=builtin policy=my/policy data=arithmetic_heldout output=out", "any two models"),
        ),
        "All keys: rlvr/analysis/cross/config.py, or `rlvr cross-sample --cfg job`.",
        schema="rlvr.analysis.cross.config:CrossSampleConfig",
        keys=(
            "run",
            "base",
            "policy",
            "output",
            "limit",
            "direction",
            "samples",
            "temperature",
            "actors",
            "threads",
        ),
        forms="rlvr.cli.cross_sample_arguments:FORMS",
    ),
    "report": Command(
        "rlvr.report",
        "one HTML file: curves, figures, responses token by token",
        "FOLDER [FOLDER ...] [option=value ...]",
        None,
        (
            ("runs/latest", "the newest run"),
            ("runs/a runs/b output=comparison", "two runs over each other"),
            ("runs/latest divergent=10 random=5 tokens=300", "a smaller file"),
        ),
        "What the pages show comes from `rlvr train`, `rlvr analyze` and `rlvr cross-sample`.",
    ),
    "view": Command(
        "rlvr.cli.view",
        "a run in the browser: take another token, follow the training",
        "FOLDER [option=value ...]",
        None,
        (
            ("runs/latest", "the newest run: tokens once it is analysed, curves while it trains"),
            ("runs/latest port=8800", "on a port that stays, for a tunnel: ssh -L 8800:127.0.0.1:8800"),
            ("runs/mine temperature=0.7 divergent=10 random=0", "colder continuations, a small page"),
        ),
        "The responses come from `rlvr analyze`.",
    ),
    "sweep-report": Command(
        "rlvr.sweep_report",
        "the runs of a sweep side by side, with intervals and tests",
        "FOLDER [--baseline CONDITION]",
        None,
        (
            ("runs/paper_table", "every table and figure of this sweep"),
            ("runs/paper_table --baseline recipe-dapo", "differences from the condition recipe-dapo"),
            ("runs/sweep", "a sweep started with -m and no folder of its own"),
        ),
        "How the intervals and tests are computed: docs/statistics.md.",
    ),
    "findings": Command(
        "rlvr.findings",
        "a run and its controls in one table, or a study of many runs in sittings",
        "[run=FOLDER | study=NAME] [output=FOLDER] [questions=N,...] [minutes=N] [key=value ...]",
        None,
        (
            ("", "of the newest run"),
            ("run=runs/mine", "of another run; started again, it goes on where it stopped"),
            (
                "study=smollm2_135m model.path=/path/to/smollm2 output=runs/study minutes=110",
                "a sitting of the study in recipes/study/smollm2_135m.yaml",
            ),
        ),
        "The single parts: `rlvr train`, `rlvr analyze`, `rlvr cross-sample`, `rlvr report`.",
    ),
    "audit-reward": Command(
        "rlvr.audit_reward",
        "what the grader makes of a file of answers",
        "file=ROWS.jsonl [key=value ...]",
        None,
        (
            (
                "file=rows.jsonl output=verdicts.jsonl",
                "grade rows {id, answer, response}, keep every verdict",
            ),
            ("file=train.jsonl", "rows without responses: each gold answer against itself"),
            ("file=rows.jsonl second=my_verifier:grade", "compare with another grader"),
        ),
        "All keys: rlvr/audit_reward.py, or `rlvr audit-reward --cfg job`.",
        schema="rlvr.audit_reward:AuditConfig",
        keys=(
            "file",
            "output",
            "policy",
            "verifier",
            "second",
            "answer_column",
            "response_column",
            "workers",
            "deadline_seconds",
            "show",
        ),
    ),
    "export": Command(
        "rlvr.cli.export",
        "a Hugging Face folder with a model card from a run or a checkpoint",
        "FOLDER [output=DIR]",
        None,
        (
            ("runs/latest", "the newest run's policy"),
            ("runs/mine/checkpoints/step_000020 output=my_model", "the weights after step 20"),
            ("runs/unfinished", "the newest checkpoint of a run that has not finished"),
        ),
        "The folder loads with transformers, vLLM and `rlvr evaluate model=FOLDER`.",
    ),
}
