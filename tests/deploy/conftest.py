"""Exports in tests are not timed for long."""

import pytest

from gluon_aff.deploy import checking


@pytest.fixture(autouse=True)
def short_timing(monkeypatch):
    monkeypatch.setattr(checking, "_TURNS", 1)
