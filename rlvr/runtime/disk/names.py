"""Names that a user chooses, as names of files and folders."""

from __future__ import annotations

import os
import re
from hashlib import blake2b
from pathlib import Path

from rlvr.config import Config
from rlvr.errors import ConfigError

LATEST = "latest"  # the link to the newest run
MOST_BYTES = 255  # of a name, on the usual file systems
SET_BYTES = 180  # of the part of a file's name that stands for a set: more comes before and after it


def file_name(name: str) -> str:
    """The name of a data set as a part of a file's name; two names have two.

    Letters of any alphabet, digits, and the characters `_`, `.` and `-` stay; others are percent-encoded.
    """
    safe = re.sub(r"[^\w.-]", lambda found: "".join(f"%{byte:02X}" for byte in os.fsencode(found[0])), name)
    if len(os.fsencode(safe)) <= SET_BYTES:
        return safe
    return f"{safe[: SET_BYTES // 6]}%{blake2b(os.fsencode(name), digest_size=12).hexdigest()}"


def behind_latest(path: str) -> str:
    """The path with the run's own name in place of a link `latest` to it: the next run moves the link to itself."""
    if LATEST not in (parts := Path(path).parts):
        return path
    found = Path()
    for part in Path(os.path.expanduser(path)).parts if parts[0].startswith("~") else parts:
        link = found / part
        found = found / os.readlink(link) if part == LATEST and link.is_symlink() else link
    return str(found)


def named_as_latest(cfg: Config) -> dict[str, tuple[str, str]]:
    """The keys of a run that name the newest one as `latest`, each with its path and that by the run's own name."""
    given = {
        "model.path": cfg.model.path,
        "model.base_path": cfg.model.base_path,
        "rollout.replay": cfg.rollout.replay,
        "run.resume": cfg.run.resume,
    }
    found = {key: behind_latest(path) for key, path in given.items() if path is not None}
    return {key: (str(given[key]), path) for key, path in found.items() if path != given[key]}


def may_have_meant(path: str, recorded: str) -> bool:
    """Whether a path by way of `latest` was that of `recorded` when another run was the newest."""
    asked, found = Path(os.path.expanduser(path)).parts, Path(recorded).parts
    same = (one in (LATEST, other) for one, other in zip(asked, found, strict=False))
    return len(asked) == len(found) and all(same)


def check_no_variable(text: str, key: str, path: Path) -> None:
    """Refuse a setting with a variable of the shell where `path` is no folder yet: it would be made by that name.

    Raises:
        ConfigError: names the variable.
    """
    if (found := re.search(r"\$\{?(\w+)\}?", text)) and not path.exists():
        raise ConfigError(
            f"{key}={text}: {found[0]} stands for itself where no shell reads it; write ${{oc.env:{found[1]}}}, or the "
            "value"
        )


def check_run_name(name: str, root: Path) -> None:
    """Refuse a run.name that no folder of runs can have a folder of.

    Raises:
        ConfigError: says why, and which name to give instead.
    """
    parts = [part for part in name.split("/") if part]
    if name.startswith("/") or not parts or {".", ".."} & set(parts):
        raise ConfigError(
            f"run.name={name}: names no folder of its own in {root}. Give a name such as `mine`; run.root says where "
            "its folder is made."
        )
    if "\0" in name or any(len(os.fsencode(part)) > MOST_BYTES for part in parts):
        raise ConfigError(
            f"run.name={name[:40]!r}... ({len(name)} characters): too long for the name of a folder, or with a "
            f"character that none has; give at most {MOST_BYTES} bytes."
        )
    check_no_variable(name, "run.name", root / name)
    if LATEST in parts:
        above = parts[: parts.index(LATEST)]
        link = root.joinpath(*above, LATEST)
        newest = f", run.name={'/'.join([*above, os.readlink(link)])}" if link.is_symlink() else ""
        raise ConfigError(
            f"run.name={name}: no run can be called {LATEST}, for {link} is the link to the newest one{newest}. Give "
            "that run's own name to go on with it, or another one."
        )
