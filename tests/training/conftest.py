"""Fixtures of the tests of training."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> Any:
    """at_step(n, do): calls `do` in the n-th training step from now, before it is made."""
    from plain_training import armed

    return armed(monkeypatch)
