"""Every setting that cannot work is refused with its key named, and the batch arithmetic is right."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.config import Config, SourceConfig
from rlvr.errors import ConfigError
from rlvr.validate import AT_LEAST, CHOICES, PLUG_INS, POSITIVE, UNBOUNDED, batch_plan, validate, value_at
from rlvr.validate.ranges import numbers_in


def config(**changes: object) -> Config:
    """The defaults with some keys changed; `__` stands for a dot."""
    cfg = Config(recipe="test")
    for key, value in changes.items():
        *path, last = key.replace("__", ".").split(".")
        node: object = cfg
        for part in path:
            node = getattr(node, part)
        assert hasattr(node, last), key
        setattr(node, last, value)
    return cfg


def refusal(cfg: Config) -> str:
    """What the user is told."""
    with pytest.raises(ConfigError) as caught:
        validate(cfg)
    return str(caught.value)


def test_the_defaults_are_valid():
    plan, plugin = validate(config())
    assert (plan.prompts, plan.samples, plan.updates) == (16, 256, 4)
    assert plugin.requires == frozenset()


@pytest.mark.parametrize("key", CHOICES)
def test_unknown_choices_are_refused(key):
    said = refusal(config(**{key: "nonsense"}))
    assert said.startswith(f"{key}=nonsense: use one of ")
    assert all(choice in said for choice in CHOICES[key])


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
        ("data.template", r"it is int; expected rlvr\.data\.templates\.Template"),
    ],
)
def test_a_plug_in_of_another_kind_is_refused(key, said):
    with pytest.raises(ConfigError, match=rf"{re.escape(key)}=signal:NSIG: {said}"):
        validate(config(**{key: "signal:NSIG"}))


@pytest.mark.parametrize("key", AT_LEAST)
def test_values_below_their_least_are_refused(key):
    assert f"{key}={AT_LEAST[key] - 1}: must be at least {AT_LEAST[key]:g}" in refusal(
        config(**{key: AT_LEAST[key] - 1})
    )


@pytest.mark.parametrize("key", POSITIVE)
def test_zero_is_refused_where_only_positive_makes_sense(key):
    for value in (0, -1, math.nan):
        assert f"{key}={value}: must be greater than 0" in refusal(config(**{key: value}))


def test_all_problems_are_found_at_once():
    said = refusal(config(steps=0, loss__kl="k9", sync__bucket_mb=0)).splitlines()
    assert len(said) == 3
    said = refusal(config(learner__updates_per_step=7, loss__kl="k3")).splitlines()
    assert len(said) == 2


ADVISED: dict[str, object] = {
    "loss__distill": "reverse_kl",
    "loss__distill_coef": 1.0,
    "loss__distill_in": "advantage",
    "model__base_path": "teacher",
}
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
    ("learner.zero_stage=4: use 0, 1, 2 or 3", {"learner__zero_stage": 4}),
    (
        "learner.offload_optimizer=cpu with learner.zero_stage=0: .*set learner.zero_stage to 1, 2 or 3",
        {"learner__offload_optimizer": "cpu"},
    ),
    ("loss.kl=k3 with loss.kl_coef=0", {"loss__kl": "k3"}),
    ("loss.kl=off with loss.kl_coef=0.1", {"loss__kl_coef": 0.1}),
    ("loss.kl_in=reward with loss.kl=off", {"loss__kl_in": "reward"}),
    (
        "loss.kl_in=reward with advantage.estimator=reinforce_pp_global",
        {
            "loss__kl": "k1",
            "loss__kl_coef": 0.1,
            "loss__kl_in": "reward",
            "advantage__estimator": "reinforce_pp_global",
        },
    ),
    ("loss.distill=js with loss.distill_coef=0", {"loss__distill": "js"}),
    ("loss.distill=off with loss.distill_coef=1", {"loss__distill_coef": 1.0}),
    ("loss.distill=js: the teacher is the base", {"loss__distill": "js", "loss__distill_coef": 1.0}),
    (
        "loss.distill with loss.entropy_coef",
        {
            "loss__distill": "js",
            "loss__distill_coef": 1.0,
            "model__base_path": "teacher",
            "loss__entropy_coef": 0.1,
        },
    ),
    (
        "learner.share_prompts=true with learner.sequence_parallel=2",
        {"learner__share_prompts": True, "learner__workers": 2, "learner__sequence_parallel": 2},
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
    ("loss.objective=none with loss.distill=off", {"loss__objective": "none"}),
    (
        "loss.distill_in=advantage with loss.distill=js",
        {"loss__distill_in": "advantage", "loss__distill": "js", "loss__distill_coef": 1.0},
    ),
    ("loss.distill_in=advantage with loss.objective=none", ADVISED | {"loss__objective": "none"}),
    (
        "loss.distill_in=advantage with advantage.token=divergence",
        ADVISED | {"advantage__token": "divergence", "advantage__options": {"signal": "kl_old"}},
    ),
    ("advantage.estimator=none: every advantage is 0", {"advantage__estimator": "none"}),
    ("loss.objective=gmpo with loss.ratio=sequence", {"loss__objective": "gmpo", "loss__ratio": "sequence"}),
    ("reward.length=kimi with reward.length_coef=0", {"reward__length": "kimi"}),
    ("reward.length=off with reward.length_coef=0.5", {"reward__length_coef": 0.5}),
    ("reward.length_coef=2", {"reward__length": "efficient", "reward__length_coef": 2.0}),
    ("loss.options: clip has no ceiling", {"loss__options": {"ceiling": 3.0}}),
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
    ("rollout.gpus_per_engine=1 and learner.gpus_per_worker=0", {"rollout__gpus_per_engine": 1.0}),
    ("rollout.gpus_per_engine=0 and learner.gpus_per_worker=1", {"learner__gpus_per_worker": 1.0}),
    ("loss.rollout_correction: .*top_p", {"loss__rollout_correction": 2.0, "rollout__top_p": 0.9}),
    (
        "loss.rollout_correction_mode=mask: .*set loss.rollout_correction=2",
        {"loss__rollout_correction_mode": "mask"},
    ),
    (
        "loss.rollout_correction_level=sequence: .*set loss.rollout_correction=2",
        {"loss__rollout_correction_level": "sequence"},
    ),
    (
        "loss.rollout_correction_floor=0.5: .*set loss.rollout_correction=2",
        {"loss__rollout_correction_floor": 0.5},
    ),
    (
        "loss.rollout_correction_floor=0.5 with loss.rollout_correction_mode=truncate",
        {"loss__rollout_correction": 2.0, "loss__rollout_correction_floor": 0.5},
    ),
    (
        "loss.rollout_correction_floor=3: above the cap loss.rollout_correction=2",
        {
            "loss__rollout_correction": 2.0,
            "loss__rollout_correction_mode": "mask",
            "loss__rollout_correction_floor": 3.0,
        },
    ),
    ("loss.rollout_correction_level=batch", {"loss__rollout_correction_level": "batch"}),
    ("loss.rollout_correction: .*top_k", {"loss__rollout_correction": 2.0, "rollout__top_k": 50}),
    ("engine_args.enable_chunked_prefill=true", {"rollout__engine_args": {"enable_chunked_prefill": True}}),
    (
        "engine_args.max_num_batched_tokens=100: must be at least model.max_length=128",
        {"rollout__engine_args": {"max_num_batched_tokens": 100}},
    ),
    ("advantage.token=weird: unknown", {"advantage__token": "weird"}),
    (r"advantage.options=\{'beta': 1\}", {"advantage__options": {"beta": 1}}),
    ("data.eval: .*at least one", {"data__eval": []}),
    ("loss.objective=nll with rollout.answers=None", {"loss__objective": "nll"}),
    (
        "loss.objective=clip with rollout.answers=step_by_step",
        {"rollout__answers": "step_by_step"},
    ),
    (
        "rollout.answers: .*rollout.dynamic_sampling",
        {
            "loss__objective": "nll",
            "rollout__answers": "step_by_step",
            "rollout__dynamic_sampling": True,
        },
    ),
    (
        "loss.rollout_correction: given answers",
        {
            "loss__objective": "nll",
            "rollout__answers": "step_by_step",
            "loss__rollout_correction": 2.0,
        },
    ),
    (
        "rollout.answers: .*rollout.staleness",
        {
            "loss__objective": "nll",
            "rollout__answers": "step_by_step",
            "rollout__staleness": 1,
        },
    ),
    (
        "rollout.answers with rollout.replay",
        {"loss__objective": "nll", "rollout__answers": "step_by_step", "rollout__replay": "runs/x"},
    ),
    ("rollout.top_p=0", {"rollout__top_p": 0.0}),
    ("rollout.top_p=1.5", {"rollout__top_p": 1.5}),
    ("eval.top_p=1.5", {"eval__top_p": 1.5}),
    ("eval.temperature=-1", {"eval__temperature": -1.0}),
    ("set eval.samples_per_prompt=1", {"eval__temperature": 0.0}),
    (
        r"data.eval\[0\].temperature=0 with eval.samples_per_prompt=4: .*set eval.samples_per_prompt=1",
        {"data__eval": [SourceConfig(name="arithmetic_heldout", temperature=0.0)]},
    ),
    (
        r"data.eval\[0\].samples_per_prompt=2: .*set data.eval\[0\].samples_per_prompt=1",
        {
            "data__eval": [SourceConfig(name="arithmetic_heldout", samples_per_prompt=2)],
            "eval__temperature": 0.0,
            "eval__samples_per_prompt": 1,
        },
    ),
    (r"data.eval\[0\].every=-1", {"data__eval": [SourceConfig(name="arithmetic_heldout", every=-1)]}),
    (r"data.eval\[0\].draw=0", {"data__eval": [SourceConfig(name="arithmetic_heldout", draw=0)]}),
    (r"data.eval\[0\].top_p=2", {"data__eval": [SourceConfig(name="arithmetic_heldout", top_p=2.0)]}),
    (
        "every set has first_and_last=false",
        {"data__eval": [SourceConfig(name="arithmetic_heldout", first_and_last=False)]},
    ),
    ("data.train source arithmetic: draw=5", {"data__train": SourceConfig(name="arithmetic", draw=5)}),
    ("rollout.top_k=0", {"rollout__top_k": 0}),
    ("rollout.temperature=0.005: vLLM would sample at 0.01", {"rollout__temperature": 0.005}),
    ("eval.temperature=1e-06: vLLM would sample at 0.01", {"eval__temperature": 1e-6}),
    (
        r"data.eval\[0\].temperature=0.001: vLLM would",
        {"data__eval": [SourceConfig(name="arithmetic_heldout", temperature=0.001)]},
    ),
    ("engine_args.seed: seed sets this argument", {"rollout__engine_args": {"seed": 1}}),
    (
        "engine_args.top_p: is a parameter of sampling .*use rollout.top_p",
        {"rollout__engine_args": {"top_p": 1}},
    ),
    ("engine_args.min_p: .*leave it out", {"rollout__engine_args": {"min_p": 0.1}}),
    ("rollout.top_k=-2", {"rollout__top_k": -2}),
    (r"learner.betas=\[0.9\]", {"learner__betas": [0.9]}),
    (r"learner.betas=\[0.9, 1.0\]", {"learner__betas": [0.9, 1.0]}),
    ("loss.rollout_correction=0", {"loss__rollout_correction": 0.0}),
    ("rollout.memory_utilization=1.5", {"rollout__memory_utilization": 1.5}),
    ("rollout.kv_cache_mb=0", {"rollout__kv_cache_mb": 0}),
    ("cluster.threads_per_actor=0", {"cluster__threads_per_actor": 0}),
    ("cluster.cpus=0", {"cluster__cpus": 0}),
]


@pytest.mark.parametrize(("said", "changes"), CONTRADICTIONS, ids=[c[0][:40] for c in CONTRADICTIONS])
def test_contradictions_name_their_key(said, changes):
    with pytest.raises(ConfigError, match=said):
        validate(config(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"loss__kl": "k3", "loss__kl_coef": 0.001},
        {"rollout__gpus_per_engine": 0.5, "learner__gpus_per_worker": 0.5},
        {"run__resume": "auto", "run__name": "mine"},
        {"run__resume": "runs/other/checkpoints/step_000020"},
        {"reward__overlong": "off", "reward__overlong_cache": 999},
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


# The printed arithmetic


def test_batch_arithmetic_by_hand():
    cfg = config(
        data__prompts_per_step=8,
        rollout__samples_per_prompt=16,
        learner__updates_per_step=4,
        learner__workers=2,
        learner__tokens_per_micro_batch=512,
        data__max_prompt_tokens=32,
        rollout__max_response_tokens=64,
        model__max_length=128,
    )
    # 128 samples, 32 an update, 16 a rank; 512 // 96 = 5 sequences fit, so 4 micro-batches.
    assert str(batch_plan(cfg)) == (
        "each step: 8 prompts -> 128 samples -> 4 updates of 32 samples -> on 2 rank(s) at most "
        "4 micro-batch(es) an update"
    )


@given(
    prompts=st.integers(1, 40),
    samples=st.integers(1, 20),
    updates=st.integers(1, 9),
    ranks=st.integers(1, 5),
    budget=st.integers(128, 4096),
)
def test_no_update_needs_more_micro_batches_than_announced(prompts, samples, updates, ranks, budget):
    cfg = config(
        data__prompts_per_step=prompts,
        rollout__samples_per_prompt=samples,
        learner__updates_per_step=updates,
        learner__workers=ranks,
        learner__tokens_per_micro_batch=budget,
    )
    plan = batch_plan(cfg)
    longest = cfg.data.max_prompt_tokens + cfg.rollout.max_response_tokens
    assert plan.samples == prompts * samples
    assert plan.samples_per_update * updates >= plan.samples
    room = plan.micro_batches * max(1, budget // longest) * ranks
    assert room >= plan.samples_per_update


def test_value_at_reads_dotted_keys():
    assert value_at(config(), "data.train.name") == "arithmetic"


def test_ranks_that_share_sequences_divide_the_workers_and_count_as_one():
    assert "learner.workers=3 do not divide into groups of so many" in refusal(
        config(learner__workers=3, learner__sequence_parallel=2)
    )
    plan, _ = validate(config(learner__workers=4, learner__sequence_parallel=2))
    assert (plan.ranks, plan.samples_per_update, plan.micro_batches) == (2, 64, 1)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_every_fraction_is_finite(value):
    """No list of keys: one that is added to the schema is checked as well."""
    keys = [key for key, _ in numbers_in(config())]
    assert {"rollout.temperature", "learner.eps", "reward.incorrect", "learner.betas[1]"} <= set(keys)
    for key in (key for key in keys if not key.startswith("data.eval")):
        name, _, place = key.partition("[")
        if key in UNBOUNDED and value == math.inf:
            continue
        betas = [0.9, value] if place == "1]" else [value, 0.9]
        said = refusal(config(**{name: betas if place else value}))
        assert f"{name}" in said.partition("=")[0] or said.startswith("data.train"), (key, said)


def test_numbers_that_are_null_by_default_and_those_of_a_set_are_finite_too():
    assert refusal(config(sync__mismatch_warn=math.nan)) == "sync.mismatch_warn=nan: must be a finite number"
    cfg = config()
    cfg.data.eval[0].temperature = math.inf
    assert refusal(cfg) == "data.eval[0].temperature=inf: must be a finite number"
    assert "reward.memory_mb=-5: must be at least" in refusal(config(reward__memory_mb=-5))


def test_bounds_may_be_infinite():
    validate(config(loss__clip_high=math.inf, sync__mismatch_stop=math.inf))
    assert "sync.mismatch_stop=nan: must be a finite number" in refusal(config(sync__mismatch_stop=math.nan))


def test_a_typed_backslash_and_n_is_told(caplog):
    cfg = config(data__template=r"chat:Solve: {question}\nAnswer:", rollout__stop=["\\n", "\n"])
    cfg.data.eval[0].system = r"$a \neq b$ and \nabla"
    validate(cfg)
    told = [record.getMessage() for record in caplog.records]
    assert [line.partition(" holds a backslash and an n, not a new line")[0] for line in told] == [
        "data.template",
        "rollout.stop",
    ]
    assert r"""write $'data.template="...\n..."' in bash""" in told[0]


@pytest.mark.parametrize(("warmup", "said"), [(0, False), (240, False), (241, True)])
def test_a_warm_up_that_the_run_ends_in_is_told(caplog, warmup: int, said: bool):
    cfg = Config(recipe="test", steps=60)
    cfg.learner.warmup_updates = warmup
    validate(cfg)
    assert ("never reaches learner.lr=0.0001" in caplog.text) is said
