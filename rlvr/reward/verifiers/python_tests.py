"""The verifier for programs: the response's code, run against the row's tests in a jail.

`reward.verifier=python_tests`, with the tests as the answer or in the column that the option `column` names. Tests are
one of

- Python with asserts (MBPP, HumanEval): text, or a list of such texts. A function `check(candidate)` in them is
  called with the program's function `entry_point`, or with the last one that it defines.
- inputs and outputs (APPS, TACO, DeepCoder): `{"inputs": [...], "outputs": [...]}`, of a script, or with `fn_name` of
  a function. A function's tuples are lists there, and `[3]` for an output also means 3: many rows wrap each result in
  a list of its own. (APPS's own tests take the first entry of any list, so that 3 would do for `[3, 4]`.) Where a
  decimal is expected, a millionth of it more or less is right.

Every test has to pass. What the program does wrong, endless loops and forbidden calls included, is a wrong answer;
tests that cannot be run are a failure.
"""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
import json
import re
import sys
import traceback
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from rlvr.reward.example import Example, row_error
from rlvr.reward.extract import final_part
from rlvr.reward.sandbox import warden
from rlvr.reward.verdict import Outcome, Verdict
from rlvr.reward.verifiers.fenced import fenced_blocks
from rlvr.reward.verifiers.outputs import as_in_json, lines, same_lines, same_value

_LANGUAGE = re.compile(r"(?:python|py)[23]?")
_SHOWN = 200  # characters of a reason
LIMITS = warden.Limits()
# What a test means by `len`, `math` or `np` is not the program's to say.
NOT_THE_PROGRAMS = frozenset(dir(builtins)) | sys.stdlib_module_names | {"np", "numpy", "pd", "pandas"}
# Modules that a test may use without importing them, as in data sets that keep their imports elsewhere.
KNOWN_MODULES = frozenset(
    [
        "bisect",
        "collections",
        "copy",
        "datetime",
        "decimal",
        "fractions",
        "functools",
        "heapq",
        "itertools",
        "json",
        "math",
        "operator",
        "random",
        "re",
        "statistics",
        "string",
        "sys",
    ]
)


class UnusableTestsError(ValueError):
    """The row's tests cannot be read or run, whatever the program is."""


@dataclass(frozen=True, slots=True)
class Suite:
    """The tests of one row: asserts as source texts, or pairs of input and output."""

    asserts: tuple[str, ...] = ()
    pairs: tuple[tuple[Any, Any], ...] = ()
    function: str | None = None  # that takes the inputs, or that `check` is called with


def python_tests(example: Example, response: str, *, column: str | None = None) -> Verdict:
    """Run the response's last program against the row's tests.

    Raises:
        DataError: the tests cannot be read or run; it names source and row.
        JailError: programs cannot be run safely on this machine.
    """
    tests = example.answer if column is None else example[column]
    try:
        return verify(tests if isinstance(tests, str) else json.dumps(tests), response)
    except UnusableTestsError as error:
        raise row_error(example, str(error)) from error


def verify(tests: str, response: str, limits: warden.Limits = LIMITS) -> Verdict:
    """Run the response's last program against the tests.

    Raises:
        UnusableTestsError: the tests cannot be read or run.
        JailError: programs cannot be run safely on this machine.
    """
    suite = read_tests(tests)
    program = last_program(response)
    if program is None:
        return Verdict("", Outcome.NO_ANSWER, None, None, 0.0, "no program in the response")
    try:
        try:
            _run(suite, program, limits)
        except warden.JailError:  # the process that makes jails has died, say: once more with another one
            _warden.cache_clear()
            _run(suite, program, limits)
    except (UnusableTestsError, warden.JailError):
        raise
    except AssertionError as error:
        return _wrong(program, f"a test does not hold: {error}")
    except Exception as error:  # the program may raise anything
        return _wrong(program, f"{type(error).__name__}: {error}")
    return Verdict("", Outcome.CORRECT, program, None, 0.0, "")


def read_tests(text: str) -> Suite:
    """The tests in a cell of a data set: source, or JSON of one of the other forms.

    Raises:
        UnusableTestsError: it is none of them, or holds no test.
    """
    try:
        content = json.loads(text, parse_int=_integer)
    except (ValueError, RecursionError):
        content = text
    if isinstance(content, dict) and "inputs" in content and "outputs" in content:
        inputs, outputs = content["inputs"], content["outputs"]
        if not (isinstance(inputs, list) and isinstance(outputs, list) and len(inputs) == len(outputs) > 0):
            raise UnusableTestsError(
                "inputs and outputs must be lists of one length, with at least one entry"
            )
        return Suite(pairs=tuple(zip(inputs, outputs, strict=True)), function=content.get("fn_name"))
    function = None
    if isinstance(content, dict):
        function = content.get("entry_point")
        content = content.get("tests", content.get("test", content.get("test_list")))
    parts = [content] if isinstance(content, str) else content
    if not isinstance(parts, list) or not parts or not all(isinstance(part, str) for part in parts):
        raise UnusableTestsError(
            "expected Python with asserts, a list of such texts, or {'inputs': [...], 'outputs': [...]}; the cell "
            f"begins with {text[:60]!r}"
        )
    for part in parts:
        try:
            tree = ast.parse(part)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise UnusableTestsError(f"a test is no Python: {error}; it begins with {part[:60]!r}") from error
        if not any(isinstance(node, ast.Assert | ast.Raise) for node in ast.walk(tree)):
            raise UnusableTestsError(
                f"a test without an assert passes whatever the program does: {part[:60]!r}"
            )
    return Suite(asserts=tuple(parts), function=function)


def last_program(response: str) -> str | None:
    """The last block of Python in a response, or all of it where that is a program; None without one.

    What precedes the last `</think>` does not count. A block without a language counts where it is
    a program; what a program prints is often shown in such a block.
    """
    response = final_part(response)
    blocks = [block for block in fenced_blocks(response) if block.content.strip()]
    marked = [block for block in blocks if not block.language or _LANGUAGE.fullmatch(block.language)]
    if marked:
        programs = [block for block in marked if block.language or _is_program(block.content)]
        return (programs or marked)[-1].content
    return response if _is_program(response) else None


def _is_program(text: str) -> bool:
    """Whether a text is Python that does something, other than a word or a number."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    kinds = (
        ast.FunctionDef,
        ast.ClassDef,
        ast.Import,
        ast.ImportFrom,
        ast.Assign,
        ast.For,
        ast.While,
        ast.Call,
    )
    return any(isinstance(node, kinds) for node in ast.walk(tree))


@functools.cache
def _warden() -> warden.Warden:
    return warden.Warden()  # ends with the grading process


def _run(suite: Suite, program: str, limits: warden.Limits) -> None:
    if suite.pairs and suite.function is None:
        for given, expected in suite.pairs:
            with _warden().program(limits) as cell:
                written = lines(cell.script(program, _text(given)))
                limits = replace(limits, seconds=cell.time.left)
            if not same_lines(written, lines(_text(expected))):
                raise AssertionError(f"on {_text(given)[:60]!r} it writes {' / '.join(written)[:60]!r}")
        return
    with _warden().program(limits) as cell:
        own = defined(program)
        names = [name for name in cell.load(program) if name in own]
        if suite.pairs:
            function = _function(cell, names, suite.function)
            for arguments, expected in suite.pairs:
                found = as_in_json(function(*arguments))
                wrapped = isinstance(expected, list) and len(expected) == 1 and same_value(found, expected[0])
                if not (wrapped or same_value(found, expected)):
                    raise AssertionError(f"of {_shown(arguments)} it makes {_shown(found)}")
        for test in suite.asserts:
            _run_asserts(test, cell, names, suite.function)


def defined(program: str) -> frozenset[str]:
    """The functions and classes that a program defines at its top, by names that mean nothing else to a test."""
    found = set()
    for node in ast.parse(program).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda | ast.Name | ast.Attribute):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return frozenset(found) - NOT_THE_PROGRAMS


def _run_asserts(test: str, cell: warden.Cell, names: list[str], entry_point: str | None) -> None:
    used = {node.id for node in ast.walk(ast.parse(test)) if isinstance(node, ast.Name)}
    scope: dict[str, Any] = {name: cell.name(name) for name in names if name in used}
    scope |= {name: importlib.import_module(name) for name in used & KNOWN_MODULES}
    if entry_point is not None:
        scope[entry_point] = _function(cell, names, entry_point)
    scope |= {"__name__": "tests", "__builtins__": builtins}
    try:
        exec(compile(test, "<tests>", "exec", optimize=0), scope)  # an assert is one, also under python -O
        if callable(check := scope.get("check")) and not isinstance(check, warden.Remote):
            check(_function(cell, names, entry_point))
    except TypeError as error:
        if "cannot be handed to a program in a jail" in str(error):
            raise UnusableTestsError(f"{error}; the test begins with {test[:60]!r}") from error
        raise
    except AssertionError as error:
        if str(error):
            raise
        raise AssertionError(_failed_line(test, error)) from error


def _failed_line(test: str, error: AssertionError) -> str:
    """The line of the test at which it failed: an assert without a message says nothing by itself."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<tests>"]
    number = frames[-1].lineno if frames else None
    return "" if number is None else test.splitlines()[number - 1].strip()


def _function(cell: warden.Cell, names: list[str], wanted: str | None) -> Any:
    """The program's function of this name, also as a method of the class Solution; without a name the last one."""
    if wanted is None and names:
        return cell.name(names[-1])
    if wanted in names:
        return cell.name(str(wanted))
    if wanted is not None and "Solution" in names:
        return getattr(cell.name("Solution")(), wanted)
    raise AssertionError(f"the program defines no {wanted or 'function'}")


def _integer(digits: str) -> int:
    """An integer of any length; `int` alone refuses those of more than 4300 digits."""
    return int(digits) if len(digits) < 4000 else int(Decimal(digits))


def _shown(value: Any) -> str:
    try:
        return str(value)[:60]
    except ValueError:  # Python refuses to write integers of more than 4300 digits
        return "an integer too long to show"


def _text(value: Any) -> str:
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


def _wrong(program: str, reason: str) -> Verdict:
    return Verdict("", Outcome.WRONG, program, None, 0.0, reason[:_SHOWN])
