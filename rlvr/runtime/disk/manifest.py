"""The list of a folder's files by which a cut or damaged one is known: `manifest.json`.

Small files are digested whole, large ones by their first and last MiB: a file cut short, emptied or missing is found
in the time that it takes to open it, also where the weights are hundreds of GB.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from pathlib import Path

from rlvr.runtime.disk.files import write_atomically

NAME = "manifest.json"
WHOLE_BYTES = 64 << 20
END_BYTES = 1 << 20


def write_manifest(folder: Path) -> None:
    """List all files below the folder.

    Raises:
        OSError: one cannot be read, or the list not written.
    """
    files = {str(p.relative_to(folder)): p for p in sorted(folder.rglob("*")) if p.is_file()}
    listed = {name: {"bytes": p.stat().st_size, "blake2b": _digest(p)} for name, p in files.items()}
    write_atomically(folder / NAME, json.dumps(listed, indent=1) + "\n")


def damage(folder: Path) -> str:
    """What is wrong with the files that the manifest lists; empty if nothing is, or if there is none."""
    try:
        content = (folder / NAME).read_bytes()
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{NAME}: {error}"
    try:
        listed = {
            str(name): (int(row["bytes"]), str(row["blake2b"]))
            for name, row in json.loads(content.decode()).items()
        }
    except (ValueError, TypeError, KeyError, AttributeError):  # a file on disk may have been damaged
        return f"{NAME} is damaged"
    return "; ".join(
        found for name, (size, digest) in listed.items() if (found := _wrong(folder, name, size, digest))
    )


def _wrong(folder: Path, name: str, size: int, digest: str) -> str:
    path = folder / name
    try:
        if not path.is_file():
            return f"{name} is missing"
        if (now := path.stat().st_size) != size:
            return f"{name} has {now} bytes, was written with {size}"
        return "" if _digest(path) == digest else f"{name} holds other content than was written"
    except OSError as error:
        return f"{name}: {error}"


def _digest(path: Path) -> str:
    size = path.stat().st_size
    digest = blake2b(digest_size=16)
    with path.open("rb") as file:
        if size <= WHOLE_BYTES:
            while block := file.read(END_BYTES):
                digest.update(block)
        else:
            digest.update(file.read(END_BYTES))
            file.seek(size - END_BYTES)
            digest.update(file.read())
    return digest.hexdigest()
