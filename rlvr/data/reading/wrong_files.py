"""What a file is that is not what its name says, told by its first bytes. Pure but for reading them."""

from __future__ import annotations

from pathlib import Path

FIRST_BYTES = 64
KNOWN = (
    (b"version https://git-lfs", "a pointer of Git LFS in place of the file; fetch it: git lfs pull"),
    (b"<!doctype html", "a web page: the download has failed, or needs a login; download the file itself"),
    (b"<html", "a web page: the download has failed, or needs a login; download the file itself"),
    (b"\xff\xfe", "text in UTF-16; write it in UTF-8"),
    (b"\xfe\xff", "text in UTF-16; write it in UTF-8"),
    (b"pk\x03\x04", "a zip archive; unpack it"),
)


def what_instead(file: Path) -> str | None:
    """What a file is, and what to do; None where nothing is known against it.

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as opened:
        first = opened.read(FIRST_BYTES).lstrip(b" \r\n\t").lower()
    return next((said for begins, said in KNOWN if first.startswith(begins)), None)
