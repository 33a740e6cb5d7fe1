"""GluonCV, without what importing it changes for others."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from ..errors import GluonAFFError

NEEDED = ("tqdm", "requests", "matplotlib", "portalocker", "PIL", "scipy")


def import_gluoncv(name: str) -> ModuleType:
    """A module of GluonCV. Raises ModuleNotFoundError without it or one that it needs, otherwise ImportError;
    GluonAFFError where no temporary file can be made, which a package of its needs.

    Whatever it lacks, GluonCV itself says that MXNet is missing. Its import makes Pillow fill up images that are cut
    short instead of refusing them, everywhere in the process: damaged training images would pass for whole ones.
    """
    from PIL import ImageFile

    before = ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise
    except ImportError as error:
        for package in NEEDED:
            if importlib.util.find_spec(package) is None:
                raise ModuleNotFoundError(f"No module named {package!r}", name=package) from error
        raise
    except FileNotFoundError as error:
        raise GluonAFFError(
            f"GluonCV cannot be loaded: {error.strerror or error}; free space on the disk, lift the limit on file "
            "sizes (ulimit -f), or set TMPDIR to a folder that can be written"
        ) from error
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
