"""From a network to a folder that others can run: written aside, opened again, compared, and only then put in place."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import mxnet as mx
import numpy as np

from ..data.pictures import NetworkInput
from ..errors import UsageError
from ..utils.files import PathLike, cannot_write, sync
from . import onnx_form, symbol_form
from .checking import TIMED, compare, speeds
from .exported import open_exported
from .folding import Folding, fold_norms
from .graph import INPUT, Graph, graph_of
from .int8_form import Quantized, quantize
from .manifest import KINDS, NAME, Manifest, write_manifest
from .placing import check_free, name_aside, place_of, put_in_place, tidy
from .preprocessing import normalisation, prepend
from .sample import SOURCE, sample_pixels

CHECKED, CALIBRATED = 8, 64  # pictures, where the user gives none

_ANY_SIZE = 64  # pixels: the pictures that a network of any size is checked on


@dataclass(frozen=True)
class Source:
    """Where a network is from, for its manifest.

    Attributes
    ----------
    name : str
        What it is, in words.
    task : str or None
        Name of the task that it was trained for.
    weights : str or None
        What its weights are called, and their SHA-256.
    sha256 : str or None
    figure : str or None
        A figure that is known for it, in words.
    data : dict
        What is known of its images.
    version : str or None
        Of gluon_aff.
    """

    name: str
    task: Optional[str] = None
    weights: Optional[str] = None
    sha256: Optional[str] = None
    figure: Optional[str] = None
    data: Optional[Dict[str, Any]] = None
    version: Optional[str] = None


@dataclass(frozen=True)
class Export:
    """What was exported: its folder's manifest, and lines about it for people."""

    directory: Path
    manifest: Manifest
    lines: List[str]


def export(
    net: mx.gluon.HybridBlock,
    directory: PathLike,
    to: str = "symbol",
    *,
    input: Optional[NetworkInput] = None,
    segments: bool = False,
    input_size: Optional[int] = None,
    batch: Union[int, str] = "dynamic",
    with_preprocessing: bool = False,
    fold: bool = False,
    calibration: str = "naive",
    pixels: Optional[np.ndarray] = None,
    truth: Optional[Sequence[Any]] = None,
    source: Optional[Source] = None,
    overwrite: bool = False,
) -> Export:
    """Write a network in another form, with a manifest, and check it.

    Parameters
    ----------
    net : HybridBlock
        Initialised, from (N, 3, H, W) to one output.
    directory : path
        The folder that is made. It is there only when everything in it has been checked.
    to : {"symbol", "onnx", "int8"}
        MXNet's own symbol and parameters, ONNX, or MXNet's symbol in int8 for oneDNN.
    input : NetworkInput, optional
        How pictures become the network's input; without it the manifest does not say.
    segments : bool
        Whether it gives segmentation logits (N, classes, H, W) rather than class logits (N, classes).
    input_size : int, optional
        Width and height of the input (default: ``input``'s; of a segmentation network any).
    batch : int or "dynamic"
        Pictures that it takes at once.
    with_preprocessing : bool
        Normalisation becomes a part of the network, whose input is then pixels, uint8 (N, H, W, 3), RGB.
    fold : bool
        Norms are folded into convolutions, see `fold`.
    calibration : {"naive", "entropy"}
        Of int8.
    pixels : array, optional
        Pictures uint8 (N, H, W, 3) at the input's size, on which it is checked and calibrated (default: parts of two
        photographs).
    truth : sequence, optional
        Their class numbers, or masks (H, W) of a segmentation network: accuracy, IoU, or mIoU of several classes,
        before and after are written down.
    source : Source, optional
        Where the network is from.
    overwrite : bool
        Whether an exported network that is there already may be replaced.

    Raises
    ------
    UsageError
        For what cannot be exported in that form, with the reason, and a directory that is in the way.
    GluonAFFError
        When the exported network's outputs are not the network's, or the disk is full.
    """
    directory = Path(directory).expanduser()
    if to not in KINDS:
        raise UsageError(f"--to {to}: choose one of {', '.join(KINDS)}")
    if with_preprocessing and input is None:
        raise UsageError("with_preprocessing needs to know how pictures are normalised: give input=")
    channels = getattr(net, "_in_channels", 3)
    if channels != 3:
        raise UsageError(f"the network takes {channels} channels: exports are checked on pictures of 3, RGB")
    place = place_of(directory)
    tidy(place)
    check_free(place, overwrite)
    size = input_size or (None if segments or input is None else input.size)
    if size is None and not segments:
        raise UsageError("nothing tells the size of the network's input: give input_size (--input-size)")
    pictures = SOURCE if pixels is None else "given"
    pixels = _checked_pixels(pixels, size)
    shape = _input_shape(size, batch, with_preprocessing)
    graph = graph_of(net, resize_as_operator=to != "onnx")
    folding = fold_norms(graph) if fold else None
    made: Union[bytes, Quantized, None] = None
    if to == "int8":
        few = pixels if truth is not None or len(pixels) > CHECKED else sample_pixels(CALIBRATED, pixels.shape[1])
        front = normalisation(input) if with_preprocessing and input is not None else None
        made = quantize(graph, _normalised(few[:CALIBRATED], input), calibration, front=front)
    if with_preprocessing and input is not None:
        prepend(graph, input)
    if to == "onnx":
        made = onnx_form.to_onnx(graph, shape, "uint8" if with_preprocessing else "float32")
    outputs = _outputs(graph, pixels.shape, with_preprocessing)
    manifest: Manifest = {
        "kind": to,
        "name": source.name if source else type(net).__name__,
        "task": source.task if source else None,
        "made_by": _versions(to, source),
        "source": {
            "weights": source.weights if source else None,
            "sha256": source.sha256 if source else None,
            "figure": source.figure if source else None,
            "data": source.data if source else None,
        },
        "input": {
            "name": INPUT,
            "shape": list(shape),
            "type": "uint8" if with_preprocessing else "float32",
            "layout": "NHWC" if with_preprocessing else "NCHW",
            "channels": "RGB",
            "normalised_inside": with_preprocessing,
        },
        "preprocessing": _described(input, size),
        "output": "segmentation logits (N, classes, H, W)" if segments else "class logits (N, classes)",
        "segments": segments,
        "outputs": outputs,
        "folding": _folding(folding),
        "quantization": _quantization(made, calibration) if isinstance(made, Quantized) else None,
        "check": {"pictures": pictures},
    }
    return _finish(net, directory, graph, made, manifest, pixels, truth, input, overwrite)


def _finish(
    net: mx.gluon.HybridBlock,
    directory: Path,
    graph: Graph,
    made: Union[bytes, Quantized, None],
    manifest: Manifest,
    pixels: np.ndarray,
    truth: Optional[Sequence[Any]],
    network_input: Optional[NetworkInput],
    overwrite: bool,
) -> Export:
    """Write aside, read again, compare, put in place."""
    place = place_of(directory)
    aside = name_aside(place)
    try:
        aside.mkdir(parents=True)
        files = _write(aside, graph, made)
        write_manifest(aside, manifest, files)
        device = next(iter(net.collect_params().values())).list_ctx()[0]
        exported = open_exported(aside, device)

        def before(chosen: np.ndarray) -> np.ndarray:
            x = _normalised(chosen, network_input)
            return np.concatenate([net(mx.nd.array(x[i : i + 8], ctx=device)).asnumpy() for i in range(0, len(x), 8)])

        def after(chosen: np.ndarray) -> np.ndarray:
            x = chosen if exported.takes_pixels else _normalised(chosen, network_input)
            return np.concatenate([exported.run(x[i : i + 8]) for i in range(0, len(x), 8)])

        check, lines = compare(before(pixels), after(pixels), manifest, truth)
        timed = np.resize(pixels, (exported.batch or TIMED, *pixels.shape[1:]))
        check["speed"] = speeds(before, after, timed)
        lines.append(
            "speed      {batch} at a time: {before:.1f} images/s before, {after:.1f} after".format(**check["speed"])
        )
        write_manifest(aside, {**manifest, "check": {**manifest["check"], **check}}, files)
        for file in aside.iterdir():
            sync(file)
        put_in_place(aside, place, overwrite)
    except OSError as error:
        raise cannot_write(directory, error) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    written = open_exported(directory).manifest
    return Export(directory, written, [*_about(written), *lines])


def _write(directory: Path, graph: Graph, made: Union[bytes, Quantized, None]) -> List[str]:
    if isinstance(made, bytes):
        (directory / onnx_form.MODEL).write_bytes(made)
        return [onnx_form.MODEL]
    if isinstance(made, Quantized):
        symbol_form.write_symbol(directory, made.symbol, made.values)
    else:
        symbol_form.write_symbol(directory, graph.symbol(), graph.values())
    return symbol_form.FILES


def _input_shape(size: Optional[int], batch: Union[int, str], pixels: bool) -> Tuple[Union[int, str], ...]:
    if isinstance(batch, str) and batch != "dynamic":
        raise UsageError(f"batch {batch!r}: give a number of pictures, or dynamic")
    first: Union[int, str] = "N" if isinstance(batch, str) else batch
    if isinstance(first, int) and first < 1:
        raise UsageError(f"batch {batch}: give a number of at least 1, or dynamic")
    sides: Tuple[Union[int, str], ...] = ("H", "W") if size is None else (size, size)
    return (first, *sides, 3) if pixels else (first, 3, *sides)


def _checked_pixels(pixels: Optional[np.ndarray], size: Optional[int]) -> np.ndarray:
    if pixels is None:
        return sample_pixels(CHECKED, size or _ANY_SIZE)
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3 or not len(pixels):
        raise UsageError(f"pixels are {pixels.dtype} {pixels.shape}: expected uint8 (N, H, W, 3)")
    if size is not None and pixels.shape[1:3] != (size, size):
        raise UsageError(f"pixels are {pixels.shape}: the network's input is {size}x{size}")
    return pixels


def _normalised(pixels: np.ndarray, network_input: Optional[NetworkInput]) -> np.ndarray:
    return (network_input or NetworkInput()).transform(pixels)


def _outputs(graph: Graph, pixels: Tuple[int, ...], takes_pixels: bool) -> int:
    shape = (1, *pixels[1:]) if takes_pixels else (1, pixels[3], *pixels[1:3])
    return int(graph.output_shape(shape)[1])


def _described(network_input: Optional[NetworkInput], size: Optional[int]) -> Optional[Dict[str, Any]]:
    if network_input is None:
        return None
    return {**network_input.to_json(), **({"size": size} if size else {})}


def _folding(folding: Optional[Folding]) -> Optional[Dict[str, Any]]:
    if folding is None:
        return None
    kept = [{"name": norm.name, "reason": norm.reason} for norm in folding.kept]
    return {"folded": folding.folded, "kept": kept, "lines": folding.lines()}


def _quantization(made: Quantized, calibration: str) -> Dict[str, Any]:
    return {"calibration": calibration, "int8": made.int8, "float": made.floats, "lines": made.lines()}


def _versions(to: str, source: Optional[Source]) -> Dict[str, Optional[str]]:
    found = {"gluon_aff": source.version if source else None, "mxnet": mx.__version__}
    if to == "onnx":
        import onnx

        found.update(
            onnx=onnx.__version__, onnxruntime=onnx_form.load_runtime().__version__, opset=str(onnx_form.OPSET)
        )
    return found


def _about(manifest: Manifest) -> List[str]:
    """Lines about what was exported."""
    shape = "x".join(map(str, manifest["input"]["shape"]))
    files = ", ".join(f"{name} ({file['bytes']:,} bytes)" for name, file in manifest["files"].items())
    lines = [
        f"network    {manifest['name']}, {manifest['output']}",
        f"input      {manifest['input']['name']}: {manifest['input']['type']} {shape} ({manifest['input']['layout']})",
        f"files      {files}, {NAME}",
    ]
    for entry, label in (("folding", "folded"), ("quantization", "int8")):
        if manifest[entry]:
            first, *others = manifest[entry]["lines"]
            lines += [f"{label:<11}{first}", *(f"{'':<11}{line}" for line in others)]
    return lines
