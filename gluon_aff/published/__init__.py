"""The authors' published weight files: which there are, the networks they fit, and loading one."""

from .catalogue import catalogue, list_published, params_directory, record
from .network import build
from .weights import find_file, load, models_directory

__all__ = [
    "build",
    "catalogue",
    "find_file",
    "list_published",
    "load",
    "models_directory",
    "params_directory",
    "record",
]
