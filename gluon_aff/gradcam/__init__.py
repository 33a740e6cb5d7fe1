"""What a network looks at, and what its fusions choose. See docs/seeing.md.

- Grad-CAM: `cam` (arrays), `cam_images` (image files), `cam_sheet` (what is written), `overlay`.
- Fusion weights: `fusion_weights` (arrays), `fusion_weights_sheet` (what is printed and written).
- Both: `layers` (inner layers and their outputs), `image_network` (a network with its preprocessing).
"""

from ..data.pictures import Picture, Pictures, find_pictures
from .cam import METHODS, Explanation, explain, grad_cam
from .cam_images import ExplainedImage, explain_images
from .fusion_weights import FusionWeights, fusion_weights
from .image_network import ImageNetwork, open_image_network
from .inner_layers import default_layer, layer_paths
from .overlay import overlay

__all__ = [
    "METHODS",
    "ExplainedImage",
    "Explanation",
    "FusionWeights",
    "ImageNetwork",
    "Picture",
    "Pictures",
    "default_layer",
    "explain",
    "explain_images",
    "find_pictures",
    "fusion_weights",
    "grad_cam",
    "layer_paths",
    "open_image_network",
    "overlay",
]
