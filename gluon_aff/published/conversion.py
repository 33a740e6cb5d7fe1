"""Weight files for the world outside MXNet: NumPy's npz and safetensors, written array by array."""

from __future__ import annotations

import json
import re
import struct
import zipfile
from pathlib import Path
from typing import IO, Callable, Dict, Iterable, Optional, Tuple

import numpy as np

from ..errors import GluonAFFError, UsageError
from ..utils import console
from ..utils.container import FLOATS, Container, read_container
from ..utils.files import PathLike, atomic_write


def convert(file: PathLike, to: str, output: Optional[PathLike] = None, dtype: str = "float32") -> Path:
    """Write all arrays of a ``.params`` file, under their own names, as ``to``: "npz" or "safetensors".

    ``dtype`` is "float32" (floating-point arrays become float32, others stay) or "stored" (all stay; bfloat16, which
    NumPy lacks, becomes float32). ``output`` defaults to the file's name with the new ending, in the current folder.
    Returns the path written. Raises UsageError for another ``to`` or ``dtype``, GluonAFFError when the file cannot be
    read or the output not be written.
    """
    if to not in FORMATS:
        raise UsageError(f"unknown format {to!r}: choose one of {', '.join(FORMATS)}")
    if dtype not in ("float32", "stored"):
        raise UsageError(f"unknown dtype {dtype!r}: choose 'float32' or 'stored'")
    container = read_container(file)
    types = {
        name: "float32" if array.dtype == "bfloat16" or (dtype == "float32" and array.dtype in FLOATS) else array.dtype
        for name, array in container.arrays.items()
    }
    output = Path(output or f"{Path(file).stem}.{to}")
    with atomic_write(output, "wb") as handle:
        FORMATS[to](handle, container, types)
    return output


def _arrays(container: Container, types: Dict[str, str], names: Iterable[str]) -> Iterable[Tuple[str, np.ndarray]]:
    for name in console.progress(list(names), label=container.path.name, unit="array"):
        yield name, container.read(name).astype(types[name])


def _write_npz(handle: IO[bytes], container: Container, types: Dict[str, str]) -> None:
    """An archive of .npy files as ``numpy.load`` reads it; the same input gives the same bytes."""
    with zipfile.ZipFile(handle, "w", zipfile.ZIP_STORED) as archive:
        outside = [name for name in container.arrays if name.startswith("/") or ".." in re.split(r"[/\\]", name)]
        if outside:
            raise GluonAFFError(
                f"{container.path} has an array named {outside[0]!r}, which would be unpacked outside the folder: "
                "expected a network's parameter names"
            )
        for name, array in _arrays(container, types, container.arrays):
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _write_safetensors(handle: IO[bytes], container: Container, types: Dict[str, str]) -> None:
    """uint64 length of the header; the header, JSON of name -> type, shape, first and last byte; the elements."""
    if "__metadata__" in container.arrays:
        raise UsageError(
            f"{container.path} has an array named __metadata__, which safetensors keeps for itself: use npz"
        )
    widths = {name: np.dtype(types[name]).itemsize for name in container.arrays}
    names = sorted(container.arrays, key=lambda name: -widths[name])  # so that all elements are aligned
    header: Dict[str, object] = {"__metadata__": {"source": container.path.name, "names": "MXNet Gluon"}}
    at = 0
    for name in names:
        shape = container.arrays[name].shape
        size = int(np.prod(shape, dtype=np.int64)) * widths[name]
        kind = "BOOL" if types[name] == "bool" else f"{np.dtype(types[name]).kind.upper()}{8 * widths[name]}"
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode("ascii")
    text += b" " * (-len(text) % 8)
    handle.write(struct.pack("<Q", len(text)) + text)
    for _, array in _arrays(container, types, names):
        handle.write(array.tobytes())


FORMATS: Dict[str, Callable[[IO[bytes], Container, Dict[str, str]], None]] = {
    "npz": _write_npz,
    "safetensors": _write_safetensors,
}
