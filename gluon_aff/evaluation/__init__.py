"""Scoring weights on a data set, every image once or as the authors counted."""

from ..tasks.trained import TrainedNetwork, open_trained
from .predictions import Predictions, predict
from .score import Score, score
from .test_sets import DATASETS, PROTOCOLS, DataOptions, TestSet, open_test_set

__all__ = [
    "DATASETS",
    "PROTOCOLS",
    "DataOptions",
    "Predictions",
    "Score",
    "TrainedNetwork",
    "TestSet",
    "open_trained",
    "open_test_set",
    "predict",
    "score",
]
