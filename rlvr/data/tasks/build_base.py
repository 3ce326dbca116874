r"""Build the base models of the built-in tasks, from scratch, in about seven minutes on one core.

    python -m rlvr.data.tasks.build_base output=/tmp/base_model
    python -m rlvr.data.tasks.build_base output=/tmp/base_model steps=200 seed=3
    python -m rlvr.data.tasks.build_base output=/tmp/base_model_two_tasks tasks=2 steps=1000 batch=32

writes a checkpoint that `AutoModelForCausalLM` and `AutoTokenizer` load, and prints its accuracy on the
held-out problems. The shipped ``rlvr/data/base_model`` is what the defaults give, and
``rlvr/data/base_model_two_tasks`` what the last command gives, in a minute or two, from that model on; another build
agrees with them within the noise of sampling and of floating-point summation order.

The model has the Qwen2 architecture with an untied output head. Supervised learning on the answers that
`rlvr.data.tasks.arithmetic.mixed_answer` writes makes it guess most of the time and slip now and then: what
reinforcement learning is to mend.
"""

import math
import os
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from rlvr.data.models.tokenizer import BUILTIN_FOLDER
from rlvr.data.tasks.arithmetic import (
    ArithmeticStyle,
    boxed_answer,
    held_out,
    is_step_by_step,
    mixed_answer,
    train_problem,
)
from rlvr.data.tasks.build_tokenizer import CONTEXT_TOKENS, build_tokenizer
from rlvr.data.tasks.instructions import InstructionStyle, held_out_instructions, train_instructions
from rlvr.data.tasks.instructions import mixed_answer as mixed_sentence
from rlvr.types import Problem

RESPONSE_TOKENS = 64  # no answer of the task needs more than 44

SKILL_FIRST = 0.6  # of the steps show the second task done well
FAULTLESS = InstructionStyle(careful=1.0, miscount=0.0, forget=0.0, forbidden=0.0, go_on=0.0)


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What a build can be told on its command line, as ``name=value``."""

    output: str = ""  # folder to write the checkpoint to; required
    steps: int = 2000  # optimizer steps
    batch: int = 128  # answers in a step
    learning_rate: float = 2e-3  # peak; falls to zero along a cosine
    seed: int = 0  # decides the weights' start, the problems and the answers
    tasks: int = 1  # 1: sums; 2: a quarter sums, the rest instructions, from the first task's model on
    threads: int = 1  # CPU threads; the order of sums, and so the last digits, depends on it


@dataclass(frozen=True, slots=True)
class TaskAccuracy:
    """How a model answers held-out problems at temperature 1."""

    accuracy: float  # share of all responses whose box holds the right answer
    step_by_step: float  # share of all responses that work step by step
    step_by_step_accuracy: float  # accuracy among those; nan if there are none
    quick_accuracy: float  # accuracy among the others; nan if there are none
    mean_tokens: float  # mean response length, the end token included


def build_model(tokenizer: PreTrainedTokenizerBase) -> Qwen2ForCausalLM:
    """Build the untrained model (0.6 M parameters, fp32) with weights from the global torch generator."""
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT_TOKENS,
        tie_word_embeddings=False,  # vLLM on a CPU keeps a stale packed head when the head is tied
        initializer_range=0.05,
        use_sliding_window=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    model = Qwen2ForCausalLM(config)
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return model


def start_from(model: Qwen2ForCausalLM, folder: Path) -> None:
    """Give the model the weights of another whose vocabulary begins its own; its further tokens stay as they are."""
    known = Qwen2ForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict()
    with torch.no_grad():
        for name, values in model.state_dict().items():
            values[: len(known[name])] = known[name]


def answer_loss(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerBase, pairs: list[tuple[str, str]]
) -> tuple[torch.Tensor, int]:
    """Return the summed cross-entropy of the answers given their questions, in nats, and the token count."""
    prompts = tokenizer([question for question, _ in pairs]).input_ids
    answers = tokenizer([answer for _, answer in pairs]).input_ids
    rows = [
        prompt + answer + [tokenizer.eos_token_id] for prompt, answer in zip(prompts, answers, strict=True)
    ]
    width = max(map(len, rows))
    ids = torch.tensor([row + [tokenizer.pad_token_id] * (width - len(row)) for row in rows])
    position = torch.arange(width)
    starts = torch.tensor([len(prompt) for prompt in prompts])[:, None]
    ends = torch.tensor([len(row) for row in rows])[:, None]
    targets = ids.masked_fill((position < starts) | (position >= ends), -100)[:, 1:]
    # Padding is on the right, so causal attention keeps it out of every real position without a mask.
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
    return loss, int((targets != -100).sum())


def train(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerBase, options: BuildOptions) -> None:
    """Train the model in place on the mixture of answers, a fresh batch of problems each step."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=options.learning_rate, betas=(0.9, 0.95), weight_decay=0.0
    )
    style = ArithmeticStyle()
    rng = random.Random(f"build/{options.seed}")
    model.train()
    started = time.perf_counter()
    for step in range(options.steps):
        warm_up = min(1.0, (step + 1) / 50)
        cosine = 0.5 * (1 + math.cos(math.pi * step / options.steps))
        optimizer.param_groups[0]["lr"] = options.learning_rate * warm_up * cosine
        losses = [
            answer_loss(model, tokenizer, part) for part in training_parts(options, step, rng, style) if part
        ]
        loss = torch.stack([total for total, _ in losses]).sum() / sum(count for _, count in losses)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 100 == 0:
            print(
                f"step {step + 1}: loss {loss.item():.4f}, {time.perf_counter() - started:.0f} s", flush=True
            )
    model.eval()


def training_parts(
    options: BuildOptions, step: int, rng: random.Random, style: ArithmeticStyle
) -> list[list[tuple[str, str]]]:
    """(question, answer) pairs of one step, in parts of like length: each has a forward pass of its own, which spares
    short answers the padding of long ones."""
    # The seed of the problems differs from a training run's own, whose seeds are not negative.
    seed, count = -1 - options.seed, options.batch if options.tasks == 1 else options.batch // 4
    problems = [train_problem(seed, step * count + i) for i in range(count)]
    sums = [(problem.question, mixed_answer(problem, rng, style)) for problem in problems]
    parts = [[pair for pair in sums if is_step_by_step(pair[1]) == worked] for worked in (False, True)]
    if options.tasks > 1:
        rest = options.batch - count
        asked = [train_instructions(seed, step * rest + i) for i in range(rest)]
        # First the skill, then the mixture, which shows it too seldom to be learned from in so few steps.
        manner = FAULTLESS if step < SKILL_FIRST * options.steps else InstructionStyle()
        parts[0] += [(one.question, mixed_sentence(one, rng, manner)) for one in asked]  # as short as guesses
    return parts


@torch.inference_mode()
def sample_responses(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[str],
    samples: int,
) -> list[list[str]]:
    """Sample ``samples`` responses to each question at temperature 1 from the global torch generator."""
    inputs = tokenizer(list(questions), return_tensors="pt", padding=True)
    tokens = model.generate(**inputs, max_new_tokens=RESPONSE_TOKENS, num_return_sequences=samples)  # type: ignore[misc]
    texts = tokenizer.batch_decode(tokens[:, inputs.input_ids.shape[1] :], skip_special_tokens=True)
    return [texts[i * samples : (i + 1) * samples] for i in range(len(questions))]


def measure_accuracy(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerBase, problems: list[Problem], samples: int = 4
) -> TaskAccuracy:
    """Measure avg@``samples`` at temperature 1, with a budget of 64 response tokens."""
    responses = sample_responses(model, tokenizer, [problem.question for problem in problems], samples)
    graded = [
        (is_step_by_step(text), boxed_answer(text) == problem.answer, len(tokenizer(text).input_ids) + 1)
        for problem, texts in zip(problems, responses, strict=True)
        for text in texts
    ]
    worked = [right for is_worked, right, _ in graded if is_worked]
    quick = [right for is_worked, right, _ in graded if not is_worked]
    return TaskAccuracy(
        accuracy=_mean([right for _, right, _ in graded]),
        step_by_step=len(worked) / len(graded),
        step_by_step_accuracy=_mean(worked),
        quick_accuracy=_mean(quick),
        mean_tokens=_mean([length for _, _, length in graded]),
    )


def measure_instructions(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerBase, samples: int = 4
) -> float:
    """Measure the share of responses to the second task's held-out prompts that keep to their instructions."""
    asked = held_out_instructions()
    responses = sample_responses(model, tokenizer, [one.question for one in asked], samples)
    return _mean([one.kept(text) for one, texts in zip(asked, responses, strict=True) for text in texts])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def parse_options(arguments: list[str]) -> BuildOptions:
    """Parse ``name=value`` arguments; ValueError for an unknown name, a bad value or a missing output."""
    defaults = BuildOptions()
    types = {field.name: type(getattr(defaults, field.name)) for field in fields(defaults)}
    values = {}
    for argument in arguments:
        name, equals, text = argument.partition("=")
        if not equals or name not in types:
            raise ValueError(
                f"unknown argument {argument!r}; expected name=value with a name of {', '.join(types)}"
            )
        values[name] = types[name](text)
    if not values.get("output"):
        raise ValueError("no output folder given; add output=FOLDER")
    return BuildOptions(**values)


def build(options: BuildOptions) -> TaskAccuracy:
    """Train a base model, write its checkpoint to ``options.output`` and return its held-out accuracy."""
    Path(options.output).mkdir(parents=True, exist_ok=True)  # a bad path fails now, not after the training
    torch.manual_seed(options.seed)
    tokenizer = build_tokenizer(options.tasks)
    model = build_model(tokenizer)
    if options.tasks > 1:
        start_from(model, BUILTIN_FOLDER)
    train(model, tokenizer, options)
    model.save_pretrained(options.output)
    tokenizer.save_pretrained(options.output)
    if options.tasks > 1:
        print(f"instructions kept: {measure_instructions(model, tokenizer):.3f}")
    return measure_accuracy(model, tokenizer, held_out())


def main() -> None:
    """Build a base model as the command line says and print its accuracy."""
    options = parse_options(sys.argv[1:])
    torch.set_num_threads(options.threads)
    print(build(options))
    weights = os.path.getsize(Path(options.output) / "model.safetensors")
    print(f"wrote {options.output} ({weights / 1e6:.2f} MB of weights)")


if __name__ == "__main__":
    main()
