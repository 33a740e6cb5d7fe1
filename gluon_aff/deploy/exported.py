"""Exported networks, opened from their folders and run on pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, List, Optional

import mxnet as mx
import numpy as np

from ..data.pictures import NetworkInput
from ..errors import GluonAFFError, UsageError
from ..utils.files import PathLike
from .graph import example_shape
from .manifest import Manifest, input_of, read_manifest
from .onnx_form import MODEL, read_onnx
from .symbol_form import FILES, read_symbol


@dataclass(frozen=True)
class ExportedNetwork:
    """A network in the form it was exported in, ready for pictures.

    Attributes
    ----------
    directory : Path
        Its folder.
    manifest : dict
        What `read_manifest` gave.
    net : callable
        NDArray in, NDArray out.
    input : NetworkInput or None
        How a picture becomes its input, where the manifest says so.
    """

    directory: Path
    manifest: Manifest
    net: Callable[[Any], Any]
    input: Optional[NetworkInput]

    @property
    def kind(self) -> str:
        """ "symbol", "onnx" or "int8"."""
        return self.manifest["kind"]

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.directory.resolve().name

    @property
    def segments(self) -> bool:
        """Whether it gives segmentation logits (N, classes, H, W) rather than class logits (N, classes)."""
        return self.manifest["segments"]

    @property
    def outputs(self) -> int:
        """Number of classes it tells apart."""
        return self.manifest["outputs"]

    @property
    def takes_pixels(self) -> bool:
        """Whether normalisation is part of it: its input is uint8 (N, H, W, 3)."""
        return self.manifest["input"]["type"] == "uint8"

    @property
    def batch(self) -> Optional[int]:
        """The number of pictures that it takes; None for any."""
        length = self.manifest["input"]["shape"][0]
        return None if isinstance(length, str) else length

    def prepared(self, pixels: np.ndarray) -> np.ndarray:
        """Its input for pixels uint8 (N, H, W, 3) at its size. Raises UsageError where nothing tells how."""
        if self.takes_pixels:
            return pixels
        if self.input is None:
            raise UsageError(f"{self.directory} does not say how pictures are normalised: call its net on arrays")
        return self.input.transform(pixels)

    def run(self, x: np.ndarray) -> np.ndarray:
        """Logits, float32 (N, classes) or (N, classes, H, W), for what `prepared` gives, however many they are."""
        batch = self.batch or len(x)
        parts: List[np.ndarray] = []
        for start in range(0, len(x), batch):
            part = x[start : start + batch]
            missing = batch - len(part)
            full = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
            parts.append(self.net(mx.nd.array(full, dtype=full.dtype)).asnumpy()[: len(part)])
        return np.concatenate(parts)


def open_exported(directory: PathLike, device: Optional[mx.Context] = None) -> ExportedNetwork:
    """Open the folder of an exported network; nothing in it is trusted.

    Parameters
    ----------
    directory : path
    device : Context, optional
        Where the symbol form is to lie (default: CPU). The others run on the CPU.

    Raises
    ------
    UsageError
        When it is no such folder, and where what the form needs is not installed.
    GluonAFFError
        For anything in it that is damaged, has changed or cannot be run.
    """
    directory = Path(directory).expanduser()
    manifest = read_manifest(directory)
    shape, kind = manifest["input"]["shape"], manifest["input"]["type"]
    wanted = [MODEL] if manifest["kind"] == "onnx" else FILES
    missing = [name for name in wanted if name not in manifest["files"]]
    if missing:
        raise GluonAFFError(f"{directory} is of the form {manifest['kind']} and lists no {missing[0]}: export it again")
    net: Callable[[Any], Any]
    if manifest["kind"] == "onnx":
        net = read_onnx(directory)
    else:
        example = example_shape(shape)
        on = mx.cpu() if manifest["kind"] == "int8" or device is None else device
        net = read_symbol(directory, example, kind, on)
        net.hybridize(static_alloc=True)
    return ExportedNetwork(directory, manifest, net, input_of(manifest, directory))
