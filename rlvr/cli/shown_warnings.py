"""Warnings on a console: each on one line, once, with the module that it is of."""

from __future__ import annotations

import logging


def show_warnings() -> None:
    """Have warnings printed to stderr; where somebody has set up logging already, that stays as it is."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(_is_not_printed_yet)


def _is_not_printed_yet(record: logging.LogRecord) -> bool:
    """Some libraries print what they log by themselves, and pass it on as well: huggingface_hub, datasets."""
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None and logger.parent is not None:  # the root has none
        if any(type(handler) is logging.StreamHandler for handler in logger.handlers):
            return False
        logger = logger.parent if logger.propagate else None
    return True
