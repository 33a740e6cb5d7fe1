"""Packages whose names are imported when they are first asked for (PEP 562)."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any, Callable


def attributes_of(package: str, *modules: str) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of ``package``, its ``__name__``: a name is a submodule, or in one of ``modules``.

    These are relative to the package; each is imported when those before it have not the name.
    """

    def attribute(name: str) -> Any:
        if not name.startswith("_"):
            if importlib.util.find_spec(f"{package}.{name}"):
                return importlib.import_module(f".{name}", package)
            for module in modules:
                found = importlib.import_module(module, package)
                if hasattr(found, name):
                    setattr(sys.modules[package], name, getattr(found, name))
                    return getattr(found, name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return attribute
