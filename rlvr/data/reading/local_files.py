"""Which files of a path hold the rows of a data set, and of which split each is, by the names of files and folders."""

from __future__ import annotations

import re
from pathlib import Path

from rlvr.errors import DataError

SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".parquet", ".arrow", ".csv")
KINDS = ", ".join(SUFFIXES)
# Files beside the rows of a data set: what the `datasets` library writes about them.
ABOUT = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
CACHED = ("cache-", "indices-")  # what that library leaves of its own work beside a saved data set
SPLITS = ("train", "validation", "test")
HELD_OUT = ("valid", "val", "dev", "eval", "evaluation")  # names of held-out splits, too, as whole words


def suffix_of(file: Path) -> str:
    """The suffix by which a data file is read; empty where there is none."""
    return next((suffix for suffix in SUFFIXES if file.name.lower().endswith(suffix)), "")


def is_of(split: str, file: Path) -> bool:
    """Whether a file, by its path within a data set, is of a split: test.csv, x-test-0-of-2.arrow, test/0.json."""
    return _stem(file).startswith(split) or _is_whole_word(split, file)


def splits_of(file: Path) -> list[str]:
    """The usual names of splits that a file, by its path within a data set, is of."""
    usual = [name for name in SPLITS if is_of(name, file)]
    return usual or [name for name in HELD_OUT if _is_whole_word(name, file)]


def _stem(file: Path) -> str:
    return file.name[: len(file.name) - len(suffix_of(file))]


def _is_whole_word(split: str, file: Path) -> bool:
    """Whether a split is the first or last word of a file's name, or a folder that it lies in."""
    word = rf"^{re.escape(split)}(?=[-_.]|$)|[-_.]{re.escape(split)}(?:-\d+-of-\d+)?$"
    return split in file.parts[:-1] or re.search(word, _stem(file)) is not None


def _hint(path: Path) -> str:
    if re.match(r"[a-z]\w*:/", str(path)):
        return (
            ", no address: download it first, or leave the path out and give owner/name as the source's name"
        )
    if re.search(r"[*?\[,]", str(path)):
        return ". Patterns and lists are not read: give the folder, or a source for each file"
    return ""


def local_files(path: Path, split: str | None) -> list[Path]:
    """A file, or a folder's files of a split in the order of their names.

    Raises:
        DataError: the path does not exist, holds no data file or those of several splits, or is of another split.
    """
    if not path.exists():
        raise DataError(
            f"data path {path} does not exist; expected a {KINDS} file or a folder of them{_hint(path)}"
        )
    if path.is_file():
        if not suffix_of(path):
            raise DataError(f"data file {path} ends in {path.suffix!r}; expected {KINDS}")
        alone = Path(path.name)
        own = next(iter(splits_of(alone)), SPLITS[0])
        if split is not None and split != own and not is_of(split, alone):
            raise DataError(
                f"data file {path} is the split {own!r}, as files are named, not {split!r}; leave the source's split "
                "out to read the whole file, or set its path to another one"
            )
        return [path]
    return _in_folder(path, split)


def _in_folder(path: Path, split: str | None) -> list[Path]:
    found = sorted(file.relative_to(path) for file in path.rglob("*") if suffix_of(file) and file.is_file())
    # Hidden ones are copies of editors, notebooks and systems, and what the hub's programs note of a download.
    files = [
        file
        for file in found
        if not any(part.startswith(".") for part in file.parts)
        and file.name not in ABOUT
        and not (file.suffix == ".arrow" and file.name.startswith(CACHED))
    ]
    if split is not None:
        files = [file for file in files if is_of(split, file)]
    splits = {name for file in files for name in splits_of(file)}
    if len(splits) > 1 and split is None:
        raise DataError(
            f"data folder {path} holds the splits {', '.join(sorted(splits))}; set the source's split"
        )
    if not files:
        wanted = f" of the split {split!r}, by the names of files and folders" if split else ""
        raise DataError(f"data folder {path} holds no {KINDS} files{wanted}")
    return [path / file for file in files]
