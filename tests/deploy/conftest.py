"""Exports in tests are not timed for long."""

import pytest

from gluon_aff.deploy import exporting


@pytest.fixture(autouse=True)
def short_timing(monkeypatch):
    monkeypatch.setattr(exporting, "_TURNS", 1)
    monkeypatch.setattr(exporting, "_SECONDS", 0)
    monkeypatch.setattr(exporting, "_TIMED", 1)
