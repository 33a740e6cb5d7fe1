"""Fusion strategies, MS-CAM and the residual blocks that use them. Knows nothing of training or data."""

from .attention import MSCAM, context_branch
from .fusions import (
    AFF,
    IAFF,
    SE,
    SK,
    Fusion,
    create_fusion,
    list_fusions,
    register_fusion,
    selects_softly,
    warn_of_batch_of_one,
)
from .names import AUTHORS_KEYS, canonical_fusion

__all__ = [
    "AFF",
    "AUTHORS_KEYS",
    "IAFF",
    "MSCAM",
    "SE",
    "SK",
    "Fusion",
    "canonical_fusion",
    "context_branch",
    "create_fusion",
    "list_fusions",
    "register_fusion",
    "selects_softly",
    "warn_of_batch_of_one",
]
