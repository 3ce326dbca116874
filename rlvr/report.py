"""One HTML file about a run: `python -m rlvr.report runs/latest`, or several runs over each other

    python -m rlvr.report runs/a runs/b output=comparison

Reads what train, analyze and cross_sample left in the folders, says what is missing, and writes report.html, which
needs no network, and every figure as SVG, PNG and CSV below figures/. Options and their defaults:

    output=FOLDER     where to; with one run <run>/report
    divergent=40      pairs of responses with the largest mean JS on the token pages, for each run
    random=40         pairs drawn at random from the rest
    tokens=1000       tokens shown of a response; 160 responses of so many make a file of about 20 MB
    seed=0            of the draw
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path

from rlvr.cli.opening import opened
from rlvr.cli.overrides.options import Option, folder, read_options, whole_number
from rlvr.errors import ConfigError, DataError, where_it_fails
from rlvr.locks import lock_folder
from rlvr.reporting.figures.canvas import Drawn, Figure, render, slug
from rlvr.reporting.figures.cross import cross_figures
from rlvr.reporting.figures.shift import shift_figures
from rlvr.reporting.figures.training import training_figures
from rlvr.reporting.pages import DrawnRun, run_page
from rlvr.reporting.sources import ReportedRun, read_run
from rlvr.reporting.tokens import TokenPages, read_scores, select
from rlvr.runtime.disk.files import write_atomically


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """The command line."""

    runs: tuple[Path, ...] = ()
    output: Path | None = None  # None: <run>/report
    divergent: int = 40
    random: int = 40
    tokens: int = 1000
    seed: int = 0


OPTIONS = {
    field.name: Option(folder, "a folder")
    if field.name == "output"
    else Option(whole_number, "a whole number, 0 or more")
    for field in fields(ReportOptions)
    if field.name != "runs"
}


def report(options: ReportOptions) -> Path:
    """Write the report and return the path of report.html.

    Raises:
        ConfigError: no run, no tokens, a folder without anything to report, several runs without `output`, no
            matplotlib, or another process writes there.
        DataError: a file of a run cannot be read, is damaged or of another version.
        RlvrError: the report cannot be written.
    """
    if not options.runs:
        raise ConfigError("name the folder of a run, such as: python -m rlvr.report runs/latest")
    if options.tokens < 1:
        raise ConfigError(
            f"tokens={options.tokens}: a response has one or more; divergent=0 random=0 leaves the responses out"
        )
    with _reading():
        runs = tuple(read_run(path) for path in options.runs)
    _check_names(runs)
    if options.output is None and len(runs) > 1:
        raise ConfigError("output= is missing: with several runs, name the folder that the report goes to")
    folder = options.output or runs[0].folder / "report"
    with _writing(folder):  # found out now, not when all is read
        lock = lock_folder(folder, f"output={folder}")
    with lock:
        return _write(folder, runs, options)


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{error.filename or 'a file of the run'}: cannot be read ({error.strerror or error}); make it readable"
        ) from error


def _writing(folder: Path) -> AbstractContextManager[None]:
    remedy = "name a folder that can be written and has space"
    return where_it_fails(f"output={folder}: cannot be written", remedy)


def _write(folder: Path, runs: tuple[ReportedRun, ...], options: ReportOptions) -> Path:
    figures = folder / "figures"
    with _writing(folder):
        figures.mkdir(exist_ok=True)

    def drawn(found: Iterable[Figure], run: ReportedRun | None = None) -> tuple[Drawn, ...]:
        prefix = f"{slug(run.name)}_" if run is not None and len(runs) > 1 else ""
        return tuple(render(replace(figure, name=prefix + figure.name), figures) for figure in found)

    # 1  everything that is read, before the first figure is drawn and saved
    tokens = TokenPages()
    with _reading():
        for run in runs:
            if run.analysis is not None:
                scores = read_scores(run.analysis)
                pairs = select(scores, options.divergent, options.random, options.seed)
                tokens.add(run.name, run.analysis, pairs, scores, options.tokens)
        shift = [tuple(shift_figures(run.analysis)) if run.analysis else () for run in runs]
        cross = [tuple(cross_figures(run.cross)) if run.cross else () for run in runs]
        of_training = tuple(training_figures(runs))

    # 2  figures
    with _writing(folder):
        training = drawn(of_training)
        own = [
            DrawnRun(run, shift=drawn(of_shift, run), cross=drawn(of_cross, run))
            for run, of_shift, of_cross in zip(runs, shift, cross, strict=True)
        ]

    # 3  the page, whose tables are read from the analyses
    target = folder / "report.html"
    with _reading():
        page = run_page(own, training, tokens)
    with _writing(folder):
        write_atomically(target, page)
    return target


def _check_names(runs: Sequence[ReportedRun]) -> None:
    names = [run.name for run in runs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"{', '.join(twice)} more than once; runs are told apart by the last part of their path, so give folders "
            "with different names"
        )


def parse(arguments: Sequence[str]) -> ReportOptions:
    """The command line as a record.

    Raises:
        ConfigError: an unknown option, or a value that is not a number where one is needed.
    """
    runs, given = read_options(arguments, OPTIONS)
    return ReportOptions(runs=runs, **given)


def main() -> None:
    """Entry point."""
    with opened("report"):
        target = report(parse(sys.argv[1:]))
        print(
            f"report in {target}, {target.stat().st_size / 1e6:.1f} MB; figures in {target.parent / 'figures'}"
        )


if __name__ == "__main__":
    main()
