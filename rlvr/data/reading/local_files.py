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
# Each split by its own name and by those that people give it in the names of files and folders.
SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
# Rows as well, but none that are read: a folder with such a file is not read whole.
NOT_READ = re.compile(r"\.(?:(?:jsonl?|csv|parquet|arrow)\.(?:gz|zst|bz2|xz|zip)|tsv|ndjson)$", re.IGNORECASE)


def suffix_of(file: Path) -> str:
    """The suffix by which a data file is read; empty where there is none."""
    return next((suffix for suffix in SUFFIXES if file.name.lower().endswith(suffix)), "")


def is_of(split: str, file: Path) -> bool:
    """Whether a file, by its path within a data set, is of a split: test.csv, x-test-0-of-2.arrow, test/0.json."""
    name = _stem(file)
    return name.startswith(split) or _ends_in(re.escape(split), name) or split in file.parts[:-1]


def split_of(file: Path) -> str | None:
    """The split that a file, by its path within a data set, is of by a usual name of it; None where none is told."""
    name = _stem(file)
    for split, words in SPLITS.items():
        one = "|".join(words)
        if re.match(rf"(?:{one})(?![a-z])", name) or _ends_in(one, name):
            return split
        if not {*words}.isdisjoint(file.parts[:-1]):
            return split
    return None


def _stem(file: Path) -> str:
    return file.name[: len(file.name) - len(suffix_of(file))]


def _ends_in(words: str, name: str) -> bool:
    """Whether one of these words, of a pattern, is the last of a name, before the number of a shard."""
    return re.search(rf"[-_.](?:{words})(?:-\d+-of-\d+)?$", name) is not None


def _told(file: Path) -> list[str]:
    """The splits that a file is of by their own names, then by another usual one."""
    own, usual = [name for name in SPLITS if is_of(name, file)], split_of(file)
    return own if usual is None or usual in own else [*own, usual]


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
            raise DataError(
                f"data file {path} ends in {path.suffix!r}; expected {KINDS}{_remedy_of_name(path)}"
            )
        alone = Path(path.name)
        own = next(iter(_told(alone)), "train")
        if split is not None and split != own and not is_of(split, alone):
            raise DataError(
                f"data file {path} is the split {own!r}, as files are named, not {split!r}; leave the source's split "
                "out to read the whole file, or set its path to another one"
            )
        return [path]
    return _in_folder(path, split)


def _remedy_of_name(path: Path) -> str:
    """What to do with rows in a file of a kind that is not read; empty where it is not known to hold rows."""
    if NOT_READ.search(path.name) is None:
        return ""
    ways = {".tsv": "write it with commas, as .csv", ".ndjson": "rename it to .jsonl"}
    return f"; {ways.get(path.suffix.lower(), 'unpack it')}"


def _in_folder(path: Path, split: str | None) -> list[Path]:
    inside = sorted(file.relative_to(path) for file in path.rglob("*") if file.is_file())
    # Hidden ones are copies of editors, notebooks and systems, and what the hub's programs note of a download.
    seen = [file for file in inside if not any(part.startswith(".") for part in file.parts)]
    files = [
        file
        for file in seen
        if suffix_of(file)
        and file.name not in ABOUT
        and not (file.suffix == ".arrow" and file.name.startswith(CACHED))
    ]
    left_out = [file for file in seen if NOT_READ.search(file.name) and not suffix_of(file)]
    if split is not None:
        files, left_out = _of_split(split, files), _of_split(split, left_out)
    if left_out:
        raise DataError(
            f"data folder {path} holds {left_out[0]}, which is not read; expected {KINDS}"
            f"{_remedy_of_name(left_out[0])}, or take it out of the folder"
        )
    splits = {name for file in files for name in _told(file)}
    if len(splits) > 1 and split is None:
        raise DataError(
            f"data folder {path} holds the splits {', '.join(sorted(splits))}; set the source's split"
        )
    if not files:
        wanted = f" of the split {split!r}, by the names of files and folders" if split else ""
        raise DataError(f"data folder {path} holds no {KINDS} files{wanted}")
    return [path / file for file in files]


def _of_split(split: str, files: list[Path]) -> list[Path]:
    """The files that bear the name of a split; where none does, those with another usual name of it."""
    named = [file for file in files if is_of(split, _without_packing(file))]
    return named or [file for file in files if split_of(_without_packing(file)) == split]


def _without_packing(file: Path) -> Path:
    """The path of a file that is not read as if it were, so that its name can tell its split."""
    return file if suffix_of(file) else file.with_name(NOT_READ.sub(".jsonl", file.name))
