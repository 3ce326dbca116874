"""TRL's GRPOTrainer on the prompts of a benchmark, run by the Python of an environment that has trl.

Reads its task as JSON from stdin, see benchmarks/step.py, and prints seconds a step (median after the warm-up). Same
number of samples, response length, temperature and updates; learning rate 0, a KL penalty, fp32, no checkpointing.
"""

import json
import statistics
import sys
import tempfile
import time
from itertools import pairwise

import trl
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback


class Times(TrainerCallback):
    """When each optimiser update ended."""

    def __init__(self) -> None:
        self.ends = []

    def on_step_end(self, args, state, control, **kwargs):
        self.ends.append(time.perf_counter())


def main() -> None:
    task = json.load(sys.stdin)
    samples = task["prompts_per_step"] * task["samples"]
    times = Times()
    with tempfile.TemporaryDirectory() as folder:
        settings = trl.GRPOConfig(
            output_dir=folder,
            learning_rate=0.0,
            beta=task["beta"],
            num_generations=task["samples"],
            max_completion_length=task["response_tokens"],
            temperature=task["temperature"],
            per_device_train_batch_size=samples // task["updates"],
            steps_per_generation=task["updates"],
            max_steps=task["steps"] * task["updates"],
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            shuffle_dataset=False,
            save_strategy="no",
            report_to=[],
        )
        trainer = trl.GRPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(task["model"], dtype="float32"),
            reward_funcs=lambda completions, **rest: [float(len(text) % 2) for text in completions],
            args=settings,
            train_dataset=Dataset.from_dict({"prompt": task["prompts"]}),
            processing_class=AutoTokenizer.from_pretrained(task["model"]),
            callbacks=[times],
        )
        began = time.perf_counter()
        trainer.train()
    ends = [began, *times.ends[task["updates"] - 1 :: task["updates"]]]
    seconds = [after - before for before, after in pairwise(ends)][task["warm_up"] :]
    print(json.dumps({"step": statistics.median(seconds), "trl": trl.__version__}))


if __name__ == "__main__":
    main()
