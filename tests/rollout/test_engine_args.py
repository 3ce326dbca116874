"""Arguments that are handed on to vLLM."""

import ast
import inspect

import pytest

from rlvr.config import Config
from rlvr.errors import ConfigError
from rlvr.rollout.engine import RolloutEngine
from rlvr.rollout.engine_args import OURS, SAMPLING, SKEWING, check_engine_args
from rlvr.rollout.sampling import LEAST_TEMPERATURE
from rlvr.validate.ranges import value_at

KNOWN = ("model", "max_num_seqs", "max_num_batched_tokens", "block_size", "seed", "swap_space")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            "max_num_seqss",
            r"max_num_seqss: vLLM has no such argument; did you mean max_num_seqs \(here: rollout.max_",
        ),
        ("blocksize", r"engine_args.blocksize: vLLM has no such argument; did you mean block_size\?$"),
        ("qqq", "qqq: vLLM has no such argument; its EngineArgs lists them all"),
        (
            "max_num_seqs",
            "rollout.engine_args.max_num_seqs: rollout.max_concurrent sets this argument of vLLM",
        ),
    ],
)
def test_arguments_that_cannot_be(given, said):
    with pytest.raises(ConfigError, match=said):
        check_engine_args({given: 4}, KNOWN)


def test_every_problem_is_told_at_once_and_good_ones_pass():
    with pytest.raises(ConfigError) as caught:
        check_engine_args({"qqq": 1, "block_size": 16, "seed": 2}, KNOWN)
    assert len(str(caught.value).splitlines()) == 2
    check_engine_args({"block_size": 16}, KNOWN)


@pytest.mark.slow
def test_the_engine_knows_none_of_the_parameters_of_sampling():
    from vllm import SamplingParams
    from vllm.engine.arg_utils import EngineArgs

    parameters = set(inspect.signature(SamplingParams).parameters)
    assert {*SAMPLING, *SKEWING} <= parameters
    assert not {*SAMPLING, *SKEWING} & set(inspect.signature(EngineArgs).parameters)
    assert SamplingParams(temperature=LEAST_TEMPERATURE / 2).temperature == LEAST_TEMPERATURE


def test_the_table_has_what_the_engine_sets():
    tree = ast.parse(inspect.getsource(RolloutEngine).strip())
    [call] = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "LLM"]
    assert {keyword.arg for keyword in call.keywords if keyword.arg} == set(OURS)
    for key in (*OURS.values(), *SAMPLING.values()):
        value_at(Config(recipe="test"), key)  # a key that exists
