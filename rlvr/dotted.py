"""One syntax for what users bring along, `package.module:attribute`, beside the names of our own tables. Pure."""

from __future__ import annotations

import difflib
import importlib
import inspect
import logging
from collections.abc import Mapping
from typing import Any

from rlvr.errors import ConfigError

log = logging.getLogger(__name__)
_noted: set[str] = set()  # old forms that this process has spoken of


def is_dotted(name: str) -> bool:
    """Whether a value names something to import rather than one of our own."""
    return ":" in name or "." in name


def find_named(name: str, table: Mapping[str, Any], key: str) -> Any:
    """What a key names: an entry of our own table, or `package.module:attribute` of the user's.

    Raises:
        ConfigError: neither; the message starts with `key`.
    """
    if name in table:
        return table[name]
    if is_dotted(name):
        return load_dotted(name, key)
    raise ConfigError(
        f"{key}={name}: unknown; use one of {', '.join(table)} or package.module:attribute of your own"
    )


def require_function(found: object, name: str, key: str, arguments: tuple[str, ...]) -> None:
    """Refuse what a key names where it is no function of these arguments.

    Raises:
        ConfigError: it cannot be called, or not with so many arguments.
    """
    if not callable(found):
        raise ConfigError(
            f"{key}={name}: it is {type(found).__name__}, which cannot be called; expected a function "
            f"({', '.join(arguments)})"
        )
    try:
        inspect.signature(found).bind(*arguments)
    except TypeError as error:
        raise ConfigError(
            f"{key}={name}: it must take {len(arguments)} arguments, ({', '.join(arguments)}): {error}"
        ) from error
    except ValueError:
        pass  # some built-in functions have no signature to look at


def require_record(found: object, name: str, key: str, record: type) -> None:
    """Refuse what a key names where it is not of the class that the key takes.

    Raises:
        ConfigError: it is something else.
    """
    if not isinstance(found, record):
        raise ConfigError(
            f"{key}={name}: it is {type(found).__name__}; expected {record.__module__}.{record.__qualname__}"
        )


def split_dotted(path: str) -> tuple[str, str]:
    """Module and attribute of `package.module:attribute` or `package.module.attribute`; a part may be empty."""
    if ":" in path:
        module, _, attribute = path.partition(":")
    else:
        module, _, attribute = path.rpartition(".")
    return module, attribute


def load_dotted(path: str, key: str) -> Any:
    """Import `package.module:attribute`; `package.module.attribute` goes on working, with a note on how to write it.

    Raises:
        ConfigError: the module cannot be imported or has no such attribute; the message starts with `key`.
    """
    module_name, attribute = split_dotted(path)
    if not module_name or not attribute:
        raise ConfigError(f"{key}={path}: cannot be imported; expected package.module:attribute")
    if ":" not in path and path not in _noted:
        _noted.add(path)
        log.warning(
            "%s=%s: write it as %s:%s, as all such keys are written now", key, path, module_name, attribute
        )
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever a user's module does while it is imported
        raise ConfigError(
            f"{key}={path}: cannot be imported ({type(error).__name__}: {error}). The module {module_name} must be "
            "importable: installed, on PYTHONPATH, or in the folder you start from."
        ) from error
    value: Any = module
    for name in attribute.split("."):
        try:
            value = getattr(value, name)
        except AttributeError as error:
            near = difflib.get_close_matches(name, dir(value), n=3)
            hint = (
                f"did you mean {' or '.join(near)}?"
                if near
                else f"looked in {getattr(module, '__file__', module)}."
            )
            raise ConfigError(
                f"{key}={path}: cannot be imported: {module_name} has no {attribute}; {hint}"
            ) from error
    return value
