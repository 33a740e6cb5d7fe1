"""The authors' published weight files: which there are, the networks they fit, reading, loading and converting them."""

from typing import TYPE_CHECKING

from .catalogue import catalogue, ids_by_model, list_published, record

if TYPE_CHECKING:
    from ..facts import params_directory
    from ..utils.container import Container, StoredArray, read_container
    from .conversion import convert
    from .fetching import address, fetch, find_file, git_blob_sha1, identify, models_directory, place_of
    from .recognition import Recognition, recognise
    from .weights import Weights, build, classes_in, id_for, load, open_weights, path_of
else:
    from ..utils.lazy import attributes_of

    __getattr__ = attributes_of(__name__)

__all__ = [
    "Container",
    "Recognition",
    "StoredArray",
    "Weights",
    "address",
    "build",
    "catalogue",
    "classes_in",
    "convert",
    "fetch",
    "find_file",
    "id_for",
    "ids_by_model",
    "git_blob_sha1",
    "identify",
    "list_published",
    "load",
    "models_directory",
    "params_directory",
    "open_weights",
    "path_of",
    "place_of",
    "read_container",
    "recognise",
    "record",
]
