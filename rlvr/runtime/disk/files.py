"""Files and folders that are whole or as they were, or new, and what is put aside rather than deleted."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rlvr.errors import ConfigError
from rlvr.runtime.disk.names import check_no_variable


def path_of(text: str, key: str) -> Path:
    """The path that a setting names, `~` written out.

    Raises:
        ConfigError: it is empty, a new folder called by a variable of the shell, or begins with the home of a user
            whom this machine does not know.
    """
    if not text.strip():
        raise ConfigError(
            f"{key} is empty (a variable that is not set?); name a folder, `.` for the working folder"
        )
    check_no_variable(text, key, Path(text))
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ConfigError(
            f"{key}={text}: {text.partition('/')[0]} stands for no home folder here ({error}); write the path out"
        ) from error


def made_new(path: Path) -> Path:
    """A new folder of that name, with a number behind it where one is there, such as of a run of the same second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    target, number = path, 1
    while True:
        try:
            target.mkdir()  # of two processes one alone can
        except FileExistsError:
            number += 1
            target = path.with_name(f"{path.name}-{number}")
        else:
            return target


def place_aside(path: Path) -> Path:
    """abandoned_<name> beside a file or folder, with a number where there is one already."""
    names = (f"abandoned_{path.name}" + (f"-{n}" if n else "") for n in itertools.count())
    return next(target for name in names if not (target := path.with_name(name)).exists())


def set_aside(path: Path) -> Path:
    """Rename a file or folder to its `place_aside`."""
    target = place_aside(path)
    os.replace(path, target)
    return target


@contextmanager
def replacing(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """A file to write that takes the place of `path` when all is written, and is gone where something fails.

    A reader, or a crash, sees the old or the new content, never a part.
    """
    draft = path.with_name(f".{path.name}.draft")
    try:
        # Of any locale, for config.yaml is read as UTF-8.
        with draft.open(mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A new folder to fill, which takes the place of `path` when all is on disk; where something fails it is gone.

    What was there stays until then. A kill between the two renames leaves it as `.<name>.old`.
    """
    draft, old = path.with_name(f".{path.name}.draft"), path.with_name(f".{path.name}.old")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        yield draft
        _sync_tree(draft)
        shutil.rmtree(old, ignore_errors=True)
        if path.exists():
            os.replace(path, old)
        os.replace(draft, path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        if old.exists() and not path.exists():  # Ctrl-C between the two
            os.replace(old, path)
        shutil.rmtree(draft, ignore_errors=True)


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def write_atomically(path: Path, text: str) -> None:
    """Replace a file's content at once, see `replacing`."""
    with replacing(path) as file:
        file.write(text)
