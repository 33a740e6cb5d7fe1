"""Comparing a run with the authors' runs and the paper's figures.

- Curves: `learning_curve`; `run_curves` opens our runs, `authors_logs` reads the authors', `references` names the
  published ones and the paper's figures.
- One run and one reference: `comparison`, `comparison_plot`, `settings` (hyper-parameters side by side).
- Many runs: `runs_plot`, `depth_plot` (the paper's Fig. 7), `ablation_report`, `result_tables`.
"""

from .authors_logs import read_csv, read_log
from .comparison import Comparison
from .comparison_plot import draw_comparison
from .learning_curve import ACCURACY, ERROR, Curve, Point
from .references import reference, references
from .run_curves import open_curve

__all__ = [
    "ACCURACY",
    "ERROR",
    "Comparison",
    "Curve",
    "Point",
    "draw_comparison",
    "open_curve",
    "read_csv",
    "read_log",
    "reference",
    "references",
]
