"""A report of a run with an analysis, open in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rlvr.report import ReportOptions, report
from tests.helpers.chromium import Chromium
from tests.helpers.report_cases import write_analysis, write_training


@contextmanager
def opened_report(folders: pytest.TempPathFactory, at: str = "") -> Iterator[Chromium]:
    """The page, at this part of its address."""
    folder = write_training(folders.mktemp("report"), "whole")
    write_analysis(folder / "analysis")
    made = report(ReportOptions(runs=(folder,)))
    with Chromium(folders.mktemp("profile")) as browser:
        browser.open(made.as_uri() + at)
        yield browser
