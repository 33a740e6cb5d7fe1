"""From a network to a folder that others can run: written beside, opened again, compared, only then put in place."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

import mxnet as mx
import numpy as np

from ..data.decoding import IGNORED
from ..data.image_set import resized
from ..data.pictures import NetworkInput
from ..errors import GluonAFFError, UsageError
from ..models.features import FeatureMaps
from ..runtime.threads import processor_name
from ..utils.files import PathLike, cannot_write, sync, temporary_name
from ..utils.logits import as_logits, class_ious, confusion
from ..utils.timing import take_turns
from . import onnx
from .exported import (
    KINDS,
    NAME,
    Manifest,
    as_list,
    is_exported,
    open_exported,
    output_names,
    read_manifest,
    write_manifest,
)
from .folding import fold_norms
from .int8 import quantization_of, quantize
from .symbol import FILES, INPUT, graph_of, of_logits, of_pixels, write_symbol

CHECKED, CALIBRATED = 8, 64  # pictures, where the user gives none
#: What these are, for manifests.
SAMPLE = "parts of the two photographs that come with scikit-learn"
_SEED = 20201022
_ANY_SIZE = 64  # pixels: the pictures that a network of any size is checked on

#: The largest difference of outputs, in parts of their range over all checked pictures, at which an export is done;
#: int8's is the root of the mean square.
TOLERANCES = {"symbol": 1e-4, "onnx": 1e-4, "int8": 0.1}

ROUNDING = 1e-6  # more, of probabilities: ONNX Runtime's sigmoid is no more exact, and all may be near 0

_TIMED = 8  # pictures of a batch that is timed
_TURNS, _SECONDS = 5, 1.0  # turns that are timed at least, behind one that is not, and the time that they take at least
_BATCH = 8  # pictures at once, where outputs are compared
_OURS = (NAME, onnx.MODEL, *FILES)
_SOURCE = ("weights", "sha256", "figure", "data")  # entries of a manifest's source

Run = Callable[[np.ndarray], List[np.ndarray]]


@dataclass(frozen=True)
class Source:
    """Where a network is from, for its manifest."""

    name: str  #: what it is, in words
    task: Optional[str] = None  #: name of the task that it was trained for
    weights: Optional[str] = None  #: what its weights are called
    sha256: Optional[str] = None  #: of its weights
    figure: Optional[str] = None  #: a figure that is known for it, in words
    data: Optional[Dict[str, Any]] = None  #: what is known of its images
    version: Optional[str] = None  #: of gluon_aff


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
    probabilities: bool = False,
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
        Initialised, from (N, 3, H, W) to one output, or a `FeatureMaps`.
    directory : path
        The folder that is made. It is there only when everything in it has been checked.
    to : {"symbol", "onnx", "int8"}
        MXNet's own symbol and parameters, ONNX, or MXNet's symbol in int8 for oneDNN.
    input : NetworkInput, optional
        How pictures become the network's input; without it the manifest does not say.
    segments : bool
        Whether it gives segmentation logits (N, classes, H, W) rather than class logits (N, classes), or is the
        `FeatureMaps` of such a network.
    input_size : int, optional
        Width and height of the input (default: ``input``'s; of a segmentation network any).
    batch : int or "dynamic"
        Pictures that it takes at once.
    with_preprocessing : bool
        Normalisation becomes a part of the network, whose input is then pixels, uint8 (N, H, W, 3), RGB.
    probabilities : bool
        The softmax over classes becomes a part of the network; of a segmentation of one class the sigmoid.
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
        raise UsageError(f"to is {to!r}: choose one of {', '.join(KINDS)}")
    if with_preprocessing and input is None:
        raise UsageError("with_preprocessing needs to know how pictures are normalised: give input=")
    features = net if isinstance(net, FeatureMaps) else None
    if features and probabilities:
        raise UsageError("feature maps are no logits, of which probabilities could be made: leave `probabilities` out")
    channels = getattr(net, "_in_channels", 3)
    if channels != 3:
        raise UsageError(f"the network takes {channels} channels: exports are checked on pictures of 3, RGB")
    place = Path(os.path.realpath(directory))  # a symbolic link stays and is followed
    check_free(place, overwrite)
    size = input_size or (None if segments or input is None else input.size)
    if size is None and not segments:
        raise UsageError("nothing tells the size of the network's input: give `input_size`")
    shape = _input_shape(size, batch, with_preprocessing)
    taken, own = "uint8" if with_preprocessing else "float32", pixels is not None
    pixels, transform = _checked_pixels(pixels, size), (input or NetworkInput()).transform

    graph = graph_of(net)
    device = next(iter(net.collect_params().values())).list_ctx()[0]

    def network(x: np.ndarray) -> List[np.ndarray]:
        made = as_list(net(mx.nd.array(x, ctx=device)))
        if probabilities:
            made = [of_logits(mx.nd, made[0], segments and made[0].shape[1] == 1)]
        return [each.asnumpy() for each in made]

    def before(chosen: np.ndarray) -> List[np.ndarray]:
        return _in_batches(network, transform(chosen))

    def after(chosen: np.ndarray) -> List[np.ndarray]:
        return _in_batches(lambda x: as_list(exported.run(x)), chosen if exported.takes_pixels else transform(chosen))

    expected = before(pixels)
    folding = fold_norms(graph) if fold else None
    if to == "int8":
        few = pixels if truth is not None or len(pixels) > CHECKED else sample_pixels(CALIBRATED, pixels.shape[1])
        symbol, values = quantize(graph, transform(few[:CALIBRATED]), calibration)
    else:
        symbol, values = graph.symbol(), graph.values()
    if probabilities:
        symbol = of_logits(mx.sym, symbol, segments and expected[0].shape[1] == 1)
    if with_preprocessing and input is not None:
        symbol, values = of_pixels(symbol, values, input)
    given = _about_outputs(features, probabilities, segments, expected)
    model = onnx.to_onnx(symbol, values, shape, taken, output_names(given)) if to == "onnx" else None
    source = source or Source(type(net).__name__)
    check: Dict[str, Any] = {"pictures": "given" if own else SAMPLE}
    about = {"name": INPUT, "shape": list(shape), "type": taken, "layout": "NHWC" if with_preprocessing else "NCHW"}
    kept = [{"name": norm.name, "reason": norm.reason} for norm in folding.kept] if folding else []
    manifest: Manifest = {
        "kind": to,
        "name": source.name,
        "task": source.task,
        "made_by": _versions(to, source.version),
        "source": {key: value for key, value in asdict(source).items() if key in _SOURCE},
        "input": {**about, "channels": "RGB", "normalised_inside": with_preprocessing},
        "preprocessing": input and replace(input, size=size or input.size).to_json(),
        **given,
        "folding": folding and {"folded": folding.folded, "kept": kept, "lines": folding.lines()},
        "quantization": {"calibration": calibration, **quantization_of(symbol)} if to == "int8" else None,
        "check": check,
    }
    aside = temporary_name(place)
    try:
        aside.mkdir(parents=True)
        if model is not None:
            (aside / onnx.MODEL).write_bytes(model)
            files = [onnx.MODEL]
        else:
            files = write_symbol(aside, symbol, values)
        write_manifest(aside, manifest, files)
        exported = open_exported(aside, device)
        found, lines = compare(expected, after(pixels), to, manifest, truth)
        found["speed"] = _speeds(before, after, np.resize(pixels, (exported.batch or _TIMED, *pixels.shape[1:])))
        lines.append(
            "speed      {batch} at a time: {before:.1f} images/s before, {after:.1f} after".format(**found["speed"])
        )
        if to == "int8" and device.device_type == "cpu":
            lines.append(_speed_of_int8(found["speed"]))
        check.update(found)
        write_manifest(aside, manifest, files)
        for file in aside.iterdir():
            sync(file)
        put_in_place(aside, place, overwrite)
    except OSError as error:
        raise cannot_write(directory, error) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    written = read_manifest(place)
    return Export(directory, written, [*_about(written), *lines])


def _in_batches(run: Run, x: np.ndarray) -> List[np.ndarray]:
    parts = [run(x[i : i + _BATCH]) for i in range(0, len(x), _BATCH)]
    return [np.concatenate(each) for each in zip(*parts)]


def _about_outputs(
    features: Optional[FeatureMaps], probabilities: bool, segments: bool, expected: List[np.ndarray]
) -> Manifest:
    """Return the manifest's entries on what the network gives."""
    kind, maps, outputs = "probabilities" if probabilities else "logits", None, expected[0].shape[1]
    said = f"segmentation {kind} (N, classes, H, W)" if segments else f"class {kind} (N, classes)"
    if features:
        keys = ("name", "channels", "stride")
        maps = [dict(zip(keys, each)) for each in zip(features.names, features.channels, features.strides)]
        said = ", ".join("{name} (N, {channels}, H / {stride}, W / {stride})".format(**each) for each in maps)
        said, segments, outputs = f"feature maps {said}", False, 0
    return {
        "output": said,
        "segments": segments,
        "outputs": outputs,
        "probabilities": probabilities,
        "features": maps,
    }


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


def sample_pixels(count: int, size: int) -> np.ndarray:
    """Return always the same pictures, uint8 (count, size, size, 3): squares of different scale and place."""
    from sklearn.datasets import load_sample_images

    photographs = load_sample_images().images
    rng = np.random.RandomState(_SEED)
    pictures = np.empty((count, size, size, 3), dtype=np.uint8)
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        height, width = photograph.shape[:2]
        side = int(rng.randint(min(height, width) // 4, min(height, width) + 1))
        top, left = rng.randint(height - side + 1), rng.randint(width - side + 1)
        pictures[number] = resized(photograph[None, top : top + side, left : left + side], size)[0]
    return pictures


def _versions(to: str, version: Optional[str]) -> Dict[str, Optional[str]]:
    found = {"gluon_aff": version, "mxnet": mx.__version__}
    if to == "onnx":
        import onnx as installed

        runtime = onnx.load_runtime().__version__
        found.update(onnx=installed.__version__, onnxruntime=runtime, opset=str(onnx.OPSET))
    return found


def _about(manifest: Manifest) -> List[str]:
    """Return lines about what was exported."""
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


# Against the network itself ------------------------------------------------------------------------------------------


def compare(
    expected: List[np.ndarray], found: List[np.ndarray], kind: str, manifest: Manifest, truth: Optional[Sequence[Any]]
) -> Tuple[Dict[str, Any], List[str]]:
    """Return what the check found, and lines about it. Raise GluonAFFError when the outputs are not the network's.

    Of several maps it is the one that differs most, in parts of its range.
    """
    rounding = ROUNDING if manifest["probabilities"] else 0
    checks = [_compared(before, after, kind, rounding) for before, after in zip(expected, found)]
    check = max(checks, key=lambda each: each["maximum_difference"] / (each["range"] or 1))
    difference, span = check["maximum_difference"], check["range"]
    lines = [
        f"checked    {check['images']} pictures: largest difference {difference:.3g}, {difference / (span or 1):.2g} "
        f"of the range {span:.3g}",
    ]
    if manifest["features"]:
        return check, lines
    segments, before, after = manifest["segments"], expected[0], found[0]
    if manifest["probabilities"]:
        before, after = as_logits(before), as_logits(after)
    same = check["same_prediction"] = float((_predicted(before, segments) == _predicted(after, segments)).mean())
    lines.append(f"           {'pixels' if segments else 'pictures'} predicted alike: {100 * same:.2f} %")
    if truth is not None:
        metric = ("mIoU" if before.shape[1] > 1 else "IoU") if segments else "top-1 accuracy"
        figures = [_figure(each, truth, segments) for each in (before, after)]
        check["figures"] = {"metric": metric, "images": len(before), "before": figures[0], "after": figures[1]}
        lines.append(f"figures    {metric} {figures[0]:.4f} before, {figures[1]:.4f} after ({len(before)} images)")
    return check, lines


def _compared(before: np.ndarray, after: np.ndarray, kind: str, rounding: float) -> Dict[str, Any]:
    """Return how far one output is from the network's. Raise GluonAFFError when it is too far."""
    if before.shape != after.shape or not np.isfinite(after).all():
        raise GluonAFFError(
            f"the exported network gives {after.shape}, finite: {bool(np.isfinite(after).all())}; the network "
            f"{before.shape}: nothing was written"
        )
    span = float(before.max() - before.min())
    difference = float(np.abs(after - before).max())
    quadratic = float(np.sqrt(np.mean(np.square(after - before, dtype=np.float64))))
    judged, tolerance = (quadratic if kind == "int8" else difference), TOLERANCES[kind]
    if judged > tolerance * span + rounding:
        raise GluonAFFError(
            f"the exported network's outputs differ by {judged:.3g} from the network's, whose range is {span:.3g}: "
            f"more than {tolerance:g} of it, so nothing was written"
        )
    return {
        "images": len(before),
        "maximum_difference": difference,
        "rms_difference": quadratic,
        "range": span,
        "tolerance": tolerance,
    }


def _predicted(logits: np.ndarray, segments: bool) -> np.ndarray:
    """Return class numbers (N,) or (N, H, W), or where the foreground is, bool (N, H, W)."""
    return logits[:, 0] > 0 if segments and logits.shape[1] == 1 else logits.argmax(axis=1)


def _figure(logits: np.ndarray, truth: Sequence[Any], segments: bool) -> float:
    """Return top-1 accuracy, IoU of the foreground (1 where there is none), or GluonCV's mIoU of several classes."""
    found, true = _predicted(logits, segments), np.stack([np.asarray(each) for each in truth])
    if not segments:
        return float((found == true).mean())
    if logits.shape[1] > 1:
        return float(class_ious(confusion(found, true, logits.shape[1], IGNORED)).mean())
    counts = confusion(found, np.where(true == IGNORED, IGNORED, true > 0), 2, IGNORED)
    return float(class_ious(counts)[1]) if counts[0, 0] < counts.sum() else 1.0


def _speeds(before: Run, after: Run, pixels: np.ndarray) -> Dict[str, Any]:
    """Time both, one after the other in turns, normalisation in NumPy included: medians in images/s."""
    runs = {"before": lambda: before(pixels), "after": lambda: after(pixels)}
    found = take_turns(runs, _SECONDS, least=_TURNS + 1)
    medians = {name: len(pixels) / float(np.median(seconds[1:])) for name, seconds in found.items()}
    about = {"batch": len(pixels), "threads": os.environ.get("OMP_NUM_THREADS"), "cpu": processor_name()}
    return {**about, **medians, "ratio": medians["after"] / medians["before"]}


def _speed_of_int8(speed: Dict[str, Any]) -> str:
    """Return a line about int8's speed beside float32's, which says so where it is no gain."""
    said = f"int8 runs at {speed['ratio']:.2f} times float32's speed here"
    return f"{'':<11}{said}{'' if speed['ratio'] > 1 else ': it is slower, float32 is the better choice on this CPU'}"


# In the place of another: an exported network alone is ever replaced, and nothing else removed -----------------------


def check_free(place: Path, overwrite: bool) -> None:
    """Raise UsageError unless ``place`` is missing, an empty folder, or, with ``overwrite``, an exported network alone.

    An exported network alone is a whole one, whose manifest `read_manifest` accepts, in a folder that holds the
    manifest, the files that it lists and nothing else.
    """
    if not place.exists() or (place.is_dir() and not _entries(place)):
        return
    if not is_exported(place):
        raise UsageError(f"{place} is there and is no exported network: choose another folder")
    if not overwrite:
        raise UsageError(f"{place} holds an exported network: choose another folder, or `overwrite`")
    try:
        listed = read_manifest(place)["files"]
    except GluonAFFError as error:
        raise UsageError(
            f"{place} holds no exported network that is whole ({error}), so `overwrite` does not remove it: choose "
            "another folder, or remove it yourself"
        ) from error
    others = [name for name in _entries(place) if name not in _OURS or name not in (NAME, *listed)]
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        raise UsageError(
            f"{place} holds more than an exported network ({', '.join(others[:3])}{more}), which `overwrite` would "
            "remove: choose another folder, or move it away"
        )


def put_in_place(made: Path, place: Path, overwrite: bool) -> None:
    """Rename the folder ``made``, which lies beside it, to ``place``; the old one is renamed aside and removed last.

    Raises UsageError when ``place`` has meanwhile become what `check_free` refuses, OSError when a folder cannot be
    renamed; the old one is then where it was.
    """
    check_free(place, overwrite)
    old = temporary_name(place, "old")
    replaces = place.is_dir() and bool(_entries(place))
    if replaces:
        os.rename(place, old)
    try:
        os.rename(made, place)
    except BaseException:
        if replaces:
            os.rename(old, place)
        raise
    sync(place.parent)
    if replaces:
        with suppress(OSError, GluonAFFError):
            for name in set(_entries(old)) & set(_OURS):
                (old / name).unlink()
            old.rmdir()  # if nothing else is in it


def _entries(folder: Path) -> List[str]:
    """Return the names of what is in a folder. Raise GluonAFFError when it cannot be read."""
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise GluonAFFError(f"cannot read {folder}: {error.strerror or error}") from error
