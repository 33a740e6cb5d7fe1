"""From a trained network to what runs it elsewhere: norms folded into convolutions."""

from .folding import Folding, KeptNorm, fold
from .inference import InferenceNetwork

__all__ = ["Folding", "InferenceNetwork", "KeptNorm", "fold"]
