"""What a network looks at, and what its fusions choose: Grad-CAM and the fusion weights. See docs/seeing.md."""

from ..data.pictures import Picture, Pictures, find_pictures
from .cam import METHODS, Explanation, explain, grad_cam
from .fusion_weights import FusionWeights, fusion_weights
from .layers import default_layer, layer_paths
from .seen import Seen, see
from .viewed import Viewed, open_viewed

__all__ = [
    "METHODS",
    "Explanation",
    "FusionWeights",
    "default_layer",
    "explain",
    "fusion_weights",
    "grad_cam",
    "layer_paths",
]


__all__ = ["Picture", "Pictures", "Seen", "Viewed", "find_pictures", "open_viewed", "see"]
