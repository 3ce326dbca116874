"""The help of every command is ours, and everything that it names exists."""

from __future__ import annotations

import re

import pytest

from rlvr.cli.commands import COMMANDS
from rlvr.cli.help import command_help, module_docstring
from rlvr.cli.main import first_comment, main, overview
from rlvr.cli.overrides.keys import key_reference
from rlvr.cli.overrides.recipe_tree import option_groups, recipes_folder
from rlvr.config import known_keys
from rlvr.dotted import load_dotted
from tests.helpers.forked import run_module

WITH_SCHEMA = [name for name, command in COMMANDS.items() if command.schema is not None]


def schema_of(name):
    return load_dotted(COMMANDS[name].schema, "schema")


def short_forms(name):
    forms = COMMANDS[name].forms
    return () if forms is None else load_dotted(forms, "forms")


def test_the_program_alone_lists_every_command(capsys):
    main([])
    said = capsys.readouterr().out
    assert said.strip() == overview()
    for name, command in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(command.summary)}$", said, re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_purpose_and_three_examples(name, capsys):
    main([name, "--help"])
    said = capsys.readouterr().out
    assert said.strip() == command_help(name).strip()
    assert f"rlvr {name}: {COMMANDS[name].summary}" in said
    assert len(COMMANDS[name].examples) == 3
    assert "Powered by Hydra" not in said


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_SCHEMA)
def test_help_shows_ten_keys_as_the_schema_has_them(name):
    said = command_help(name)
    known = {key.key: key for key in key_reference(schema_of(name))}
    assert len(COMMANDS[name].keys) == 10
    for chosen in COMMANDS[name].keys:
        key = known[chosen]
        row = rf"^  {re.escape(chosen)} +{re.escape(f'{key.type} = {key.default}')} +{re.escape(key.meaning[:12])}"
        assert re.search(row, said, re.MULTILINE), chosen
    for form in short_forms(name):
        assert form.usage in said


@pytest.mark.parametrize("name", WITH_SCHEMA)
def test_examples_name_what_exists(name):
    groups = set(option_groups(recipes_folder()))
    known = {*known_keys(schema_of(name)), *(form.name for form in short_forms(name)), *groups}
    for line, _ in COMMANDS[name].examples:
        for argument in line.split():
            key, mark, _ = argument.lstrip("+").partition("=")
            assert argument.startswith("-") or (mark and key in known), argument


def test_a_command_without_a_schema_says_its_options_itself():
    for name in set(COMMANDS) - set(WITH_SCHEMA):
        assert module_docstring(COMMANDS[name].module) in command_help(name)


@pytest.mark.parametrize("module", ["rlvr.report", "rlvr.audit_reward"])
def test_a_module_answers_with_the_same_help(module):
    done = run_module(module, "-h")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"rlvr {module.removeprefix('rlvr.').replace('_', '-')}: ")


def test_a_command_that_does_not_exist_is_named_with_the_nearest(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["evalute"])
    assert ended.value.code == 2
    assert "did you mean `rlvr evaluate`?" in capsys.readouterr().err


def test_a_title_ends_no_sentence() -> None:
    assert (
        first_comment("# Dr. GRPO: two divisions less.\n# More of it.\n") == "Dr. GRPO: two divisions less."
    )
