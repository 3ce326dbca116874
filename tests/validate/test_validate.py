"""A whole configuration is checked at once: plug-ins, what contradicts across its parts, and what can work."""

from __future__ import annotations

import re

import pytest

from rlvr.errors import ConfigError
from rlvr.validate import validate
from rlvr.validate.values import PLUG_INS
from tests.helpers.validating import config, refusal


def test_the_defaults_are_valid():
    plan, plugin = validate(config())
    assert (plan.prompts, plan.samples, plan.updates) == (16, 256, 4)
    assert plugin.requires == frozenset()


@pytest.mark.parametrize("key", [*PLUG_INS, "loss.objective", "advantage.token"])
def test_unknown_plug_ins_are_refused_in_the_same_words(key):
    assert re.fullmatch(
        rf"{re.escape(key)}=nonsense: unknown; use one of \w+.* or package\.module:attribute of your own",
        refusal(config(**{key: "nonsense"})),
    )
    assert refusal(config(**{key: "json:dump_s"})).startswith(
        f"{key}=json:dump_s: cannot be imported: json has no"
    )


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("advantage.estimator", r"it is int, which cannot be called; expected a function \(groups, cfg\)"),
        ("rollout.answers", r"it is int, which cannot be called; expected a function \(problem, random\)"),
        ("loss.objective", r"it is int; expected rlvr\.learner\.objectives\.contract\.Objective"),
        ("data.template", r"it is int; expected rlvr\.data\.prompting\.templates\.Template"),
    ],
)
def test_a_plug_in_of_another_kind_is_refused(key, said):
    with pytest.raises(ConfigError, match=rf"{re.escape(key)}=signal:NSIG: {said}"):
        validate(config(**{key: "signal:NSIG"}))


def test_all_problems_are_found_at_once():
    said = refusal(config(steps=0, loss__kl="k9", sync__bucket_mb=0)).splitlines()
    assert len(said) == 3
    said = refusal(config(learner__updates_per_step=7, loss__kl="k3")).splitlines()
    assert len(said) == 2


CONTRADICTIONS: list[tuple[str, dict[str, object]]] = [
    ("learner.updates_per_step=7: .*16 x 16 = 256 samples cannot be split", {"learner__updates_per_step": 7}),
    (
        "learner.workers=4: .*leave 2 samples an update",
        {"learner__workers": 4, "learner__updates_per_step": 128},
    ),
    ("rollout.engines=3: only 2 prompts", {"rollout__engines": 3, "data__prompts_per_step": 2}),
    ("rollout.samples_per_prompt=1: ", {"rollout__samples_per_prompt": 1}),
    (
        "rollout.max_response_tokens=128: leaves no room for a prompt in model.max_length=128",
        {"rollout__max_response_tokens": 128},
    ),
    (
        "learner.tokens_per_micro_batch=127: smaller than model.max_length=128",
        {"learner__tokens_per_micro_batch": 127},
    ),
    ("reward.overlong_cache=65", {"reward__overlong": "soft", "reward__overlong_cache": 65}),
    ("reward.overlong_cache=0", {"reward__overlong": "soft", "reward__overlong_cache": 0}),
    ("reward.correct=0 with reward.incorrect=0: every answer earns the same", {"reward__correct": 0.0}),
    (
        "reward.correct=1 with reward.incorrect=1",
        {"reward__incorrect": 1.0, "reward__score": "raw", "advantage__estimator": "rloo"},
    ),
    ("learner.checkpoint_every=2 with model.gradient_checkpointing=false", {"learner__checkpoint_every": 2}),
    (
        "learner.checkpoint_keep=attention with model.attention=eager",
        {
            "learner__checkpoint_keep": "attention",
            "model__gradient_checkpointing": True,
            "model__attention": "eager",
        },
    ),
    (
        "advantage.normalize=true",
        {
            "advantage__normalize": True,
            "advantage__token": "divergence",
            "advantage__options": {"signal": "kl_old"},
        },
    ),
    (
        "rollout.dynamic_sampling=true: needs rollout.samples_per_prompt of at least 2",
        {
            "rollout__dynamic_sampling": True,
            "rollout__samples_per_prompt": 1,
            "advantage__estimator": "rloo",
        },
    ),
    ("sync.mismatch_stop=0.001: must be at least sync.mismatch_warn=0.01", {"sync__mismatch_stop": 0.001}),
    ("run.resume=auto: needs run.name", {"run__resume": "auto"}),
    ("run.name is empty .a variable that is not set", {"run__resume": "auto", "run__name": ""}),
    ("rollout.gpus_per_engine=1 and learner.gpus_per_worker=0", {"rollout__gpus_per_engine": 1.0}),
    ("rollout.gpus_per_engine=0 and learner.gpus_per_worker=1", {"learner__gpus_per_worker": 1.0}),
    ("engine_args.seed: seed sets this argument", {"rollout__engine_args": {"seed": 1}}),
    (
        "engine_args.top_p: is a parameter of sampling .*use rollout.top_p",
        {"rollout__engine_args": {"top_p": 1}},
    ),
    ("engine_args.min_p: .*leave it out", {"rollout__engine_args": {"min_p": 0.1}}),
    ("engine_args.enable_chunked_prefill=true", {"rollout__engine_args": {"enable_chunked_prefill": True}}),
    (
        "engine_args.max_num_batched_tokens=100: must be at least model.max_length=128",
        {"rollout__engine_args": {"max_num_batched_tokens": 100}},
    ),
    ("advantage.token=weird: unknown", {"advantage__token": "weird"}),
    (r"advantage.options=\{'beta': 1\}", {"advantage__options": {"beta": 1}}),
    ("data.eval: .*at least one", {"data__eval": []}),
]


@pytest.mark.parametrize(("said", "changes"), CONTRADICTIONS, ids=[c[0][:40] for c in CONTRADICTIONS])
def test_contradictions_name_their_key(said, changes):
    assert re.search(said, refusal(config(**changes)))


@pytest.mark.parametrize(
    "changes",
    [
        {"loss__kl": "k3", "loss__kl_coef": 0.001},
        {"rollout__gpus_per_engine": 0.5, "learner__gpus_per_worker": 0.5},
        {"run__resume": "auto", "run__name": "mine"},
        {"run__resume": "runs/other/checkpoints/step_000020"},
        {"reward__overlong": "off", "reward__overlong_cache": 999},
        {"reward__correct": 0.0, "reward__overlong": "soft", "reward__overlong_cache": 16},
        {"reward__incorrect": 1.0, "reward__length": "kimi", "reward__length_coef": 0.5},
        {"reward__incorrect": 1.0, "advantage__estimator": "reinforce"},
        {"loss__rollout_correction": 2.0},
        {"loss__rollout_correction": 2.0, "loss__rollout_correction_mode": "mask"},
        {
            "loss__rollout_correction": 2.0,
            "loss__rollout_correction_mode": "reject",
            "loss__rollout_correction_level": "geometric",
            "loss__rollout_correction_floor": 0.5,
        },
        {"eval__temperature": 0.0, "eval__samples_per_prompt": 1},
        {"rollout__temperature": 1.6, "rollout__top_p": 0.3, "rollout__top_k": 3},
        {"rollout__engine_args": {"enable_chunked_prefill": False, "max_num_batched_tokens": 128}},
        {
            "rollout__engine_args": {"enable_chunked_prefill": True},
            "rollout__gpus_per_engine": 1.0,
            "learner__gpus_per_worker": 1.0,
        },
        {
            "loss__objective": "nll",
            "rollout__answers": "step_by_step",
            "rollout__samples_per_prompt": 1,
        },
        {"learner__workers": 4, "learner__updates_per_step": 64},
        {"cluster__threads_per_actor": 1, "cluster__cpus": 2},
    ],
)
def test_what_can_work_is_let_through(changes):
    validate(config(**changes))


@pytest.mark.parametrize(("wrong", "warned"), [(2.0, True), (-1.0, False)])
def test_a_wrong_answer_that_earns_more_is_warned_of(caplog, wrong, warned):
    validate(config(reward__incorrect=wrong))
    assert (
        "reward.correct=1 is less than reward.incorrect=2: the run learns to answer" in caplog.text
    ) == warned
