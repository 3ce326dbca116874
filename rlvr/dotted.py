"""One syntax for what users bring along: `package.module:attribute`. Pure."""

from __future__ import annotations

import difflib
import importlib
import logging
from typing import Any

from rlvr.errors import ConfigError

log = logging.getLogger(__name__)
_noted: set[str] = set()  # old forms that this process has spoken of


def is_dotted(name: str) -> bool:
    """Whether a value names something to import rather than one of our own."""
    return ":" in name or "." in name


def load_dotted(path: str, key: str) -> Any:
    """Import `package.module:attribute`; `package.module.attribute` goes on working, with a note on how to write it.

    Raises:
        ConfigError: the module cannot be imported or has no such attribute; the message starts with `key`.
    """
    module_name, colon, attribute = path.partition(":")
    if not colon:
        module_name, _, attribute = path.rpartition(".")
        if module_name and attribute and path not in _noted:
            _noted.add(path)
            log.warning(
                "%s=%s: write it as %s:%s, as all such keys are written now",
                key,
                path,
                module_name,
                attribute,
            )
    if not module_name or not attribute:
        raise ConfigError(f"{key}={path}: cannot be imported; expected package.module:attribute")
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
