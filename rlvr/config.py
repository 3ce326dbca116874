"""The typed configuration: every key, its type, its default and its meaning, in one place.

Recipes in `recipes/` hold only differences from what stands here. `rlvr.validate` checks what types cannot.
Times are seconds, sizes are tokens unless the name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any, get_type_hints

from omegaconf import MISSING


@dataclass
class LoraConfig:
    """Low-rank adapters in place of training all weights (package peft)."""

    rank: int = 0  # of the adapters; 0: none, all weights are trained
    alpha: float = 32.0  # an adapter counts alpha / rank
    # Names of modules, such as q_proj; empty: all linear ones but the head
    targets: list[str] = field(default_factory=list)


@dataclass
class ModelConfig:
    """The policy that is trained and the base it is compared with."""

    path: str = "builtin"  # builtin | builtin_two_tasks (the models in the package), a hub name or a folder
    base_path: str | None = None  # the base of the divergence and of the KL penalty; null: `path`
    dtype: str = "float32"  # float32 | bfloat16: parameters of learner and engines
    max_length: int = 128  # context: prompt plus response
    attention: str = "sdpa"  # sdpa | eager | flash_attention_2 (optional package)
    gradient_checkpointing: bool = False  # less memory for activations, more time
    lora: LoraConfig = field(default_factory=LoraConfig)
    trust_remote_code: bool = False  # run Python code that comes with a model's files
    download_stall_seconds: float = 300.0  # without a new byte, while a node fetches the model from the hub


@dataclass
class SourceConfig:
    """One data set: a known name, or a local file or folder with a mapping of columns.

    A local file under a known name is read as a copy of that set, or as it stands where its first row is no such copy.
    """

    name: str = (
        MISSING  # arithmetic, instructions, gsm8k, ..., owner/name on the hub, or a label for a local file
    )
    path: str | None = (
        None  # json, jsonl, jsonl.gz, parquet, arrow or csv file, or a folder; null: built in or from the hub
    )
    subset: str | None = None  # configuration of a data set on the hub, such as main
    format: str | None = None  # plain | verl | trl | openrlhf; null: told from the first rows
    # null: on the hub the training split in data.train, the test split in data.eval; all of a file
    split: str | None = None
    # Column names; null: the usual ones. A question that is a list of messages goes whole into template=chat.
    question: str | None = None
    answer: str | None = None  # column of the gold answer
    id: str | None = None  # column of the problem's id
    limit: int | None = None  # use only the first so many problems
    # How its answers are graded: each as the key of the same name in `reward`, whose value null takes.
    verifier: str | None = None  # null: reward.verifier
    policy: str | None = None  # null: reward.policy
    correct_from: float | None = None  # null: reward.correct_from
    # keyword arguments of the verifier named here, or of reward.verifier instead of reward.verifier_options
    verifier_options: dict[str, Any] = field(default_factory=dict)
    # How its prompts are made.
    template: str | None = None  # null: data.template
    system: str | None = None  # null: data.system; empty: none
    examples: str | int | None = None  # null: data.examples; 0: none
    weight: float = 1.0  # among several sources: how many prompts it gives, in proportion to the others
    every: int | None = None  # data.eval only; null: eval.every
    samples_per_prompt: int | None = None  # data.eval only; null: eval.samples_per_prompt
    temperature: float | None = None  # data.eval only; null: eval.temperature
    top_p: float | None = None  # data.eval only; null: eval.top_p
    # data.eval only; false: not before the first step and not after the last one; null: true
    first_and_last: bool | None = None
    # data.eval only: so many of its (first `limit`) problems, drawn at random but in every run the same; null: all
    draw: int | None = None
    label: str | None = None  # data.eval only: what metrics and reports call the set; null: `name`
    # data.train only: several sources in place of one, each with these keys; data.train=[{...},{...}] sets it
    sources: list[SourceConfig] = field(default_factory=list)


@dataclass
class DataConfig:
    """Where problems come from and how they become prompts."""

    train: SourceConfig = field(default_factory=lambda: SourceConfig(name="arithmetic"))
    # held-out sets, each with the keys of data.train
    eval: list[SourceConfig] = field(
        default_factory=lambda: [SourceConfig(name="arithmetic_heldout", limit=200)]
    )
    # plain | chat | qwen_math | dapo (chat format) | dapo_plain (base models), text with {columns} or Jinja ("chat:" in
    # front makes it the user's turn), or package.module:attribute of your own
    template: str = "plain"
    system: str | None = None  # system message of templates with a chat format; a row's own comes before it
    # Worked examples before each question: a file of rows (columns question, answer and, if there is one, response),
    # or how many of a source's first problems to show, which are then left out of it.
    examples: str | int | None = None
    chat_template: str | None = None  # a Jinja file in place of the tokenizer's own chat template
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict)  # variables of the chat template
    prompts_per_step: int = 16  # problems in one training batch
    max_prompt_tokens: int = 32  # longer prompts are refused by name, see `on_long_prompt`
    on_long_prompt: str = "refuse"  # refuse | skip (counted and listed)
    on_bad_row: str = "refuse"  # refuse | skip (counted and listed)
    on_overlap: str = "warn"  # warn | refuse | drop: training questions that also stand in an eval set
    shuffle: bool = True  # a new order in each epoch, by `seed`
    # uniform | prioritized: pass over problems whose groups would be all right or all wrong, by their results so far
    sampler: str = "uniform"
    sampler_floor: float = 0.1  # share of the turns of such problems that take place all the same

    @property
    def training(self) -> list[SourceConfig]:
        """The sources of the training stream: one, or those of a mixture."""
        return self.train.sources or [self.train]

    @property
    def label(self) -> str:
        """The training data in a word."""
        return "+".join(source.name for source in self.training)


@dataclass
class RolloutConfig:
    """vLLM engines and how they sample."""

    engines: int = 1  # vLLM engines side by side; prompts are shared among them
    tensor_parallel: int = 1  # ranks (GPUs) that one engine is split over
    gpus_per_engine: float = 0.0  # share of GPUs that Ray reserves for each tensor-parallel rank
    memory_utilization: float = 0.5  # of the GPU, or of the machine's memory on CPU (caps the KV cache)
    kv_cache_mb: int | None = 512  # fixed KV cache; null: whatever memory_utilization leaves
    max_concurrent: int = 256  # sequences that one engine advances together
    enforce_eager: bool = True  # false: let vLLM compile (minutes at start on CPU, with a C++ compiler)
    samples_per_prompt: int = 16  # responses in one group
    max_response_tokens: int = 64  # longer responses are cut, which is counted as truncated
    stop: list[str] = field(default_factory=list)  # texts that end a response; they stay part of it
    # the same for tokens, besides the model's end tokens
    stop_token_ids: list[int] = field(default_factory=list)
    min_tokens: int = 0  # of a response, before which nothing ends it
    temperature: float = 1.0  # of sampling, and of the log-probs that training compares
    # Truncation changes what is sampled. Rollout log-probs, ratios and the gate are those of the whole
    # distribution at `temperature` all the same, so the update is biased by what truncation leaves out.
    top_p: float = 1.0
    top_k: int = -1  # -1: off
    staleness: int = 0  # steps that a batch's oldest token may be behind the learner; 0 is synchronous
    # Responses in flight when weights arrive, where staleness > 0: wait (finish them first), keep (go on with their old
    # keys and values) or recompute (these, too, by the new weights)
    on_update: str = "recompute"
    # step_by_step, or package.module:attribute of your own, (problem, random) -> text: learn from these, sample nothing
    answers: str | None = None
    replay: str | None = None  # folder of a run: train on its batches, in their order, and sample none
    dynamic_sampling: bool = False  # DAPO: drop groups that are all right or all wrong, and refill
    max_rounds: int = 3  # cap on generate-and-filter rounds per step
    deadline_seconds: float = 600.0  # one generate call
    start_deadline_seconds: float = 300.0  # until an engine has loaded its model
    restarts: int = 3  # of an engine that died, stopped, failed or answered nonsense; then it stays away
    # An asynchronous engine that says nothing for so long is restarted; after half of it a line says what it holds
    stall_seconds: float = 120.0
    engine_args: dict[str, Any] = field(default_factory=dict)  # passed on to vLLM; CPU: no chunked prefill


@dataclass
class RewardConfig:
    """Grading and shaping."""

    workers: int = 1  # processes that grade
    deadline_seconds: float = 5.0  # per answer
    memory_mb: int = 2048  # per worker
    policy: str = "last_box"  # last_box | last_box_or_unboxed | strict | whole
    # A name in rlvr.reward.verifiers.VERIFIERS, or package.module:attribute of your own, (example,
    # response) or (gold, response) -> verdict; null: math, which reads the answer by `policy` and compares it with
    # math-verify
    verifier: str | None = None
    verifier_options: dict[str, Any] = field(default_factory=dict)  # keyword arguments of the verifier
    correct_from: float | None = (
        None  # least score that counts as correct; null: 0.5, or what the verifier says
    )
    max_failed: float = 0.1  # share of a step's, or an evaluation's, responses on which the verifier may fail
    correct: float = 1.0  # reward of a right answer
    incorrect: float = 0.0  # reward of a wrong answer
    # binary: `correct` or `incorrect` | raw: between the two, as far from `incorrect` as the verifier's score says
    score: str = "binary"
    truncated_can_be_correct: bool = False  # false: a response cut at the limit is wrong
    overlong: str = "off"  # off | soft: DAPO's soft overlong punishment
    overlong_cache: int = 16  # tokens before the response limit over which the punishment grows to -1
    overlong_filter: bool = False  # take truncated samples out of the loss
    length: str = "off"  # off | kimi | efficient: what a response's length earns or costs beside its group's
    # kimi: weight of its term; efficient: the share of the reward that it can take (alpha)
    length_coef: float = 0.0


@dataclass
class AdvantageConfig:
    """Group estimator and token-advantage plug-in."""

    # grpo | dr_grpo | gpg | rloo | reinforce | reinforce_pp_global | reinforce_pp_baseline | reinforce_pp_samples |
    # none (0, with loss.distill_in=advantage), or package.module:attribute of your own
    estimator: str = "grpo"
    ddof: int = 0  # grpo's standard deviation divides by n - ddof: 0, or 1 as TRL, verl and OpenRLHF have it
    token: str = "uniform"  # a name in rlvr.advantage.token.PLUGINS, or package.module:attribute of your own
    options: dict[str, Any] = field(default_factory=dict)  # fields of the plug-in's dataclass
    normalize: bool = False  # scale the weights to mean one over the batch


@dataclass
class LossConfig:
    """The surrogate objective."""

    # clip (PPO/GRPO/DAPO) | dual_clip | unbounded_positive | cispo | gpg | sapo | gmpo | dppo_tv | dppo_kl | nll
    # (supervised; ignores advantages) | none (loss.distill alone), or package.module:attribute of your own
    objective: str = "clip"
    options: dict[str, Any] = field(default_factory=dict)  # of the objective, such as ceiling of dual_clip
    ratio: str = "token"  # token | sequence (GSPO-token) | sequence_joint (GSPO)
    clip_low: float = 0.2  # the ratio is clipped below 1 - clip_low
    clip_high: float = 0.2  # larger than clip_low: DAPO's clip-higher
    aggregation: str = "token_mean"  # token_mean | sequence_mean | constant_length
    kl: str = "off"  # off | k1 | k2 | k3: penalty against the base model
    kl_coef: float = 0.0  # weight of the KL penalty
    kl_in: str = "loss"  # loss | reward: the policy's KL over a response, subtracted from its reward
    entropy_coef: float = 0.0  # weight of the entropy bonus; with entropy_target, the one it starts from
    # Mean entropy in nats below which the bonus grows by entropy_step a step, and above which it shrinks; null: fixed
    entropy_target: float | None = None
    entropy_step: float = 0.005  # change of entropy_coef a step, where there is a target
    # off | reverse_kl | forward_kl | js: divergence from the base, the teacher, to be made small
    distill: str = "off"
    distill_coef: float = 0.0  # weight of that divergence
    # loss: exact over the vocabulary | advantage: of the sampled token, added to its advantage (reverse_kl)
    distill_in: str = "loss"
    rollout_correction: float | None = None  # cap of the weight old policy / rollout engine; null: off
    # of the weight above the cap: truncate (TIS), mask (MIS: weight 0) or reject (0 there, 1 elsewhere)
    rollout_correction_mode: str = "truncate"
    # token | sequence (product over the response) | geometric (its geometric mean): what one weight stands for
    rollout_correction_level: str = "token"
    rollout_correction_floor: float = 0.0  # mask and reject: below it as above the cap; 0: none


@dataclass
class LearnerConfig:
    """DeepSpeed: processes, ZeRO, micro-batches and the optimiser."""

    workers: int = 1  # ranks, data-parallel unless they share sequences
    sequence_parallel: int = 1  # ranks that share the tokens of each sequence (Ulysses); a divisor of workers
    gpus_per_worker: float = 0.0  # GPUs that Ray reserves for each rank; 0: CPU
    zero_stage: int = 0  # 0 | 1 | 2 | 3
    # adamw | adamw_8bit (package bitsandbytes) | muon (hidden matrices; AdamW for the rest; ZeRO 0)
    optimizer: str = "adamw"
    offload_optimizer: str = "none"  # none | cpu: AdamW and its states in host memory (ZeRO-Offload)
    backend: str = "auto"  # auto | gloo | nccl
    divergence_backend: str = "auto"  # auto (triton on GPUs, torch on CPU) | torch | triton | cuda
    updates_per_step: int = 4  # mini-batches (optimiser updates) per training batch
    tokens_per_micro_batch: int = 8192  # padded prompt and response tokens per forward pass
    # With model.gradient_checkpointing: every n-th layer is computed again in backward; the others keep all they need
    checkpoint_every: int = 1
    # nothing | attention: what a layer that is computed again keeps, which then is not
    checkpoint_keep: str = "nothing"
    # Feed-forward layers compute so many tokens at a time, and again in backward; 0: all at once
    mlp_tile_tokens: int = 0
    share_prompts: bool = False  # compute a prompt once for all its samples in a micro-batch; not with ZeRO-3
    lr: float = 1e-4  # learning rate after the warm-up
    betas: list[float] = field(default_factory=lambda: [0.9, 0.95])  # of AdamW
    eps: float = 1e-8  # of AdamW
    weight_decay: float = 0.0  # decoupled from the gradient
    # Of the whole gradient; 0: no clipping. grad_norm in the metrics is the norm before it.
    max_grad_norm: float = 1.0
    schedule: str = "constant"  # constant | linear | cosine, each after the warm-up
    warmup_updates: int = 0  # optimiser updates over which the learning rate rises from 0
    deadline_seconds: float = 1800.0  # one scoring pass, one step, one checkpoint
    start_deadline_seconds: float = 300.0  # until every rank has loaded its models

    @property
    def shards_parameters(self) -> bool:
        """Whether each rank holds a part of every parameter, so that all of them gather a whole one together."""
        return self.zero_stage == 3

    @property
    def data_parallel(self) -> int:
        """Ranks, or groups of them, that have sequences of their own."""
        return self.workers // self.sequence_parallel


@dataclass
class SyncConfig:
    """Weight transfer from learner to engines and the gate on log-prob mismatch."""

    backend: str = "auto"  # auto | gloo (CPU) | nccl (GPUs apart) | ipc (GPUs shared)
    deadline_seconds: float = 300.0  # rendezvous, and each transfer
    bucket_mb: int = 256  # parameters are sent in buckets of this size
    # off: all weights in every push | auto: what has changed since the last one, where that takes fewer bytes and the
    # transport is gloo; engines and learner then hold a copy of the weights each
    sparse: str = "off"
    # How adapters reach the engines. merged: all weights, with them added | adapter: they alone, by vLLM's LoRA
    lora: str = "merged"
    # Mean |rollout log-prob - learner log-prob| of a step; null: by model.dtype, rlvr.sync.gate.MISMATCH_WARN
    mismatch_warn: float | None = None
    mismatch_stop: float = 0.1  # the same; above it the run ends
    preflight: bool = True  # before step 1: generate, score and update at lr = 0, then compare


@dataclass
class ClusterConfig:
    """Ray, and which cores each process may use."""

    address: str = "local"  # local: start Ray here; auto or host:port: join a running cluster
    cpus: int | None = None  # cores to use on this machine; null: those that are idle at the start
    threads_per_actor: int | None = None  # null: `cpus`, shared out among the actors that work together
    jobs: int | None = None  # of a sweep, side by side at most; null: as cores, memory and GPUs allow
    start_deadline_seconds: float = 120.0  # until all GPUs of the run are free together
    colocate: bool = False  # engines and learner on the same GPUs, in turns
    on_misfit: str = (
        "refuse"  # refuse | warn: where estimates say that the run needs more memory than there is
    )
    sleep_level: int = 1  # of the engines in the learner's turn: 1 keeps weights in host memory, 2 drops them


@dataclass
class EvalConfig:
    """Evaluation on the held-out sets: before, during and after."""

    every: int = 20  # steps; 0: only before and after
    samples_per_prompt: int = 4  # responses to each held-out problem
    temperature: float = 1.0  # of sampling; 0: greedy
    top_p: float = 1.0  # nucleus of sampling
    # Evaluations during training: auto (where rollout.staleness > 0 beside the batches, so that nothing stops for
    # them) | never (they pause training, and are of one weight version)
    in_stream: str = "auto"


@dataclass
class RunConfig:
    """The run's folder and its checkpoints."""

    root: str = "runs"  # folder in which the run's own folder is made
    name: str | None = None  # null: <recipe>-<date>-<time>
    resume: str = "never"  # never | auto (the newest checkpoint of run.name) | a checkpoint folder
    save_every: int = 20  # steps; 0: only at the end
    keep_last: int = 2  # checkpoints kept, the newest
    export: bool = True  # write the final policy in Hugging Face format
    dump_samples_every: int = 1  # steps between dumps of all rollout samples; 0: off


@dataclass
class TrackingConfig:
    """Where metrics go besides metrics.jsonl, which is always written."""

    # offline | online | off; offline becomes online when WANDB_API_KEY is set; WANDB_MODE and WANDB_DISABLED rule
    wandb: str = "offline"
    project: str = "rlvr"  # name of the project in wandb; left so, WANDB_PROJECT rules
    group: str | None = None  # name of the group in wandb; a sweep sets its folder's
    tags: list[str] = field(default_factory=list)  # of the run in wandb; a sweep adds its own
    tensorboard: bool = False  # event files in <run>/tensorboard; needs the package tensorboard
    # Token signals to log besides those needed, such as js_base.
    signals: list[str] = field(default_factory=list)
    console: str = "auto"  # auto | live | plain | off


@dataclass
class Config:
    """One training run."""

    recipe: str = MISSING  # name of the recipe, recorded with every result
    seed: int = 1  # of data order, sampling and initial state; the same seed gives the same run
    steps: int = 60  # training steps, each of `data.prompts_per_step` prompts
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    advantage: AdvantageConfig = field(default_factory=AdvantageConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    sync: SyncConfig = field(default_factory=SyncConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    run: RunConfig = field(default_factory=RunConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)


@cache
def typed_keys(schema: Any = Config, prefix: str = "") -> Mapping[str, Any]:
    """Every dotted key of a schema with its type; that of a section is its dataclass."""
    found: dict[str, Any] = {}
    hints = get_type_hints(schema)
    for part in fields(schema):
        name = f"{prefix}{part.name}"
        section: Any = hints[part.name]
        found[name] = section
        if is_dataclass(hints[part.name]):
            found |= typed_keys(section, f"{name}.")
    return found


def known_keys(schema: Any = Config) -> list[str]:
    """Every dotted key of the typed configuration."""
    return list(typed_keys(schema))


def leaf_keys() -> list[str]:
    """The keys of the training configuration that hold a value, a list or a free dictionary: all but the sections."""
    return [key for key, kind in typed_keys().items() if not is_dataclass(kind)]
