"""What a network looks at, and what its fusions choose. See docs/seeing.md.

- Grad-CAM: `cam` (arrays), `cam_sheet` (image files, and what is written of them).
- Fusion weights: `fusion_weights` (arrays, table and sheet).
- Both: `inner_layers` (layers by path, and their outputs).
"""

from ..data.picture_files import Picture, Pictures, find_pictures
from .cam import METHODS, Explanation, explain, grad_cam
from .cam_sheet import ExplainedImage, explain_images, overlay
from .fusion_weights import FusionWeights, fusion_weights
from .inner_layers import default_layer, layer_paths

__all__ = [
    "METHODS",
    "ExplainedImage",
    "Explanation",
    "FusionWeights",
    "Picture",
    "Pictures",
    "default_layer",
    "explain",
    "explain_images",
    "find_pictures",
    "fusion_weights",
    "grad_cam",
    "layer_paths",
    "overlay",
]
