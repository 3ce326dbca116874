"""Resolve model paths and load tokenizers that are safe to train with."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

from rlvr.data.models.model_folders import is_training_checkpoint, why_no_model, why_no_tokenizer
from rlvr.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

BUILTIN = "builtin"
HUB_NAME = re.compile(r"(\w[\w.-]*/)?\w[\w.-]*")  # name or owner/name
BUILTIN_FOLDER = Path(__file__).parents[1] / "base_model"
# The models in the package: of the first task, and of both.
BUILTIN_FOLDERS = {
    BUILTIN: BUILTIN_FOLDER,
    "builtin_two_tasks": BUILTIN_FOLDER.with_name("base_model_two_tasks"),
}


def model_folder(path: str, *, checkpoint: bool = False) -> str:
    """Return the folder of a local model, or a hub name unchanged; `BUILTIN_FOLDERS` are the models in the package.

    With `checkpoint`, that of a training run passes, too. Raises DataError for a local path that does not
    exist, and for one that is no model in Hugging Face format, with how to make it one.
    """
    folder = _found(path)
    local = Path(folder)
    passes = checkpoint and is_training_checkpoint(local)
    if local.is_dir() and not passes and (instead := why_no_model(local)) is not None:
        raise DataError(f"model {path}: {folder} is {instead}")
    return folder


def _found(path: str) -> str:
    """The folder of a local path, or a hub name unchanged. Raises DataError for a path that does not exist."""
    if (built_in := BUILTIN_FOLDERS.get(path)) is not None:
        if not (built_in / "config.json").is_file():
            raise DataError(f"the built-in model is missing from {built_in}: reinstall the package")
        return str(built_in)
    local = Path(path).expanduser()
    if path and local.is_dir():
        return str(local.absolute())  # actors may run in another folder
    if local.is_file():
        raise DataError(f"model {path}: {local.absolute()} is {why_no_model(local)}")
    first, *rest = path.split("/")
    under_a_folder = bool(rest) and Path(first).is_dir()
    if not HUB_NAME.fullmatch(path) or under_a_folder:
        raise DataError(
            f"model folder {path!r} does not exist (looked in {local.resolve()}); expected "
            f"{', '.join(map(repr, BUILTIN_FOLDERS))}, a folder in Hugging Face format, or a hub name such as "
            "Qwen/Qwen2.5-Math-1.5B"
        )
    return path


def is_local(path: str) -> bool:
    """Whether a model path needs no hub: a built-in model, or a folder that exists."""
    return path in BUILTIN_FOLDERS or Path(path).expanduser().is_dir()


def load_tokenizer(
    path: str, trust_remote_code: bool = False, chat_template: str | None = None
) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model path as `model_folder` understands it, with a padding token in any case.

    `chat_template` is the file of another chat template than its own (data.chat_template).
    A tokenizer without one pads with its end token; that is safe because padding stands on the right and is
    masked by length, never by token id. Raises DataError for a missing local path, one without a tokenizer,
    a tokenizer that cannot be loaded, and one without an end token.
    """
    from transformers import AutoTokenizer  # imports torch: keep it out of the data modules' import

    folder = _found(path)
    local = Path(folder)
    if local.is_dir() and (instead := why_no_tokenizer(local)) is not None:
        raise DataError(f"model {path}: {folder} is {instead}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except (
        Exception
    ) as error:  # whatever a user's folder holds: the libraries raise of all kinds, bare ones too
        said = " ".join(str(error).split())
        raise DataError(
            f"the tokenizer of {path!r} cannot be loaded ({type(error).__name__}: {said}); {_remedy(said, local)}"
        ) from error
    if tokenizer.eos_token_id is None:
        raise DataError(
            f"the tokenizer of {path!r} has no end token, so no response could ever end; "
            "set eos_token in its tokenizer_config.json"
        )
    tokenizer.chat_template = read_chat_template(chat_template) or tokenizer.chat_template
    _warn_if_rebuilt(tokenizer, Path(folder) / "tokenizer.json")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
        log.info(
            "the tokenizer of %s has no padding token: padding with its end token %r, masked by length",
            path,
            tokenizer.eos_token,
        )
    return tokenizer


def _remedy(said: str, folder: Path) -> str:
    """What to do about a tokenizer that cannot be loaded, by what was said of it."""
    if "trust_remote_code" in said:
        return "set model.trust_remote_code=true if you trust the code that comes with it"
    if folder.is_dir():
        return "take the tokenizer's files that belong to the model and fit the installed transformers"
    return "check the name and the network, or give a folder"


def read_chat_template(path: str | None) -> str | None:
    """The text of `data.chat_template`, if there is one.

    Raises:
        DataError: the file cannot be read.
    """
    if path is None:
        return None
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"data.chat_template={path}: cannot be read ({error}); expected a Jinja file"
        ) from error


def _warn_if_rebuilt(tokenizer: PreTrainedTokenizerBase, file: Path) -> None:
    """Warn where transformers rebuilt the tokenizer from the model's type and lost what its file says."""
    if not file.is_file():
        return
    from tokenizers import Tokenizer

    probe = r"7+3-5=? first 7+3=10 then 10-5=5 so \boxed{5}"
    written = Tokenizer.from_file(str(file)).encode(probe, add_special_tokens=False).ids
    loaded = tokenizer.encode(probe, add_special_tokens=False)
    if written != loaded:
        log.warning(
            "%s encodes %r as %s, but the tokenizer that transformers builds from it as %s, which training "
            "and generation use; tokenizer_class in tokenizer_config.json decides which class is built",
            file,
            probe,
            written,
            loaded,
        )
