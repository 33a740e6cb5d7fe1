"""Scoring weights on a data set, every image once or as the authors counted."""

from .protocol import PROTOCOLS, DataOptions, LabelledImages, open_images
from .reports import ClassificationReport, FigureReport, Report, ScoreRequest
from .scoring import Predictions, Score, predict, score
from .trained_network import Claim, TrainedNetwork

__all__ = [
    "PROTOCOLS",
    "Claim",
    "ClassificationReport",
    "DataOptions",
    "FigureReport",
    "LabelledImages",
    "Predictions",
    "Report",
    "Score",
    "ScoreRequest",
    "TrainedNetwork",
    "open_images",
    "predict",
    "score",
]
