"""Fusion strategies, MS-CAM and the residual blocks and long skips that use them. Knows nothing of training or data."""

from .attention import MSCAM, context_branch
from .blocks import LongSkip
from .fusions import (
    AFF,
    IAFF,
    SE,
    SK,
    Fusion,
    canonical_fusion,
    create_fusion,
    fusion_class,
    fusion_spelling,
    list_fusions,
    register_fusion,
    selects_softly,
    unregister_fusion,
)
from .layers import ResizeLike, positive_integer, warn_of_batch_of_one
from .names import AUTHORS_KEYS

__all__ = [
    "AFF",
    "AUTHORS_KEYS",
    "IAFF",
    "LongSkip",
    "MSCAM",
    "ResizeLike",
    "SE",
    "SK",
    "Fusion",
    "canonical_fusion",
    "context_branch",
    "create_fusion",
    "fusion_class",
    "fusion_spelling",
    "list_fusions",
    "positive_integer",
    "register_fusion",
    "selects_softly",
    "unregister_fusion",
    "warn_of_batch_of_one",
]
