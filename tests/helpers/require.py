"""What a test needs of the machine: where it is missing the test is skipped, but under CI=true it fails."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def skip_or_fail(reason: str) -> NoReturn:
    """End the running test because of what this machine lacks; a GPU is no such thing, it is skipped everywhere."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; with CI=true this counts as a failure", pytrace=False)
    pytest.skip(reason)
