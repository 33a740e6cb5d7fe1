"""Names that MXNet 1.9.1 and GluonCV still use and that newer NumPy and Python no longer have."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import sys
import types
from pathlib import Path
from typing import List, Tuple

NUMPY_NAMES = {"bool": bool, "int": int, "float": float, "complex": complex, "object": object, "str": str}


def add_numpy_names() -> None:
    """Give ``numpy`` the aliases of Python's types that went with 1.24. What is there stays."""
    import numpy

    for name, value in NUMPY_NAMES.items():
        # Not hasattr: between 1.20 and 1.26 asking NumPy for these names warns.
        vars(numpy).setdefault(name, value)


def add_distutils() -> None:
    """On Python 3.12 without setuptools, provide ``distutils.version``."""
    with_python = Path(os.__file__).with_name("distutils")  # before asking setuptools, which is slow to answer
    if "distutils" in sys.modules or with_python.is_dir() or importlib.util.find_spec("distutils"):
        return
    package, module = types.ModuleType("distutils"), types.ModuleType("distutils.version")
    vars(module).update(LooseVersion=Version, StrictVersion=Version)
    vars(package)["version"] = module
    sys.modules.update({"distutils": package, "distutils.version": module})


@functools.total_ordering
class Version:
    """A version that compares like distutils' LooseVersion: numbers as numbers, letters as text and before numbers."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.parts: List[Tuple[int, int, str]] = [
            (1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.findall(r"\d+|[a-z]+", text)
        ]

    def __str__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self.parts == other.parts

    def __lt__(self, other: Version) -> bool:
        return self.parts < other.parts
