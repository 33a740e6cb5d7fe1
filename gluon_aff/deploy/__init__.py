"""From a trained network to what runs it elsewhere: norms folded, other forms with a manifest, pictures predicted."""

from .exported import ExportedNetwork, is_exported, open_exported, read_manifest
from .exporting import Export, Source, export
from .folding import Folding, KeptNorm, fold
from .predicting import Prediction, Predictor, predict_stream, predictor_of_exported, predictor_of_net
from .symbol import InferenceNetwork

__all__ = [
    "Export",
    "ExportedNetwork",
    "Folding",
    "InferenceNetwork",
    "KeptNorm",
    "Prediction",
    "Predictor",
    "Source",
    "export",
    "fold",
    "is_exported",
    "open_exported",
    "predict_stream",
    "predictor_of_exported",
    "predictor_of_net",
    "read_manifest",
]
