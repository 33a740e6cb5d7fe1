"""The campaign's counts, printed at the end of the test run."""

import collections

import pytest

_COUNTS = collections.defaultdict(collections.Counter)


@pytest.fixture
def counted():
    """``counted(what, outcome, number=1)`` adds to the counts."""

    def add(what, outcome, number=1):
        _COUNTS[what][outcome] += number

    return add


def pytest_terminal_summary(terminalreporter):
    if _COUNTS:
        terminalreporter.section("faults tried")
    for what, counts in sorted(_COUNTS.items()):
        outcomes = ", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items()))
        terminalreporter.write_line(f"{what}: {sum(counts.values())} ({outcomes})")
