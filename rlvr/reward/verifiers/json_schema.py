"""The verifier of JSON: `reward.verifier=json_schema`, the response has to be JSON that a schema allows.

The schema (json-schema.org, any draft that the library jsonschema knows) stands in the column `schema`, in the one that
the option `column` names, or in a row without such a column in its answer; as an object or as text. The JSON is the
response, what follows its last `</think>`, or the last fenced block in it that is marked as JSON or as nothing.
References to other documents are refused.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from rlvr.reward.example import Example, row_error
from rlvr.reward.extract import final_part
from rlvr.reward.verdict import Outcome, Verdict
from rlvr.reward.verifiers.fenced import fenced_blocks

COLUMN = "schema"
_LANGUAGES = ("", "json")


def json_schema(example: Example, response: str, *, column: str = COLUMN) -> Verdict:
    """Check the response's JSON against the row's schema.

    Raises:
        DataError: the row has no schema, or one that is none.
    """
    from jsonschema.exceptions import SchemaError, best_match

    given = example[column] if column != COLUMN or column in example else example.answer
    try:
        validator = _validator(given if isinstance(given, str) else json.dumps(given))
    except SchemaError as error:
        raise row_error(
            example, f"its schema is none: {error.message[:200]}; mend it, or name the column of schemas"
        ) from error
    except ValueError as error:
        raise row_error(example, f"its schema {str(given)[:60]!r} cannot be read: {error}") from error
    text = final_part(response).strip().lstrip("\ufeff")
    blocks = [block.content for block in fenced_blocks(text) if block.language in _LANGUAGES]
    text = blocks[-1].strip() if blocks else text
    try:
        value = _read(text)
    except (ValueError, RecursionError) as error:
        return Verdict("", Outcome.NO_ANSWER, None, None, 0.0, f"no JSON in the response: {str(error)[:200]}")
    try:
        broken = best_match(validator.iter_errors(value))
    except Exception as problem:  # a reference that leads nowhere, a pattern that is none: the schema's fault
        raise row_error(example, f"its schema cannot be used: {str(problem)[:200]}") from problem
    if broken is None:
        return Verdict("", Outcome.CORRECT, text, None, 0.0)
    return Verdict("", Outcome.WRONG, text, None, 0.0, f"{broken.json_path}: {broken.message[:200]}")


@lru_cache(maxsize=256)
def _validator(text: str) -> Any:
    import jsonschema
    from referencing import Registry

    schema = json.loads(text)
    if not isinstance(schema, dict | bool):
        raise ValueError("a schema is an object")
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    kind.check_schema(schema)
    # An empty registry: the default one fetches what a reference names from the network.
    return kind(schema, registry=Registry())


def _read(text: str) -> Any:
    """The text as JSON; NaN and infinities, which Python would take, are none."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)
