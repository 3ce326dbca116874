r"""A model and data of one's own, made here without the hub, and the command that trains on them.

    python own_model_and_data.py output=/tmp/own
    python own_model_and_data.py output=/tmp/own steps=400 seed=3

writes <output>/model (a folder in Hugging Face format), <output>/train.jsonl and <output>/test.jsonl, and prints the
command.

The task is to write a number backwards, in columns that are not called as usual. The model is a two-layer Qwen2 with
the built-in tokenizer. It is taught answers that are turned round half of the time and copied otherwise, so that
reinforcement learning has something to choose between: in 20 steps (seed 1, two shared CPU cores) held-out accuracy
went from 0.51 to 0.97.
"""

from __future__ import annotations

import itertools
import json
import random
import shlex
import sys
from pathlib import Path

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase, Qwen2Config, Qwen2ForCausalLM

from rlvr.data.models.tokenizer import model_folder
from rlvr.data.tasks.build_base import answer_loss

DIGITS, HELD_OUT = "123456789", 100
BATCH = 64  # answers in a step of the supervised training


def write_data(folder: Path, rng: random.Random) -> list[dict[str, str]]:
    """Write both files, no question in both, and return the rows of the training file."""
    numbers = ["".join(digits) for digits in itertools.product(DIGITS, repeat=3)]
    rows = [{"prompt": f"{number}=?", "label": number[::-1]} for number in numbers if number != number[::-1]]
    rng.shuffle(rows)
    for name, part in (("test", rows[:HELD_OUT]), ("train", rows[HELD_OUT:])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    return rows[HELD_OUT:]


def make_model(tokenizer: PreTrainedTokenizerBase) -> Qwen2ForCausalLM:
    """A small model with random weights from the global torch generator."""
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        # Over the heads that is 32 each: vLLM's attention on CPU does not take every smaller size.
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen2ForCausalLM(config)


def answer(row: dict[str, str], rng: random.Random) -> str:
    """A boxed answer: the number backwards half of the time, else as it stands."""
    return rf"so \boxed{{{row['label'] if rng.random() < 0.5 else row['label'][::-1]}}}"


def teach(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    rows: list[dict[str, str]],
    steps: int,
    rng: random.Random,
) -> float:
    """Supervised training on such answers; returns the last step's cross-entropy a token, in nats."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    loss = float("nan")
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / steps)
        pairs = [(row["prompt"], answer(row, rng)) for row in rng.choices(rows, k=BATCH)]
        total, count = answer_loss(model, tokenizer, pairs)
        optimizer.zero_grad(set_to_none=True)
        (total / count).backward()
        optimizer.step()
        loss = float(total.detach()) / count
    return loss


def training_command(folder: Path) -> list[str]:
    """The run on the files: their columns, lengths that fit the model, and a learning rate for its size."""
    columns = "question:prompt,answer:label"
    return [
        *("python", "-m", "rlvr.train", "recipe=grpo", "data=local", "data.template=plain"),
        f"model.path={folder / 'model'}",
        "model.max_length=64",
        f"data.train.path={folder / 'train.jsonl'}",
        *("data.train.question=prompt", "data.train.answer=label"),
        f"data.eval=[{{name:own_test,path:{folder / 'test.jsonl'},{columns}}}]",
        *("data.max_prompt_tokens=16", "rollout.max_response_tokens=32", "learner.lr=3e-4"),
    ]


def main(arguments: list[str]) -> list[str]:
    """Make model and data, print the command and return it.

    Raises:
        SystemExit: an unknown argument, or no output folder.
    """
    given = dict(argument.partition("=")[::2] for argument in arguments)
    if unknown := given.keys() - {"output", "steps", "seed"}:
        sys.exit(f"{', '.join(sorted(unknown))}: the arguments are output=FOLDER, steps=N and seed=N")
    if not given.get("output"):
        sys.exit("no output folder given; add output=FOLDER")
    folder, seed = Path(given["output"]), int(given.get("seed", "0"))
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    torch.manual_seed(seed)
    rows = write_data(folder, rng)
    tokenizer = AutoTokenizer.from_pretrained(model_folder("builtin"))
    model = make_model(tokenizer)
    loss = teach(model, tokenizer, rows, int(given.get("steps", "300")), rng)
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    command = training_command(folder)
    print(
        f"made {folder}; cross-entropy of the answers {loss:.3f} nats a token. Now:\n\n{shlex.join(command)}"
    )
    return command


if __name__ == "__main__":
    main(sys.argv[1:])
