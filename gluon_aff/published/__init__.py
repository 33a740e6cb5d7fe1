"""The authors' published weight files: which there are, the networks they fit, reading, loading and converting them."""

from importlib import import_module
from typing import Any

from .catalogue import (
    METRICS,
    address,
    catalogue,
    fetch,
    find_file,
    git_blob_sha1,
    identify,
    ids_by_model,
    list_published,
    models_directory,
    place_of,
    record,
)

# What needs MXNet is imported when it is first asked for: `published list` and `fetch` do without.
_MODULES = {
    **dict.fromkeys(("Container", "StoredArray", "read_container"), "..utils.container"),
    "convert": ".conversion",
    **dict.fromkeys(("Recognition", "recognise"), ".recognition"),
    **dict.fromkeys(("Weights", "build", "classes_in", "id_for", "load", "open_weights", "path_of"), ".weights"),
}

__all__ = [
    "METRICS",
    "address",
    "catalogue",
    "fetch",
    "find_file",
    "git_blob_sha1",
    "identify",
    "ids_by_model",
    "list_published",
    "models_directory",
    "place_of",
    "record",
    *_MODULES,
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name], __name__), name)
