"""How fast networks train and infer, beside each other and beside what a user would pick instead.

Every contender is a process of its own (`serving`), so that libraries do not share thread pools and memory; they wait
for each other, step by step, so that a drifting machine meets all of them (`measuring`). `suites` says what is held
against what, `report` makes tables of it.
"""

from .measuring import Case, Contender, commit, machine, measure
from .report import markdown, ratios
from .suites import SUITES, single

__all__ = ["SUITES", "Case", "Contender", "commit", "machine", "markdown", "measure", "ratios", "single"]
