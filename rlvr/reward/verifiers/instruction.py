"""The verifier of instructions that a program can check (IFEval, arXiv 2311.07911): `reward.verifier=instruction`.

A row says what its response has to keep to, in the column `constraints` (or as the option `column` says), as a list:

    [{"id": "length_constraints:number_words", "num_words": 5, "relation": "at least"}, ...]

IFEval's own rows (columns `instruction_id_list` and `kwargs`) are read as they are, and a row with neither has the list
as its answer. The score is the share of constraints that the response keeps to; all of them make it correct. The ids
are those of `rlvr.reward.verifiers.constraints.CONSTRAINTS`, and `package.module:function` of your own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from rlvr.errors import DataError
from rlvr.reward.example import Example, row_error
from rlvr.reward.verdict import Outcome, Verdict
from rlvr.reward.verifiers.constraints import build_constraint

COLUMN = "constraints"
_IDS, _ARGUMENTS = "instruction_id_list", "kwargs"


def instruction(example: Example, response: str, *, column: str = COLUMN) -> Verdict:
    """Check the response against the constraints of the row.

    Raises:
        DataError: the row's constraints cannot be read; it names source and row.
    """
    constraints = read_constraints(example, column)
    if not response.strip():
        return Verdict("", Outcome.NO_ANSWER, None, None, 0.0, "the response is empty")
    broken = []
    for name, check in constraints:
        try:
            kept = check(response)
        except (
            Exception
        ) as error:  # arguments of the row that the check cannot use, a broken pattern for example
            raise row_error(example, f"constraint {name!r} cannot be checked: {error}") from error
        if not kept:
            broken.append(name)
    share = 1 - len(broken) / len(constraints)
    detail = f"not kept: {', '.join(broken)}" if broken else ""
    outcome = Outcome.WRONG if broken else Outcome.CORRECT
    return Verdict("", outcome, response.strip(), None, 0.0, detail, score=share)


def read_constraints(example: Example, column: str = COLUMN) -> list[tuple[str, Callable[[str], bool]]]:
    """(id, check) of each constraint of a row, at least one.

    Raises:
        DataError: there is none, or one cannot be read.
    """
    if column in example:
        given = example[column]
    elif column != COLUMN:
        given = example[column]  # which says that there is no such column
    elif _IDS in example:
        given = {_IDS: example[_IDS], _ARGUMENTS: example.get(_ARGUMENTS)}
    else:
        given = example.answer
    pairs = _pairs(example, _read(example, given))
    try:
        return [(name, build_constraint(name, arguments)) for name, arguments in pairs]
    except DataError as error:
        raise row_error(example, str(error)) from error


def _read(example: Example, given: Any) -> Any:
    """The value that a text is the JSON of; anything else as it is."""
    if not isinstance(given, str):
        return given
    try:
        return json.loads(given)
    except (ValueError, RecursionError) as error:
        raise row_error(example, f"{given[:60]!r} is no JSON list of constraints: {error}") from error


def _pairs(example: Example, given: Any) -> list[tuple[str, Mapping[str, Any]]]:
    if isinstance(given, Mapping) and _IDS in given:
        given = _paired(example, _read(example, given[_IDS]), _read(example, given.get(_ARGUMENTS)))
    elif isinstance(given, Mapping):
        given = [given]
    if not isinstance(given, list) or not given:
        raise row_error(example, f"no constraints: {str(given)[:60]!r}")
    for one in given:
        if not isinstance(one, Mapping) or not isinstance(one.get("id"), str):
            raise row_error(example, f"a constraint is {str(one)[:60]!r}: expected {{'id': ..., arguments}}")
    return [(one["id"], {name: value for name, value in one.items() if name != "id"}) for one in given]


def _paired(example: Example, names: Any, arguments: Any) -> list[dict[str, Any]]:
    """IFEval's two columns as a list of constraints."""
    arguments = [{}] * len(names) if arguments is None and isinstance(names, list) else arguments
    if not isinstance(names, list) or not isinstance(arguments, list):
        raise row_error(
            example,
            f"{_IDS} is {str(names)[:60]!r} and {_ARGUMENTS} {str(arguments)[:60]!r}: expected two lists",
        )
    if len(names) != len(arguments):
        raise row_error(example, f"{len(names)} entries of {_IDS}, but {len(arguments)} of {_ARGUMENTS}")
    each = [_read(example, one) or {} for one in arguments]
    for one in each:
        if not isinstance(one, Mapping):
            raise row_error(example, f"an entry of {_ARGUMENTS} is {str(one)[:60]!r}: expected an object")
    return [{**one, "id": name} for name, one in zip(names, each, strict=True)]
