"""GluonCV, without what importing it changes for others."""

from __future__ import annotations

import importlib
from types import ModuleType


def import_gluoncv(name: str) -> ModuleType:
    """A module of GluonCV. Raises ImportError when there is none.

    Its import makes Pillow fill up images that are cut short instead of refusing them, everywhere in the process:
    damaged training images would pass for whole ones.
    """
    from PIL import ImageFile

    before = ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        return importlib.import_module(name)
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
