"""A fusion's name as a user types it on a training script's command line."""

from __future__ import annotations

from argparse import ArgumentTypeError

from ..errors import UsageError
from ..nn import canonical_fusion

_SAME_ARITHMETIC = ("add", "aff", "iaff", "aff_global_global", "aff_local_local")


def fusion_name(text: str) -> str:
    """An argparse type: a fusion's name, the field's where the authors' key means the same arithmetic."""
    try:
        name = canonical_fusion(text)
    except UsageError as error:
        raise ArgumentTypeError(str(error)) from None
    return name if name in _SAME_ARITHMETIC else text
