"""What a sweep found: `python -m rlvr.sweep_report runs/paper_table [--baseline recipe-dapo]`.

Reads the finished runs of a sweep's folder and writes into it

    report.md             every table
    report.html           the same with figures, one file that needs no network; needs matplotlib
    report.csv            accuracy after training, a line for each condition and evaluation set
    report_training.csv   divergence, weight and entropy at the end of training, wall time, tokens
    report_curves.csv     means over seeds and bands by step

For each condition (a job's name without its seed): accuracy with intervals over seeds and over problems, the
difference from the baseline both ways with Holm's correction over the conditions, curves, divergence, cost.
"""

from __future__ import annotations

import argparse
import importlib.util
from contextlib import AbstractContextManager
from pathlib import Path

from rlvr.analysis.sweep.compare import choose_baseline
from rlvr.analysis.sweep.runs import SweepFolder, read_sweep
from rlvr.analysis.sweep.setup import check_comparable
from rlvr.analysis.sweep.tables import sweep_result
from rlvr.analysis.sweep.text import curves_csv, markdown, outcome_csv, training_csv
from rlvr.cli.opening import opened
from rlvr.cli.overrides.planned import planned_jobs
from rlvr.errors import where_it_fails
from rlvr.locks import lock_folder
from rlvr.runtime.disk.files import write_atomically


def sweep_report(folder: Path, baseline: str | None = None) -> tuple[str, list[Path]]:
    """Write the report of a sweep into its folder; return the Markdown and the files written.

    Raises:
        ConfigError: another process writes the report there.
        DataError: the folder holds no finished run, runs that cannot be read or compared, or no such baseline.
        RlvrError: the report cannot be written.
    """
    sweep = read_sweep(folder, planned_jobs(folder))
    with _writing(folder):  # two at once would leave files of both
        lock = lock_folder(folder, f"folder={folder}")
    with lock:
        return _write(sweep, folder, baseline)


def _write(sweep: SweepFolder, folder: Path, baseline: str | None) -> tuple[str, list[Path]]:
    check_comparable(sweep.runs)
    found = sweep_result(
        sweep, choose_baseline([*dict.fromkeys(run.condition for run in sweep.runs)], baseline)
    )
    contents = {
        "report.md": markdown(found),
        "report.csv": outcome_csv(found.rows),
        "report_training.csv": training_csv(found),
        "report_curves.csv": curves_csv(found),
    }
    if importlib.util.find_spec("matplotlib") is not None:
        from rlvr.reporting.pages import sweep_page

        contents["report.html"] = sweep_page(found)
    with _writing(folder):
        for name, text in contents.items():
            write_atomically(folder / name, text)
    return contents["report.md"], [folder / name for name in contents]


def _writing(folder: Path) -> AbstractContextManager[None]:
    return where_it_fails(f"{folder}: the report cannot be written there", "make room, or make it writable")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m rlvr.sweep_report", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("folder", type=Path, help="folder of a sweep, such as runs/paper_table")
    parser.add_argument("--baseline", help="the condition to compare with, such as recipe-dapo")
    with opened("sweep-report"):
        arguments = parser.parse_args()
        text, files = sweep_report(arguments.folder, arguments.baseline)
        found, _, _ = text.partition("\n## Set-up")  # a hundred lines of settings stay in the file
        print(f"{found}\nwritten to {arguments.folder}: {', '.join(file.name for file in files)}")
        if not any(file.suffix == ".html" for file in files):
            print("report.html is not written: its figures need matplotlib (pip install matplotlib)")


if __name__ == "__main__":
    main()
