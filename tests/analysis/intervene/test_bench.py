"""Going on from another token: against greedy decoding by transformers, and with the verifier's verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from rlvr.analysis.cross.config import CrossSampleConfig
from rlvr.analysis.cross.inputs import read_inputs
from rlvr.analysis.intervene.bench import Bench
from rlvr.analysis.intervene.records import Choice, append, read_all
from rlvr.errors import ConfigError
from rlvr.reward.workers.pool import GraderPool, open_grader_pool
from tests.helpers.cross_cases import TOKENIZER, policy_model
from tests.helpers.view_cases import analysed_run

pytestmark = pytest.mark.slow

COLD = 0.01  # temperature: as good as greedy


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return analysed_run(tmp_path_factory.mktemp("intervene"))


@pytest.fixture(scope="module")
def graders(run: Path) -> Iterator[GraderPool]:
    inputs = read_inputs(CrossSampleConfig(run=str(run)))
    with open_grader_pool(inputs.reward, [p.problem.rules for p in inputs.prompts], workers=1) as pool:
        yield pool


def bench(run: Path, graders: GraderPool, temperature: float) -> Bench:
    inputs = read_inputs(CrossSampleConfig(run=str(run), temperature=temperature))
    responses = run / "analysis" / "responses.parquet"
    return Bench(inputs, responses, graders, device="cpu")


def rows(run: Path) -> dict[str, dict]:
    """A response of each model."""
    table = pq.read_table(run / "analysis" / "responses.parquet").to_pylist()
    return {row["trajectory"]: row for row in table}


def choice(row: dict, position: int, token_id: int, samples: int = 2, **changed: object) -> Choice:
    return Choice(
        **{
            "response": row["response"],
            "position": position,
            "token_id": token_id,
            "model": "policy",
            "samples": samples,
            "seed": 1,
            **changed,
        }
    )


def test_when_cold_both_arms_are_what_transformers_decodes_greedily(run: Path, graders: GraderPool) -> None:
    row = rows(run)["policy"]
    other = TOKENIZER("7").input_ids[0]
    found = bench(run, graders, COLD).run(choice(row, 0, other), 1)
    for arm, token in ((found.kept, row["response_ids"][0]), (found.taken, other)):
        prefix = [*row["prompt_ids"], token]
        with torch.inference_mode():
            greedy = (
                policy_model()
                .generate(
                    torch.tensor([prefix]),
                    do_sample=False,
                    max_new_tokens=60,
                    eos_token_id=TOKENIZER.eos_token_id,
                )[0, len(prefix) :]
                .tolist()
            )
        assert arm.token_id == token
        for continuation in arm.continuations:
            assert list(continuation.token_ids) == greedy[: len(continuation.token_ids)]
            assert continuation.token_ids[-1] == TOKENIZER.eos_token_id or continuation.truncated


def test_a_right_answer_that_is_spoilt_is_no_longer_right(run: Path, graders: GraderPool) -> None:
    row = rows(run)["policy"]
    ids = row["response_ids"]
    last_digit = max(i for i, token in enumerate(ids) if TOKENIZER.decode([token]).isdigit())
    wrong = TOKENIZER("1" if TOKENIZER.decode([ids[last_digit]]) != "1" else "2").input_ids[0]
    found = bench(run, graders, COLD).run(choice(row, last_digit, wrong), 1)
    assert (found.kept.success.mean, found.taken.success.mean) == (1.0, 0.0)
    assert found.difference.mean == -1.0
    assert found.difference.high < 0.5


def test_an_end_token_ends_the_response_there(run: Path, graders: GraderPool) -> None:
    found = bench(run, graders, 1.0).run(choice(rows(run)["policy"], 0, TOKENIZER.eos_token_id, samples=3), 1)
    assert [c.token_ids for c in found.taken.continuations] == [(), (), ()]
    assert found.taken.success.mean == 0.0


def test_the_same_seed_gives_the_same_and_the_file_keeps_it(
    run: Path, graders: GraderPool, tmp_path: Path
) -> None:
    wanted = choice(rows(run)["base"], 1, TOKENIZER("7").input_ids[0], samples=5, model="base")
    tried = bench(run, graders, 1.0)
    first, second = (tried.run(wanted, number) for number in (1, 2))
    assert first.taken == second.taken
    assert first.kept == second.kept
    assert len(set(first.kept.continuations)) > 1
    for one in (first, second):
        append(tmp_path, one)
    with (tmp_path / "interventions.jsonl").open("a") as file:
        file.write('{"number": 3, "cho')  # killed while it wrote
    assert [row["number"] for row in read_all(tmp_path)] == [1, 2]
    append(tmp_path, replace(first, number=3))
    kept = read_all(tmp_path)
    assert [row["number"] for row in kept] == [1, 2, 3]
    assert kept[0]["choice"]["seed"] == 1
    assert kept[0]["taken"]["success"]["mean"] == first.taken.success.mean


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"response": 99}, "no such response"),
        ({"position": 500}, "has tokens 0 to"),
        ({"token_id": 32}, "tokens 0 to"),
        ({"token_id": -1}, "tokens 0 to"),
        ({"model": "other"}, "use policy or base"),
        ({"samples": 0}, "from 1 to"),
    ],
)
def test_what_is_not_there_is_refused_by_name(
    run: Path, graders: GraderPool, changed: dict, words: str
) -> None:
    if changed.get("token_id") == 32:
        changed = {"token_id": policy_model().config.vocab_size}
    with pytest.raises(ConfigError, match=words):
        bench(run, graders, 1.0).run(
            choice(rows(run)["policy"], **{"position": 0, "token_id": 5, **changed}), 1
        )


def test_the_responses_own_token_is_refused(run: Path, graders: GraderPool) -> None:
    row = rows(run)["policy"]
    with pytest.raises(ConfigError, match="has that token there already"):
        bench(run, graders, 1.0).run(choice(row, 2, row["response_ids"][2]), 1)
