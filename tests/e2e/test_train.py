"""`python -m rlvr.train` on the real engines: a whole small run, and one that is killed and resumed."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlvr.data.tasks.instructions import instructions_of
from rlvr.reward.grader import grade
from rlvr.reward.verifiers.last_number import last_number
from rlvr.types import Problem
from tests.helpers.misbehaving_verifiers import HELD_BY
from tests.helpers.paths import REPOSITORY
from tests.helpers.processes import SMALL, Training, rows, train

pytestmark = pytest.mark.e2e
# Of a start, each with a line of its own.
PHASES = (
    "reading tokenizer and data",
    "starting Ray",
    "starting 1 engine(s) and 1 learner rank(s)",
    "connecting learner and engines",
    "preflight: a small batch through every stage",
    "evaluation before the first step",
)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps, never stopped."""
    root = tmp_path_factory.mktemp("runs")
    code, output, run = train(*SMALL, f"run.root={root}", "run.name=whole", "run.save_every=2")
    assert code == 0, output
    assert run.leaves_nothing(), "processes outlived the run"
    assert "done: accuracy" in output
    assert "each step: 4 prompts -> 16 samples -> 2 updates of 8 samples" in output
    said = [line for line in output.splitlines() if line.endswith(" ...") or ": ready after" in line]
    assert [line.partition(" after ")[0] for line in said if "ready" in line] in (
        ["engine-0: ready", "learner-0: ready"],
        ["learner-0: ready", "engine-0: ready"],
    )
    assert [line for line in said if "ready" not in line] == [f"{phase} ..." for phase in PHASES]
    return root / "whole"


def test_summary_and_files(whole_run: Path) -> None:
    summary = json.loads((whole_run / "summary.json").read_text())
    assert summary["recipe"] == "dapo_divweight"
    assert summary["steps"] == 4
    assert summary["resumed_from"] is None
    assert 0 < summary["max_logprob_mismatch"] < 1e-3
    assert summary["mismatch_compared_steps"] == 4
    assert 0 <= summary["eval_accuracy_before"] <= 1
    low, high = summary["eval_accuracy_ci95"]
    assert low <= summary["eval_accuracy_after"] <= high
    assert summary["tokens_generated"] > 0
    assert {"torch", "vllm", "ray", "deepspeed", "transformers"} <= set(summary["versions"])
    assert (whole_run.parent / "latest").resolve() == whole_run.resolve()
    assert [p.name for p in sorted((whole_run / "checkpoints").iterdir())] == ["step_000002", "step_000004"]


def test_metrics_cover_every_step_and_stage(whole_run: Path) -> None:
    steps = [r for r in rows(whole_run) if r["kind"] == "train"]
    evals = [r for r in rows(whole_run) if r["kind"] == "eval"]
    assert [r["step"] for r in steps] == [1, 2, 3, 4]
    assert [r["step"] for r in evals] == [0, 2, 4]
    last = steps[-1]
    assert last["js_base/p99"] > 0  # the policy has moved away from the base
    assert all(r["mismatch/mean"] < 1e-3 for r in steps)
    assert all(r["tokens/trained"] > 0 and r["updates"] == 2 for r in steps)
    assert {r["outcome/timed_out"] + r["outcome/failed"] for r in steps} == {0.0}
    assert steps[0]["token_weight/mean"] == pytest.approx(1.0)  # no divergence yet: every weight is 1


def test_samples_are_dumped_with_verdicts(whole_run: Path) -> None:
    lines = (whole_run / "samples" / "step_000001.jsonl").read_text().splitlines()
    samples = [json.loads(line) for line in lines]
    assert len({s["sample_id"] for s in samples}) == len(samples) >= 16
    for s in samples:
        assert s["weight_version"] == 0
        assert len(s["logprobs"]) == len(s["response_ids"])
        assert s["verdict"] in ("correct", "wrong", "no_answer")
        assert (s["verdict"] == "correct") == (s["reward"] > 0.5)


def test_exported_policy_loads_and_has_moved(whole_run: Path) -> None:
    policy = AutoModelForCausalLM.from_pretrained(whole_run / "policy")
    base = AutoModelForCausalLM.from_pretrained("rlvr/data/base_model")
    tokenizer = AutoTokenizer.from_pretrained(whole_run / "policy")
    ids = tokenizer("7+3-5=?", return_tensors="pt").input_ids
    assert tokenizer.decode(ids[0], skip_special_tokens=True) == "7+3-5=?"
    gap = (policy(ids).logits - base(ids).logits).abs().max().item()
    assert 0 < gap < 10
    assert {n for n, _ in policy.named_parameters()} == {n for n, _ in base.named_parameters()}
    assert policy.dtype == torch.float32


def test_findings_of_a_run(whole_run: Path) -> None:
    """Controls, analyses, cross-sampling and the report, each by its own command, joined into one table."""
    done = subprocess.run(
        [sys.executable, "-m", "rlvr.findings", f"run={whole_run}"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    numbers = json.loads((whole_run / "findings" / "findings.json").read_text())
    assert [s["name"] for s in numbers["shifts"]] == ["dapo_divweight", "grpo_kl", "sft"]
    for shift in numbers["shifts"]:
        near, moved = shift["near_zero"]["value"], shift["moved"]["value"]
        assert 0 <= moved <= 1 - near <= 1
    assert {c["direction"] for c in numbers["crossings"]} == {"forward", "reverse"}
    assert all(0 < c["effective"] <= c["share"] < 0.5 for c in numbers["crossings"])
    run, control, supervised = (
        OmegaConf.load(folder / "config.yaml")
        for folder in (whole_run, whole_run / "findings" / "grpo_kl", whole_run / "findings" / "sft")
    )
    assert control.data == run.data  # 4 prompts a step, 8 held-out problems
    assert supervised.data == OmegaConf.merge(run.data, {"prompts_per_step": 4 * 4})
    assert control.eval == supervised.eval == run.eval
    table = (whole_run / "findings" / "findings.md").read_text()
    assert table in done.stdout
    assert (whole_run / "report" / "report.html").stat().st_size > 50_000


STUDY = """
title: A study of a test
trainings: [{trainings}, run.save_every=1]
tasks: {{arithmetic: []}}
recipes:
  sft: [data.prompts_per_step=16, rollout.samples_per_prompt=1]
  dapo_random: [reward.verifier=tests.helpers.misbehaving_verifiers.held_last_number, reward.deadline_seconds=3600]
weighting: [dapo_divweight, dapo_random]
training: [dapo_divweight, grpo_kl, sft]
cross_sample: ["rules=js,random", "budgets=0.02,0.04,0.1"]
"""


def test_a_study_takes_finished_runs_as_they_are_and_survives_a_kill(whole_run: Path, tmp_path: Path) -> None:
    """After the findings of the run, whose three trainings and analyses it has; a fourth is killed in its last step."""
    output, file = tmp_path / "study", tmp_path / "mine.yaml"
    file.write_text(STUDY.format(trainings=", ".join(f"'{argument}'" for argument in SMALL)))
    trained = {
        "dapo_divweight": whole_run,
        **{name: whole_run / "findings" / name for name in ("grpo_kl", "sft")},
    }
    folders = {name: output / "arithmetic" / f"recipe-{name}_seed-1" for name in (*trained, "dapo_random")}
    for name, run in trained.items():
        shutil.copytree(run, folders[name], ignore=shutil.ignore_patterns("findings", "report"))
    arguments = (f"study={file}", f"output={output}")
    random = folders["dapo_random"]
    held = {HELD_BY: str(random / "metrics.jsonl")}
    first = Training(arguments, held, module="rlvr.findings")
    first.wait_for(random / "samples" / "step_000003.jsonl")
    first.signal(signal.SIGKILL)
    first.wait()
    assert first.leaves_nothing(), "processes outlived a killed study"
    assert not (random / "summary.json").exists()

    again = Training(arguments, module="rlvr.findings")
    code, said = again.wait()
    assert code == 0, said
    assert again.leaves_nothing()
    assert "piece 1 of" not in said  # the finished runs were taken as they are
    assert "8 of 8 pieces are done" in said
    resumed = json.loads((random / "summary.json").read_text())["resumed_from"]
    assert resumed.rpartition("/")[2] in ("step_000002", "step_000003")
    assert not (random / "checkpoints").exists()
    page = (output / "findings.md").read_text()
    assert "Missing" not in page
    for name in trained:
        assert f"| arithmetic, {name} |" in page
    assert "| recipe-dapo_random | 1 |" in page
    assert sum(f.stat().st_size for f in (output / "findings").iterdir()) < 10_000_000
    assert {"accuracy.parquet", "cross_pairs.parquet", "tokens.parquet"} <= {
        f.name for f in (output / "findings").iterdir()
    }


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The arguments of a run on both built-in tasks and a file of four sums, each with verifier and held-out set."""
    folder = tmp_path_factory.mktemp("mixed")
    for name, numbers in (("train", range(4)), ("held", range(10, 14))):
        lines = [json.dumps({"question": f"{n}+{n + 1}=?", "answer": str(2 * n + 1)}) for n in numbers]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    own = f"path:{folder}/%s.jsonl,verifier:tests.helpers.misbehaving_verifiers.held_last_number"
    return (
        *SMALL,
        "model=builtin_two_tasks",
        f"data.train=[{{name:arithmetic}},{{name:instructions}},{{name:sums_of_mine,{own % 'train'}}}]",
        "data.eval=[{name:arithmetic_heldout,limit:8},{name:instructions_heldout,limit:8},"
        f"{{name:held_sums,{own % 'held'}}}]",
        "run.save_every=2",
        "reward.deadline_seconds=3600",  # no answer is late because the machine is busy
    )


@pytest.fixture(scope="module")
def mixed_run(mixed: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a mixture, never stopped."""
    root = tmp_path_factory.mktemp("runs")
    code, output, run = train(*mixed, f"run.root={root}", "run.name=whole")
    assert code == 0, output
    assert run.leaves_nothing(), "processes outlived the run"
    assert re.search(
        r"acc \d\.\d+ \(arithmetic \d\.\d+, instructions \d\.\d+, sums_of_mine \d\.\d+\)", output
    )
    return root / "whole"


def boxed(sample: dict[str, str]) -> bool:
    return grade(sample["answer"], sample["response"], policy="last_box").correct


def instructed(sample: dict[str, str]) -> bool:
    asked = Problem(sample["problem_id"], sample["question"], sample["answer"], "instructions")
    return instructions_of(asked).kept(sample["response"])


def lenient(sample: dict[str, str]) -> bool:
    return last_number(sample["answer"], sample["response"])


def test_a_mixture_reports_every_source(mixed_run: Path) -> None:
    steps = [r for r in rows(mixed_run) if r["kind"] == "train"]
    judges = {"arithmetic": boxed, "instructions": instructed, "sums_of_mine": lenient}
    prompts: dict[str, set[str]] = {name: set() for name in judges}
    for row in steps:
        lines = (mixed_run / "samples" / f"step_{row['step']:06d}.jsonl").read_text().splitlines()
        samples = [json.loads(line) for line in lines]
        for name, judge in judges.items():
            own = [s for s in samples if s["source"] == name]
            right = [judge(s) and not s["truncated"] for s in own]
            assert [s["verdict"] == "correct" for s in own] == right  # each by its own verifier
            assert row[f"source/{name}/responses"] == len(own) > 0
            assert row[f"source/{name}/accuracy"] == pytest.approx(np.mean(right))
            prompts[name] |= {s["problem_id"] for s in own}
        counts = [len(met) for met in prompts.values()]
        assert max(counts) - min(counts) <= 1  # a third each, all along
    visits = Counter(name.partition("#")[2] for name in prompts["sums_of_mine"])
    drawn = len(prompts["sums_of_mine"])
    assert drawn > 4
    assert [visits[epoch] for epoch in ("", "1")] == [4, min(drawn - 4, 4)]  # all of an epoch, then the next
    held = {"arithmetic_heldout", "instructions_heldout", "held_sums"}
    for row in (r for r in rows(mixed_run) if r["kind"] == "eval"):
        assert {f"eval/{name}/accuracy" for name in held} <= row.keys()
    summary = json.loads((mixed_run / "summary.json").read_text())
    assert summary["data"] == "arithmetic+instructions+sums_of_mine"
    assert summary["eval_sets"].keys() == held


def test_killed_and_resumed_equals_never_killed(
    mixed: tuple[str, ...], mixed_run: Path, tmp_path: Path
) -> None:
    arguments = (*mixed, f"run.root={tmp_path}", "run.name=killed")
    held = {HELD_BY: str(tmp_path / "killed" / "metrics.jsonl")}  # in step 4, however late the signal comes
    first = Training(arguments, held)
    first.wait_for(tmp_path / "killed" / "samples" / "step_000003.jsonl")
    first.signal(signal.SIGKILL)
    first.wait()
    assert first.leaves_nothing(), "actors outlived a killed driver"
    assert not (tmp_path / "killed" / "summary.json").exists()

    code, output, again = train(*arguments, "run.resume=auto")
    assert code == 0, output
    assert again.leaves_nothing()
    assert "resumed from" in output
    assert rows(tmp_path / "killed") == rows(mixed_run)  # equal to the last bit, step by step
    summary = json.loads((tmp_path / "killed" / "summary.json").read_text())
    assert summary["resumed_from"].endswith("step_000002")
    for name in ("step_000003.jsonl", "step_000004.jsonl"):
        resumed = (tmp_path / "killed" / "samples" / name).read_text()
        assert resumed == (mixed_run / "samples" / name).read_text()


def test_going_on_with_another_learning_rate_is_on_the_record(whole_run: Path, tmp_path: Path) -> None:
    """The same folder first with a cut checkpoint, which is named and not passed over."""
    run = tmp_path / "whole"
    shutil.copytree(whole_run, run, ignore=shutil.ignore_patterns("findings", "analysis", "report"))
    weights = run / "checkpoints" / "step_000004" / "deepspeed" / "mp_rank_00_model_states.pt"
    content = weights.read_bytes()
    weights.write_bytes(content[:1000])
    arguments = (*SMALL, f"run.root={tmp_path}", "run.name=whole", "run.resume=auto", "steps=5")
    code, output, _ = train(*arguments)
    assert code == 1, output
    assert f"CheckpointError: checkpoint {weights.parents[1]}: cannot be read" in output
    assert f"run.resume={run / 'checkpoints' / 'step_000002'}" in output
    assert "Traceback" not in output

    weights.write_bytes(content)
    code, output, again = train(*arguments, "learner.lr=5e-5")
    assert code == 0, output
    assert again.leaves_nothing()
    change = {"step": 4, "key": "learner.lr", "old": 1e-4, "new": 5e-5}
    assert "changed on the way: learner.lr 0.0001 -> 5e-05 after step 4" in output
    assert [json.loads(line) for line in (run / "changes.jsonl").read_text().splitlines()] == [change]
    assert json.loads((run / "summary.json").read_text())["changes"] == [change]
    assert (run / "checkpoints" / "step_000005" / "changes.jsonl").exists()
    rates = [r["lr"] for r in rows(run) if r["kind"] == "train"]
    assert rates == [1e-4] * 4 + [5e-5]
