"""Comparing runs with the authors' runs, the paper's figures and each other.

- One run and one reference: `curves` opens both, `settings` has their hyper-parameters, `comparison` the report.
- Published figures in tables: `result_tables`; the paper's Fig. 7: `depth_plot`.
- Ablations: `paired` has the statistics, `ablation_report` the report of a grid.
"""

from .comparison import Comparison, draw_comparison, draw_runs
from .curves import ACCURACY, ERROR, Curve, Point, fitting, open_curve, read_csv, read_log, reference, references

__all__ = [
    "ACCURACY",
    "ERROR",
    "Comparison",
    "Curve",
    "Point",
    "draw_comparison",
    "draw_runs",
    "fitting",
    "open_curve",
    "read_csv",
    "read_log",
    "reference",
    "references",
]
