"""Overrides of a form that their key does not take, and configurations that leave something open."""

from __future__ import annotations

import pytest

from rlvr.cli.main import main
from rlvr.cli.overrides.compose import check_overrides, load, register_schema
from rlvr.cli.overrides.multirun import plan_sweep
from rlvr.cli.overrides.rewriting import rewritten
from rlvr.cli.overrides.shorthand import several_sources
from rlvr.cli.view import parse
from rlvr.errors import ConfigError
from tests.helpers.forked import forked


@pytest.fixture(autouse=True)
def schema() -> None:
    register_schema()


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("recipe=[dapo,grpo]", "takes one name (-m recipe=A,B runs one after the other); use one of cispo, "),
        ("advantage=[js_high]", "takes one name"),
        ("recipe=null", "takes one name; use one of"),
        ("model=null", "takes one name; use one of builtin, "),
        ("advantage=null", "takes one name; use one of clip_cov, "),
        ("recipe=3", "takes one name"),
        ("~recipe", "a run needs a recipe; choose one with recipe=NAME"),
        ("~recipe=dapo_divweight", "a run needs a recipe"),
        ("sweep=paper_table", "a sweep is added, with a plus: +sweep=paper_table"),
        ("+steps=3", "steps is there already, so leave the plus out: steps=3"),
        ("+recipe=dapo", "recipe is there already, so leave the plus out: recipe=dapo"),
        ("seed=glob(*)", "a sweep needs values that are spelt out, seed=A,B"),
        ("recipe=glob(*)", "a sweep needs values that are spelt out, recipe=A,B"),
        ("seed=interval(0,1)", "a sweep needs values that are spelt out"),
    ],
)
def test_a_form_that_a_key_does_not_take_is_refused(argument, said, tmp_path):
    with pytest.raises(ConfigError) as caught:
        check_overrides([argument])
    assert str(caught.value).startswith(f"{argument}: {said}")
    # With recipes of one's own as well, whose names only Hydra knows.
    with pytest.raises(ConfigError, match=r"takes one|a run needs|with a plus|leave the plus|spelt out"):
        check_overrides([argument, "--config-dir", str(tmp_path)])


@pytest.mark.parametrize(
    ("argument", "written"),
    [
        ("rollout.stop=END", """'rollout.stop=["END"]'"""),
        ("rollout.stop='###'", """'rollout.stop=["###"]'"""),
        ("rollout.stop='[=]'", """'rollout.stop=["="]'"""),
        ("rollout.stop_token_ids=2", "'rollout.stop_token_ids=[2]'"),
        ("tracking.tags=mine", """'tracking.tags=["mine"]'"""),
    ],
)
def test_one_value_for_a_list_is_refused_with_the_list(argument, written):
    with pytest.raises(ConfigError, match="takes a list") as caught:
        check_overrides([argument])
    assert written in str(caught.value)
    check_overrides([written.strip("'")])


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        (
            "data.train=rows.jsonl",
            "is a section; set what is in it, such as data.train.name=VALUE or data.train.path",
        ),
        ("reward=math", "reward is a section; set what is in it, such as reward.workers=VALUE"),
        ("run=mine", "run is a section; set what is in it, such as run.name=VALUE"),
        ("data.eval=gsm8k", "takes a list of records, such as 'data.eval=[{name:gsm8k}"),
        ("data.eval=[gsm8k]", "takes a list of records"),
        ("data.eval={name:gsm8k}", "takes a list of records"),
        ("data.eval=[{name:a,pth:b}]", "there is no key 'pth' in an entry of data.eval; did you mean path"),
        ("+data.eval.1.name=a", "nothing can be added to a list; write it whole, data.eval=[{...},{...}]"),
        ("~data.eval.0", "nothing can be taken out of a list; write it whole, data.eval=[{...},{...}]"),
        ("data.eval.held.limit=3", "held is no place in the list data.eval; they are counted from 0"),
        ("data.system=None", "would be the text 'None'; for nothing write data.system=null"),
        ("data.train.limit=none", "would be the text 'none'; for nothing write data.train.limit=null"),
    ],
)
def test_a_value_whose_shape_a_key_cannot_have_is_told_what_to_write(argument, said):
    with pytest.raises(ConfigError) as caught:
        check_overrides([argument])
    assert str(caught.value).startswith(f"{argument}: ")
    assert said in str(caught.value)


@pytest.mark.parametrize("argument", ['data.eval=[{"name":"m"}]', "data.eval=[{name:m,path:~/a=b}]"])
def test_a_list_of_records_that_hydra_cannot_read_is_told_how_to_quote(argument):
    with pytest.raises(ConfigError) as caught:
        check_overrides(rewritten([argument]))
    said, _, written = str(caught.value).rpartition(": '")
    assert said.startswith(
        f"{argument}: cannot be read as a list of records; keys stand there without quotes"
    )
    check_overrides(rewritten([written.removesuffix("'")]))


@pytest.mark.parametrize(
    "argument",
    [
        "data.system='None'",
        "data.eval=[]",
        "data.eval=[{name:gsm8k}]",
        "data.train={name:a,path:b}",
        "data.eval.0.limit=3",
    ],
)
def test_what_has_the_shape_of_its_key_passes(argument):
    check_overrides([argument])


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("model=Qwen/Qwen2.5-0.5B", "for one of your own: model=local model.path=Qwen/Qwen2.5-0.5B"),
        ("data=rows.jsonl", "for one of your own: data=local data.train.path=rows.jsonl"),
        ("recipe=./mine.yaml", "for one of your own: recipe=NAME --config-dir FOLDER"),
    ],
)
def test_a_path_in_place_of_an_option_is_told_its_key(argument, said):
    with pytest.raises(ConfigError, match="there is no such option") as caught:
        check_overrides([argument])
    assert str(caught.value).endswith(said) or said in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--config", "mine.yaml"], "--config: may stand for --config-path, --config-name, --config-dir"),
        (["--config-name=mine"], "--config-name: a program has one configuration"),
        (["-cp", "here"], "-cp: a program has one configuration"),
        (["data.eval.1.limit=3"], r"The list has no such place yet: write it whole"),
        (["data.eval[0].limit=3"], r"with a dot: data\.eval\.0\.limit=3"),
    ],
)
def test_hydras_options_for_other_configurations_and_places_in_lists(arguments, said):
    with pytest.raises(ConfigError, match=said):
        check_overrides(arguments)


@pytest.mark.parametrize(
    ("argument", "key", "value"),
    [
        ("run.name=1e5", "run.name", "1e5"),
        ("run.name=12e4567", "run.name", "12e4567"),  # the beginning of a commit's name
        ("run.name=true", "run.name", "true"),
        ("run.name=1.50", "run.name", "1.50"),
        ("run.name=null", "run.name", None),
        ("run.name=007", "run.name", "007"),
        ("learner.lr=1e-5", "learner.lr", 1e-5),
        ("rollout.engine_args={block_size:16}", "rollout.engine_args", {"block_size": 16}),
        (
            "data.chat_template_kwargs={enable_thinking:false}",
            "data.chat_template_kwargs",
            {"enable_thinking": False},
        ),
    ],
)
def test_texts_stay_as_they_are_typed_and_dictionaries_take_new_keys(argument, key, value):
    found = load([argument])
    for name in key.split("."):
        found = getattr(found, name)
    assert found == value


def test_a_plus_before_an_option_that_is_there_is_to_be_left_out():
    with pytest.raises(ConfigError, match=r"already at 'advantage.options.alpha'. Leave the plus out"):
        check_overrides(["+advantage.options.alpha=3"])


@pytest.mark.parametrize(
    "argument",
    ["++steps=3", "model={path:builtin}", "~advantage", "+sweep=paper_table", "run.name=${hydra:job.name}"],
)
def test_other_forms_pass(argument):
    check_overrides([argument])


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("run.name=${oc.env:NO_SUCH_VARIABLE}", "Environment variable 'NO_SUCH_VARIABLE' not found"),
        ("run.name=${nosuch}", "Interpolation key 'nosuch' not found"),
        ("data.train.path=${oc.env:NO_SUCH_VARIABLE}/x", "'NO_SUCH_VARIABLE' not found"),
        ("model.path=${model.path}", "Recursive interpolation detected"),
        ("learner.lr=${oc.decode:1e-5}", "`oc.decode` can only take strings"),
        ("model.path=???", "is left open (???), and nothing sets it; set model.path=VALUE"),
        ("run.name=???", "is left open (???)"),
    ],
)
def test_what_stands_for_nothing_is_named_with_its_key(argument, said):
    with pytest.raises(ConfigError) as caught:
        check_overrides([argument])
    assert str(caught.value).startswith(f"{argument.partition('=')[0]}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--resolve"], "--resolve: says how --cfg prints"),
        (["--package", "x"], "--package: says how --cfg prints"),
        (["--shell-completion"], "use `rlvr completion bash`"),
    ],
)
def test_options_of_hydra_that_do_nothing_here(arguments, said):
    with pytest.raises(ConfigError, match=said):
        check_overrides(arguments)
    check_overrides(["--cfg", "job", "--resolve"])


@pytest.mark.parametrize("argument", ["data.train=[]", "data.train=[ ]"])
def test_training_on_no_source_is_refused(argument):
    with pytest.raises(ConfigError, match="names no source to train on"):
        several_sources([argument])


def test_a_port_that_there_is_none_of(tmp_path):
    with pytest.raises(ConfigError, match="port=99999: there is none above 65535"):
        parse([str(tmp_path), "port=99999"])


def test_a_sweep_into_a_folder_that_stands_for_nothing():
    with pytest.raises(ConfigError, match=r"hydra\.sweep\.dir: .*'nosuch' not found"):
        plan_sweep(["-m", "hydra.sweep.dir=${nosuch}", "seed=1,2"], "rlvr.train")


@pytest.mark.slow
def test_a_program_says_it_without_a_traceback(tmp_path):
    # No composing beforehand where recipes of one's own may be meant.
    done = forked(lambda: main(["plan", "run.name=${nosuch}", "--config-dir", str(tmp_path)]))
    assert done.returncode == 1
    assert "ConfigError: run.name: what its ${...} stands for cannot be read" in done.stderr
    assert "Traceback" not in done.stderr
