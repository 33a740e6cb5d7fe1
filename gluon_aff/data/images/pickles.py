"""Reading the pickles of CIFAR's python archives without letting them run code.

A pickle names functions for the reader to call. Only the few that these files need to rebuild a NumPy array are
looked up; any other name stops the reading.
"""

from __future__ import annotations

import codecs
import io
import pickle
from typing import Any

import numpy as np

from ...errors import GluonAFFError

try:
    from numpy._core.multiarray import _reconstruct
except ImportError:
    from numpy.core.multiarray import _reconstruct  # type: ignore[attr-defined]


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How protocol 2 carries bytes; other encodings than latin1 (compression among them) have no business here."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r}")
    return codecs.encode(text, encoding)


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which CIFAR's files do not need")
        return _ALLOWED[module, name]


def load_pickle(content: bytes, where: str) -> Any:
    """The object in a pickle, text of Python 2 as bytes. ``where`` names the file in messages.

    Raises GluonAFFError for anything that is not a whole, harmless pickle.
    """
    try:
        return _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a damaged pickle can raise nearly anything
        reason = " ".join(str(error).split())
        raise GluonAFFError(
            f"{where} is not a pickle of CIFAR's python version ({reason}): "
            "the file is damaged or not the official one, unpack or download it again"
        ) from error
