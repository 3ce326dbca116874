"""Where did the policy move from its base? `python -m rlvr.analyze run=runs/latest`, or for any two models

    python -m rlvr.analyze base=Qwen/Qwen2.5-1.5B policy=my/policy data=aime24 n=32 output=out

Scores both models on responses of the policy and of the base, writes a token table and summary tables:

    run=FOLDER       base, policy, checkpoints, responses and output of a training run
    base=PATH        model.base_path; a folder, a hub name, or builtin
    policy=PATH      model.path; also a checkpoint of a training run
    checkpoints=A,B  earlier policies, oldest first, scored on the same responses
    responses=FILES  the policy's responses, as a run's samples/*.jsonl; base_responses=FILES the base's
    data=A,B n=32    where there are none: problems to generate from and samples of each, as in rlvr.evaluate

All keys: rlvr/analysis/config.py. Interrupted? The same command goes on where it stopped.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from transformers.utils.logging import disable_progress_bar

from rlvr.analysis.config import AnalyzeConfig, validate_analysis
from rlvr.analysis.shift.generate import generate
from rlvr.analysis.shift.inputs import ModelsToCompare, find_models
from rlvr.analysis.shift.parts import finished_parts, part_metadata, token_texts, write_parts
from rlvr.analysis.shift.responses import IndexSummary, build_index, response_files
from rlvr.analysis.shift.summary import analysis_json, describe, write_tables
from rlvr.analysis.store import IDENTITY, claim, write_text, writing
from rlvr.analysis.tables import FORMAT_VERSION
from rlvr.cli.analyze_arguments import LINE, check_arguments, expand_arguments
from rlvr.cli.entry import run_command
from rlvr.cli.opening import opened
from rlvr.cli.overrides.command_line import options_first
from rlvr.cli.shown_warnings import show_warnings
from rlvr.data.models.identity import identity
from rlvr.locks import exclusive


def analyze(cfg: AnalyzeConfig) -> Path:
    """Run one analysis and return its folder.

    Raises:
        ConfigError, DataError: settings, models or responses that cannot be analysed.
        RlvrError: a file cannot be written; finished parts are kept.
    """
    validate_analysis(cfg)
    models = find_models(cfg)
    folder = Path(cfg.output or "").expanduser().absolute()
    with exclusive(folder):
        # 1  responses: read, or generated where none are given
        files = {name: _responses(cfg, folder, name, models) for name in cfg.trajectories}

        # 2  index: every response checked, and all of them cut into parts
        index = _index(cfg, folder, files, models)
        print(describe(index, models.policies), flush=True)

        # 3  scores, part by part
        write_parts(cfg, folder, models)

        # 4  tables, from the parts
        parts = finished_parts(folder, models)
        headlines = write_tables(folder, parts, cfg.tables, token_texts(models.tokenizer))
        listing = [_part_entry(folder, path) for path in parts]
        write_text(folder / "analysis.json", analysis_json(cfg, index, listing, headlines))
    for headline in headlines:
        print("\n".join(headline.lines(cfg.tables.moved_above)))
    print(f"token table, tables and analysis.json in {folder}")
    return folder


def _responses(cfg: AnalyzeConfig, folder: Path, trajectory: str, models: ModelsToCompare) -> list[Path]:
    given = cfg.given_responses(trajectory)
    return response_files(given) if given else generate(cfg, folder, trajectory, models)


def _index(
    cfg: AnalyzeConfig, folder: Path, files: dict[str, list[Path]], models: ModelsToCompare
) -> IndexSummary:
    """Write responses.parquet, unless the folder holds the parts of other responses or settings."""
    draft = folder / ".responses.new.parquet"
    try:
        index = build_index(
            draft, files, cfg.select, cfg.score.responses_per_part, models.tokenizer, models.vocabulary
        )
        claim(folder / "claim.json", _settings(cfg, models, index), f"output={folder}")
        with writing(responses := folder / "responses.parquet"):
            draft.replace(responses)
    finally:
        draft.unlink(missing_ok=True)
    return index


def _settings(cfg: AnalyzeConfig, models: ModelsToCompare, index: IndexSummary) -> dict[str, Any]:
    """What decides the token table; parts of two analyses are never mixed."""
    return {
        "format_version": FORMAT_VERSION,
        IDENTITY: "content",
        "base": identity(models.base),
        "policies": [[policy.label, identity(policy.path)] for policy in models.policies],
        "responses": index.digest,
        "model.dtype": cfg.model.dtype,
        "score.temperature": cfg.score.temperature,
        "score.top_p": cfg.score.top_p,
        "score.responses_per_part": cfg.score.responses_per_part,
    }


def _part_entry(folder: Path, path: Path) -> dict[str, Any]:
    file = pq.ParquetFile(path)
    metadata = part_metadata(file)
    return {
        "file": str(path.relative_to(folder)),
        "checkpoint": metadata["checkpoint"],
        "trajectory": metadata["trajectory"],
        "tokens": file.metadata.num_rows,
    }


def main() -> None:
    """Entry point."""
    with opened("analyze"):
        show_warnings()
        arguments, run = expand_arguments(sys.argv[1:])
        sys.argv[1:] = options_first(arguments)
        check_arguments(sys.argv[1:], run)
    disable_progress_bar()  # of loading weights; ours shows parts
    run_command(LINE, analyze)


if __name__ == "__main__":
    main()
