"""What a file is that is not what its name says, told by its first bytes. Pure but for reading them."""

from __future__ import annotations

from pathlib import Path

FIRST_BYTES = 64
DOWNLOAD = "a web page: the download has failed, or needs a login; download the file itself"
# How a file begins, what it is, and the suffix that such a file should have: under that it is what it says.
KNOWN = (
    (b"version https://git-lfs", "a pointer of Git LFS in place of the file; fetch it: git lfs pull", None),
    (b"<!doctype html", DOWNLOAD, None),
    (b"<html", DOWNLOAD, None),
    (b"\xff\xfe", "text in UTF-16; write it in UTF-8", None),
    (b"\xfe\xff", "text in UTF-16; write it in UTF-8", None),
    (b"pk\x03\x04", "a zip archive; unpack it", None),
    (b"\x1f\x8b", "packed by gzip; unpack it, or call lines of JSON .jsonl.gz", ".gz"),
    (b"(\xb5/\xfd", "packed by zstd; unpack it", None),
    (b"bzh", "packed by bzip2; unpack it", None),
    (b"\xfd7zxz", "packed by xz; unpack it", None),
    (b"par1", "a parquet file; give it the suffix .parquet", ".parquet"),
    (b"arrow1", "an arrow file; give it the suffix .arrow", ".arrow"),
)


def what_instead(file: Path) -> str | None:
    """What a file is, and what to do; None where nothing is known against it.

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as opened:
        first = opened.read(FIRST_BYTES).lstrip(b" \r\n\t").lower()
    return next(
        (said for begins, said, own in KNOWN if first.startswith(begins) and file.suffix.lower() != own), None
    )
