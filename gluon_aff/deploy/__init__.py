"""From a trained network to what runs it elsewhere: norms folded, other forms with a manifest, pictures predicted."""

from .exported import ExportedNetwork, open_exported
from .exporting import Export, Source, export
from .folding import Folding, KeptNorm, fold
from .inference import InferenceNetwork

__all__ = [
    "Export",
    "ExportedNetwork",
    "Folding",
    "InferenceNetwork",
    "KeptNorm",
    "Source",
    "export",
    "fold",
    "open_exported",
]
