"""What a network looks at, and what its fusions choose: Grad-CAM and the fusion weights. See docs/seeing.md."""

from .cam import METHODS, Explanation, explain, grad_cam
from .fusion_weights import FusionWeights, fusion_weights
from .layers import default_layer, layer_paths

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
