"""The folder of an exported network: its ``manifest.json``, checked whole, and the network opened and run on pixels."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import mxnet as mx
import numpy as np

from ..data.pictures import NetworkInput
from ..errors import GluonAFFError, UsageError
from ..utils.files import PathLike, json_text, sha256_of
from .onnx import MODEL, ONNXNetwork
from .symbol import FILES, example_shape, read_symbol

NAME = "manifest.json"
FORMAT = 1
KINDS = ("symbol", "onnx", "int8")
_LARGEST = 16 << 20  # bytes; a thousand class names are a tenth of a megabyte
_LEAST_CROP = 0.1  # of the resized picture: a smaller ratio asks for pictures of any size

Manifest = Dict[str, Any]


def is_exported(path: Path) -> bool:
    """Return whether a path is the folder of an exported network."""
    return (path / NAME).is_file()


def write_manifest(directory: Path, manifest: Manifest, files: List[str]) -> None:
    """Write the manifest of ``files``, which are in ``directory`` already, with their sizes and SHA-256."""
    described = {
        name: {"bytes": (directory / name).stat().st_size, "sha256": sha256_of(directory / name)} for name in files
    }
    (directory / NAME).write_text(json_text({"format": FORMAT, **manifest, "files": described}), encoding="utf-8")


def read_manifest(directory: Path) -> Manifest:
    """Return the manifest of an exported network, its entries and the digests of all files checked.

    Raises
    ------
    UsageError
        When the folder is none of an exported network.
    GluonAFFError
        For a manifest that is damaged or of another format, and for files that are missing or have changed.
    """
    path = directory / NAME
    if not path.is_file():
        raise UsageError(f"{directory} is not an exported network: it has no {NAME}")
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"it has {path.stat().st_size:,} bytes, more than {_LARGEST:,}")
        document = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict):
            raise ValueError("it holds no entries")
        if document.get("format") != FORMAT:
            raise GluonAFFError(
                f"{path} is of format {document.get('format')!r}, this version reads {FORMAT}: export the network again"
            )
        _check_entries(document)
    except (OSError, ValueError, RecursionError) as error:
        raise _wrong(path, str(error)) from None
    _check_files(directory, document["files"])
    return document


def _check_entries(document: Manifest) -> None:
    """Raise ValueError for an entry that is missing, is something else or does not fit the others."""
    kind, name, source, files = (document.get(key) for key in ("kind", "name", "source", "files"))
    if kind not in KINDS:
        raise ValueError(f"its kind is {kind!r}, expected one of {', '.join(KINDS)}")
    if not isinstance(name, str):
        raise ValueError("it has no name")
    if not isinstance(source, dict) or not isinstance(source.get("weights"), (str, type(None))):
        raise ValueError("it does not say what it was made of")
    _check_outputs(document)
    _check_input(document)
    if not isinstance(files, dict) or not files:
        raise ValueError("it lists no files")
    for file, described in files.items():
        if file != Path(file).name or file.startswith(".") or not isinstance(described, dict):
            raise ValueError(f"it lists a file {file!r}, expected names of files beside it")


def _check_outputs(document: Manifest) -> None:
    """Raise ValueError unless it says whether the outputs are logits, probabilities or maps, and how many."""
    features = document.get("features")
    if isinstance(features, list) and features:
        named = [
            isinstance(each, dict) and _is_name(each.get("name")) and _is_length(each.get("channels"))
            for each in features
        ]
        known = all(named) and document.get("segments") is False and document.get("outputs") == 0
    else:
        known = features is None and isinstance(document.get("segments"), bool) and _is_length(document.get("outputs"))
    if not known or not isinstance(document.get("probabilities", False), bool):
        raise ValueError("it does not say what the outputs are")


def _check_input(document: Manifest) -> None:
    """Raise ValueError unless shape, type and preprocessing of the input can be used and fit each other."""
    taken = document.get("input")
    shape, kind = (taken.get("shape"), taken.get("type")) if isinstance(taken, dict) else (None, None)
    if kind not in ("float32", "uint8"):
        raise ValueError(f"its input's type is {kind!r}, expected float32 or uint8")
    if not isinstance(shape, list) or len(shape) != 4 or not all(_is_length(n) or _is_name(n) for n in shape):
        raise ValueError(f"its input's shape is {shape!r}, expected four numbers or names")
    channels, sides = (shape[3], shape[1:3]) if kind == "uint8" else (shape[1], shape[2:])
    if channels != 3:
        expected = "pixels (N, H, W, 3)" if kind == "uint8" else "(N, 3, H, W)"
        raise ValueError(f"its input is {kind} {shape}, expected {expected}")
    if "preprocessing" not in document:
        raise ValueError("it has no preprocessing, not even null")
    described = document["preprocessing"]
    if described is None:
        return
    try:
        found = NetworkInput.from_json(described)
    except (KeyError, TypeError, ValueError, UsageError) as error:
        raise ValueError(f"its preprocessing cannot be understood: {error!r}") from None
    if not all(math.isfinite(value) for value in (*found.mean, *found.std)):
        raise ValueError(f"its preprocessing has mean {found.mean} and std {found.std}, expected finite numbers")
    if found.crop_ratio is not None and not _LEAST_CROP <= found.crop_ratio <= 1:
        raise ValueError(f"its preprocessing has crop_ratio {found.crop_ratio}, expected {_LEAST_CROP} to 1")
    if found.size is not None and any(side not in (found.size, str(side)) for side in sides):
        raise ValueError(f"its preprocessing gives pictures of size {found.size}, its input is {shape}")


def _is_length(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 1 << 16


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value.isidentifier()


def _check_files(directory: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    for name, expected in files.items():
        path = directory / name
        try:
            if not path.is_file():
                raise GluonAFFError(f"{directory} has no {name}, which its {NAME} lists: copy or export it again")
            size, found = path.stat().st_size, sha256_of(path)
        except OSError as error:
            raise GluonAFFError(f"cannot read {path}: {error.strerror or error}") from error
        if found != expected.get("sha256"):
            raise GluonAFFError(
                f"{path} ({size:,} bytes) is not what {NAME} lists ({expected.get('bytes')} bytes): its SHA-256 is "
                f"{found[:12]}..., expected {str(expected.get('sha256'))[:12]}...; copy or export it again"
            )


def _wrong(path: Path, problem: str) -> GluonAFFError:
    return GluonAFFError(f"{path} is no manifest of an exported network ({problem}): copy or export it again")


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
        NDArray in, NDArray out; of feature maps a list where there are several.
    input : NetworkInput or None
        How a picture becomes its input, where the manifest says so.
    """

    directory: Path
    manifest: Manifest
    net: Callable[[Any], Any]
    input: Optional[NetworkInput]

    @property
    def kind(self) -> str:
        """Return "symbol", "onnx" or "int8"."""
        return self.manifest["kind"]

    @property
    def name(self) -> str:
        """Return the folder's name."""
        return self.directory.resolve().name

    @property
    def segments(self) -> bool:
        """Return whether it gives segmentation logits (N, classes, H, W) rather than class logits (N, classes)."""
        return self.manifest["segments"]

    @property
    def outputs(self) -> int:
        """Return the number of classes it tells apart; 0 where it gives feature maps."""
        return self.manifest["outputs"]

    @property
    def probabilities(self) -> bool:
        """Return whether it gives probabilities in the place of logits."""
        return self.manifest.get("probabilities", False)

    @property
    def features(self) -> Tuple[str, ...]:
        """Return the names of the feature maps that it gives; empty for a network with classes."""
        return tuple(each["name"] for each in self.manifest.get("features") or ())

    @property
    def takes_pixels(self) -> bool:
        """Return whether normalisation is part of it: its input is uint8 (N, H, W, 3)."""
        return self.manifest["input"]["type"] == "uint8"

    @property
    def batch(self) -> Optional[int]:
        """Return the number of pictures that it takes; None for any."""
        length = self.manifest["input"]["shape"][0]
        return None if isinstance(length, str) else length

    def prepared(self, pixels: np.ndarray) -> np.ndarray:
        """Return its input for pixels uint8 (N, H, W, 3) at its size. Raise UsageError where nothing tells how."""
        if self.takes_pixels:
            return pixels
        if self.input is None:
            raise UsageError(f"{self.directory} does not say how pictures are normalised: call its net on arrays")
        return self.input.transform(pixels)

    def run(self, x: np.ndarray) -> Union[np.ndarray, List[np.ndarray]]:
        """Return the outputs for what `prepared` gives, however many.

        Logits or probabilities, float32 (N, classes) or (N, classes, H, W); of feature maps the list of them.
        """
        batch = self.batch or len(x)
        parts: List[List[np.ndarray]] = []
        for start in range(0, len(x), batch):
            part = x[start : start + batch]
            full = filled(part, batch)
            made = as_list(self.net(mx.nd.array(full, dtype=full.dtype)))
            parts.append([each.asnumpy()[: len(part)] for each in made])
        joined = [np.concatenate(each) for each in zip(*parts)]
        return joined if self.features else joined[0]


def as_list(outputs: Any) -> List[Any]:
    """What a network gives, one or several, as a list."""
    return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]


def output_names(manifest: Manifest) -> List[str]:
    """Return what ONNX calls the outputs."""
    named = [each["name"] for each in manifest.get("features") or ()]
    return named or ["probabilities" if manifest.get("probabilities") else "logits"]


def filled(x: np.ndarray, batch: int) -> np.ndarray:
    """Return an input with its last picture repeated up to ``batch`` of them."""
    return np.concatenate([x, np.repeat(x[-1:], batch - len(x), axis=0)]) if len(x) < batch else x


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
    missing = [name for name in ([MODEL] if manifest["kind"] == "onnx" else FILES) if name not in manifest["files"]]
    if missing:
        raise GluonAFFError(f"{directory} is of the form {manifest['kind']} and lists no {missing[0]}: export it again")
    net: Callable[[Any], Any]
    if manifest["kind"] == "onnx":
        net = ONNXNetwork(directory / MODEL)
        outputs: Sequence[Any] = list(net.output_shapes.values())
        if list(net.output_shapes) != output_names(manifest):
            raise _wrong(
                directory / NAME,
                f"it says that the model gives {output_names(manifest)}, not {list(net.output_shapes)}",
            )
        if (net.input_type, net.input_shape) != (f"tensor({kind.replace('32', '')})", shape):
            raise _wrong(
                directory / NAME, f"its input is {kind} {shape}, the model's {net.input_type} {net.input_shape}"
            )
    else:
        on = mx.cpu() if manifest["kind"] == "int8" or device is None else device
        net, outputs = read_symbol(directory, example_shape(shape), kind, on)
        net.hybridize(static_alloc=True)
    if manifest.get("features"):
        said, expected = "feature maps", [(4, each["channels"]) for each in manifest["features"]]
    else:
        said = f"{manifest['outputs']} outputs, segments {manifest['segments']}"
        expected = [(4 if manifest["segments"] else 2, manifest["outputs"])]
    if [(len(output), output[1]) for output in outputs] != expected:
        raise _wrong(
            directory / NAME, f"it says {said}; the network gives {', '.join(str(list(each)) for each in outputs)}"
        )
    described = manifest["preprocessing"]
    return ExportedNetwork(directory, manifest, net, None if described is None else NetworkInput.from_json(described))
