"""What this machine lacks is skipped, and under CI=true fails."""

from __future__ import annotations

import pytest

from tests.helpers.require import skip_or_fail


def test_what_is_missing_fails_only_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"^no SLURM here$"):
        skip_or_fail("no SLURM here")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=r"^no SLURM here; with CI=true"):
        skip_or_fail("no SLURM here")
