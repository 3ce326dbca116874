"""Where did the policy move from its base? `python -m rlvr.analyze run=runs/latest`, or for any two models

    python -m rlvr.analyze base=Qwen/Qwen2.5-1.5B policy=my/policy data=aime24 n=32 output=out

Scores both models on responses of the policy and of the base, writes a token table and summary tables:

    run=FOLDER       base, policy, checkpoints, responses and output of a training run
    base=PATH        model.base_path; a folder, a hub name, or builtin
    policy=PATH      model.path; also a checkpoint of a training run
    checkpoints=A,B  earlier policies, oldest first, scored on the same responses
    responses=FILES  the policy's responses, as a run's samples/*.jsonl; base_responses=FILES the base's
    data=A,B n=32    where there are none: problems and samples per problem to generate from, as in rlvr.evaluate

All keys: rlvr/analysis/config.py. Interrupted? The same command goes on where it stopped.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import hydra
import pyarrow.parquet as pq
import torch
from omegaconf import DictConfig, OmegaConf
from transformers import AutoConfig, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from rlvr.analysis.arguments import HYDRA_QUIET, NAME, check_arguments, expand_arguments
from rlvr.analysis.config import AnalyzeConfig, validate_analysis
from rlvr.analysis.shift.causal_lm import check_same_tokens
from rlvr.analysis.shift.columns import FORMAT_VERSION
from rlvr.analysis.shift.generate import generate
from rlvr.analysis.shift.inputs import PolicyToScore, identity, policies
from rlvr.analysis.shift.parts import TokenTexts, write_parts
from rlvr.analysis.shift.report import Progress, analysis_json, describe, headline_lines
from rlvr.analysis.shift.responses import IndexSummary, build_index, response_files
from rlvr.analysis.shift.storage import claim, exclusive, token_file, write_text
from rlvr.analysis.shift.summary import write_tables
from rlvr.data.tokenizer import load_tokenizer, model_folder
from rlvr.entry import readable_errors
from rlvr.errors import ConfigError


def analyze(cfg: AnalyzeConfig) -> Path:
    """Run one analysis and return its folder.

    Raises:
        ConfigError, DataError: settings, models or responses that cannot be analysed.
        RlvrError: a file cannot be written; finished parts are kept.
    """
    validate_analysis(cfg)
    base, chosen = cfg.model.base_path or cfg.model.path, policies(cfg)
    _device(cfg), _vocabulary(cfg, base)  # what is wrong with them is said before anything starts
    tokenizer = _shared_tokenizer(cfg, base, chosen)
    folder = Path(cfg.output or "").expanduser().absolute()

    with exclusive(folder):
        _analyze_into(folder, cfg, base, chosen, tokenizer)
    return folder


def _analyze_into(
    folder: Path,
    cfg: AnalyzeConfig,
    base: str,
    chosen: list[PolicyToScore],
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    # 1  responses: read, or generated where none are given
    files = {name: _responses(cfg, folder, name, base, tokenizer) for name in cfg.trajectories}

    # 2  index: every response checked, and all of them cut into parts
    draft = folder / ".responses.new.parquet"
    index = build_index(
        draft, files, cfg.select, cfg.score.responses_per_part, tokenizer, _vocabulary(cfg, base)
    )
    try:
        claim(folder / "claim.json", _settings(cfg, base, chosen, index))
        draft.replace(folder / "responses.parquet")
    finally:
        draft.unlink(missing_ok=True)
    print(describe(index, chosen), flush=True)

    # 3  scores, part by part
    write_parts(cfg, folder, base, chosen, tokenizer, _device(cfg), Progress())

    # 4  tables, from the parts
    parts = [token_file(folder, k) for k in range(index.parts * len(chosen))]
    headlines = write_tables(folder, parts, cfg.tables, TokenTexts(tokenizer).__getitem__)
    listing = [_part_entry(folder, path) for path in parts]
    write_text(folder / "analysis.json", analysis_json(cfg, index, listing, headlines))
    print("\n".join(headline_lines(headlines, cfg.tables)))
    print(f"token table, tables and analysis.json in {folder}")


def _responses(
    cfg: AnalyzeConfig, folder: Path, trajectory: str, base: str, tokenizer: PreTrainedTokenizerBase
) -> list[Path]:
    given = cfg.given_responses(trajectory)
    if given:
        return response_files(given)
    model = base if trajectory == "base" else cfg.model.path
    return generate(cfg, folder, trajectory, model, tokenizer, lambda line: print(line, flush=True))


def _shared_tokenizer(cfg: AnalyzeConfig, base: str, chosen: list[PolicyToScore]) -> PreTrainedTokenizerBase:
    """The base's tokenizer, once every policy is known to have the same tokens."""
    own = _tokenizer(cfg, base)
    for policy in chosen:
        if not (Path(policy.path) / "state.json").is_file():  # a training checkpoint has the run's own
            check_same_tokens(base, own, policy.path, _tokenizer(cfg, policy.path))
    return own


def _tokenizer(cfg: AnalyzeConfig, path: str) -> PreTrainedTokenizerBase:
    try:
        return load_tokenizer(path, cfg.model.trust_remote_code)
    except (OSError, KeyError, TypeError) as error:  # whatever a user's folder holds
        raise ConfigError(f"model {path}: its tokenizer cannot be loaded ({error})") from error


def _vocabulary(cfg: AnalyzeConfig, base: str) -> int:
    """Rows of the output head; some models have more of them than their tokenizer has tokens."""
    try:
        config = AutoConfig.from_pretrained(model_folder(base), trust_remote_code=cfg.model.trust_remote_code)
        return int(config.get_text_config(decoder=True).vocab_size)
    except (OSError, ValueError, AttributeError) as error:  # whatever a user's folder holds
        raise ConfigError(
            f"model {base}: not a causal language model that can be loaded ({error})"
        ) from error


def _device(cfg: AnalyzeConfig) -> str:
    available = torch.cuda.is_available()
    if cfg.score.device == "cuda" and not available:
        raise ConfigError("score.device=cuda: torch finds no CUDA device here; use score.device=cpu")
    return "cuda" if available and cfg.score.device != "cpu" else "cpu"


def _settings(
    cfg: AnalyzeConfig, base: str, chosen: list[PolicyToScore], index: IndexSummary
) -> dict[str, Any]:
    """What decides the token table; parts of two analyses are never mixed."""
    return {
        "format_version": FORMAT_VERSION,
        "base": identity(base),
        "policies": [[policy.label, identity(policy.path)] for policy in chosen],
        "responses": index.digest,
        "model.dtype": cfg.model.dtype,
        "score.temperature": cfg.score.temperature,
        "score.top_p": cfg.score.top_p,
        "score.responses_per_part": cfg.score.responses_per_part,
    }


def _part_entry(folder: Path, path: Path) -> dict[str, Any]:
    file = pq.ParquetFile(path)
    metadata = {key.decode(): value.decode() for key, value in file.schema_arrow.metadata.items()}
    return {
        "file": str(path.relative_to(folder)),
        "checkpoint": metadata["checkpoint"],
        "trajectory": metadata["trajectory"],
        "tokens": file.metadata.num_rows,
    }


@hydra.main(version_base="1.3", config_path=None, config_name=NAME)
def _hydra_main(cfg: DictConfig) -> None:
    typed = OmegaConf.to_object(cfg)
    assert isinstance(typed, AnalyzeConfig)
    with readable_errors():
        analyze(typed)


def main() -> None:
    """Entry point."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    with readable_errors():
        arguments, run = expand_arguments(sys.argv[1:])
        check_arguments(arguments, run)
    sys.argv[1:] = [*arguments, *HYDRA_QUIET]
    disable_progress_bar()  # of loading weights; ours shows parts
    _hydra_main()


if __name__ == "__main__":
    main()
