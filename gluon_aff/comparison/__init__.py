"""Holding a run against the authors' runs and the paper's figures."""

from .curve import ACCURACY, ERROR, Curve, Point
from .logs import read_csv, read_log
from .open import open_run
from .report import Comparison, draw
from .runs import reference, references

__all__ = [
    "ACCURACY",
    "ERROR",
    "Comparison",
    "Curve",
    "Point",
    "draw",
    "open_run",
    "read_csv",
    "read_log",
    "reference",
    "references",
]
