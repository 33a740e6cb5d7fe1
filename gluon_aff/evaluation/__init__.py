"""Scoring weights on a data set, every image once or as the authors counted."""

from .classification_score import Score, score
from .predictions import Predictions, predict
from .request import FigureReport, Report, ScoreRequest
from .test_sets import PROTOCOLS, DataOptions, TestSet, open_test_set
from .trained_network import Claim, TrainedNetwork

__all__ = [
    "Claim",
    "FigureReport",
    "Report",
    "ScoreRequest",
    "PROTOCOLS",
    "DataOptions",
    "Predictions",
    "Score",
    "TrainedNetwork",
    "TestSet",
    "open_test_set",
    "predict",
    "score",
]
