"""Parts of an evaluation on disk: interrupted and started again, it samples only what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from rlvr.analysis.evaluation import (
    PROBLEMS_PER_PART,
    claim_settings,
    groups_in_parts,
    read_evaluation,
    result_of,
    write_responses,
)
from rlvr.config import Config
from rlvr.data.stream import EvalSet
from rlvr.errors import ConfigError, RlvrError
from rlvr.evaluate import _write
from rlvr.reward.verdict import Outcome, Verdict
from rlvr.runtime.disk.folder import RunFolder
from rlvr.runtime.evaluation import report
from rlvr.types import Group, Problem, Prompt, Sample, Span

PROMPTS = [
    Prompt(Problem(f"p{i}", f"{i}+1=?", str(i + 1), "test"), (i, 1)) for i in range(PROBLEMS_PER_PART + 5)
]


def answer(prompts: Sequence[Prompt]) -> tuple[Group, ...]:
    """Two graded responses to each prompt, the second wrong for odd problems."""
    groups = []
    for p in prompts:
        samples = []
        for i in range(2):
            right = i == 0 or int(p.id[1:]) % 2 == 0
            verdict = Verdict(f"{p.id}/{i}", Outcome.CORRECT if right else Outcome.WRONG, "1", "1", 0.0)
            samples.append(
                Sample(
                    id=f"{p.id}/{i}",
                    token_ids=(7, 8 + i),
                    logprobs=np.zeros(0, dtype=np.float32),
                    text=f"text {p.id}",
                    truncated=not right,
                    spans=(Span(0, 0),),
                    verdict=verdict,
                    reward=float(right),
                )
            )
        groups.append(Group(p, tuple(samples)))
    return tuple(groups)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path, "evaluation")
    made.path.mkdir()
    claim_settings(made, Config(recipe="test"), [])
    return made


def test_only_missing_parts_are_sampled_again(folder: RunFolder) -> None:
    asked: list[list[str]] = []

    def respond(prompts: Sequence[Prompt]) -> tuple[Group, ...]:
        asked.append([p.id for p in prompts])
        if len(asked) == 2:
            raise KeyboardInterrupt
        return answer(prompts)

    with pytest.raises(KeyboardInterrupt):
        groups_in_parts(folder, "my set", PROMPTS, respond)
    groups = groups_in_parts(folder, "my set", PROMPTS, respond)
    assert [len(a) for a in asked] == [PROBLEMS_PER_PART, 5, 5]  # the finished part is not asked for again
    again = groups_in_parts(folder, "my set", PROMPTS, respond)
    assert len(asked) == 3
    assert [g.prompt.id for g in groups] == [p.id for p in PROMPTS]
    at_once, resumed = report("my set", answer(PROMPTS)), report("my set", again)
    for name in ("accuracy", "ci_low", "ci_high", "problems", "mean_length", "truncated", "outcomes"):
        assert getattr(resumed, name) == getattr(at_once, name)


def test_other_settings_are_refused_by_name(folder: RunFolder) -> None:
    cfg = Config(recipe="other name", steps=7)
    claim_settings(folder, cfg, [])  # neither changes what is sampled
    cfg.eval.temperature = 0.5
    with pytest.raises(ConfigError, match=r"eval\.temperature was 1\.0, is 0\.5"):
        claim_settings(folder, cfg, [])


def test_other_data_and_another_model_at_the_same_places_are_refused(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "qwen2"}')
    (model / "model.safetensors").write_bytes(b"weights")
    cfg = Config(recipe="test")
    cfg.model.path = str(model)
    folder = RunFolder(tmp_path, "evaluation")
    folder.path.mkdir()
    claim_settings(folder, cfg, [EvalSet("mine", tuple(PROMPTS))])
    claim_settings(folder, cfg, [EvalSet("mine", tuple(PROMPTS))])
    first = replace(PROMPTS[0], problem=replace(PROMPTS[0].problem, answer="2"))
    with pytest.raises(ConfigError, match=r"content of data\.eval\.mine\.answers was "):
        claim_settings(folder, cfg, [EvalSet("mine", (first, *PROMPTS[1:]))])
    (model / "model.safetensors").write_bytes(b"further weights")
    with pytest.raises(ConfigError, match=r"content of model\.path\.model\.safetensors was "):
        claim_settings(folder, cfg, [EvalSet("mine", tuple(PROMPTS))])


def test_a_damaged_part_is_named(folder: RunFolder) -> None:
    groups_in_parts(folder, "s", PROMPTS[:3], answer)
    [part] = (folder.path / "parts").iterdir()
    part.write_text(part.read_text()[:-40])
    with pytest.raises(RlvrError, match=r"s-000000\.jsonl: damaged"):
        groups_in_parts(folder, "s", PROMPTS[:3], answer)


@pytest.mark.parametrize("lines", [5, 2, 0])
def test_a_part_that_lacks_responses_is_named(folder: RunFolder, lines: int) -> None:
    groups_in_parts(folder, "s", PROMPTS[:3], answer)
    [part] = (folder.path / "parts").iterdir()
    part.write_text("".join(part.read_text().splitlines(keepends=True)[:lines]))
    with pytest.raises(
        RlvrError, match=rf"s-000000\.jsonl: damaged .*{lines} responses that are not as many"
    ):
        groups_in_parts(folder, "s", PROMPTS[:3], answer)


def test_responses_as_parquet(folder: RunFolder) -> None:
    write_responses(folder, [("a", answer(PROMPTS[:3])), ("b", answer(PROMPTS[3:4]))])
    table = pq.read_table(folder.path / "responses.parquet").to_pylist()
    assert [row["set"] for row in table] == ["a"] * 6 + ["b"] * 2
    assert table[3]["verdict"] == "wrong"
    assert table[3]["response_ids"] == [7, 9]


def test_sets_whose_names_differ_in_what_no_file_can_have_do_not_share_parts(folder):
    for n, name in enumerate(("a/b", "a_b", "a b"), start=1):
        groups_in_parts(folder, name, PROMPTS[:n], answer)
        assert len(list((folder.path / "parts").iterdir())) == n
        assert len(groups_in_parts(folder, name, PROMPTS[:n], answer)) == n


def test_an_evaluation_of_a_set_from_the_hub_is_written_down(folder):
    cfg = Config(recipe="test")
    groups = groups_in_parts(folder, "owner/set", PROMPTS, answer)
    reports, results = [report("owner/set", groups)], [result_of("owner/set", groups)]
    folder.samples.mkdir()
    _write(folder, cfg.model.path, {"seed": 1}, reports, results)
    assert (folder.samples / "eval_owner%2Fset.jsonl").read_text().count("\n") == 2 * len(PROMPTS)
    found = read_evaluation(folder.path)
    assert list(found) == ["owner/set"]
    read, count = found["owner/set"], len(PROMPTS)
    assert read.correct.tolist() == [[True, i % 2 == 0] for i in range(count)]
    assert read.truncated.tolist() == [[False, i % 2 == 1] for i in range(count)]
    assert read.lengths.tolist() == [[2, 2]] * count
    assert read.answers == (("1", "1"),) * count


def test_an_evaluation_that_cannot_be_written_says_so(folder):
    groups = groups_in_parts(folder, "set", PROMPTS[:2], answer)
    (folder.path / "samples").write_text("in the way")
    with pytest.raises(RlvrError, match=r"samples/eval_set cannot be written .*Finished parts are kept"):
        _write(folder, "m", {}, [report("set", groups)], [result_of("set", groups)])
