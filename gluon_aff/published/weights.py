"""Loading weight files into networks: every array in its place, or nothing is touched."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import mxnet as mx
import numpy as np

from ..errors import GluonAFFError, UsageError
from ..models import ModelEntry, build_model, initializer_of, model_entry
from ..models.common import ClassificationNet, Network
from ..nn import canonical_fusion
from ..training.weights import checkpoint_weights
from ..utils.container import FLOATS, Container, read_container
from .catalogue import catalogue, check, find_file, no_weights, record
from .recognition import Shapes, differences, head_of, names_at_fault, read_structure, recognise

IdOrFile = Union[str, "os.PathLike[str]"]
Devices = Union[mx.Context, Sequence[mx.Context], None]


class Weights(NamedTuple):
    """A weight file whose table has been read; ``name`` is the catalogue id or path it was asked for by."""

    name: str
    container: Container


def open_weights(id_or_file: IdOrFile) -> Weights:
    """The weights of a catalogue id or a ``.params`` file.

    Raises GluonAFFError when the file is not there or cannot be read, UsageError for what is neither an id nor a file.
    """
    return Weights(str(id_or_file), read_container(path_of(id_or_file)))


def path_of(id_or_file: IdOrFile) -> Path:
    """The file of a catalogue id, of a training run's best checkpoint (see `find_checkpoint`), or a path as it is.

    Raises GluonAFFError when the id's file is not there or the run has no checkpoint, UsageError for what is neither an
    id nor a file nor a directory.
    """
    if str(id_or_file) in catalogue():
        return find_file(str(id_or_file))
    path = Path(id_or_file)
    if not path.exists():
        raise UsageError(no_weights(id_or_file))
    return checkpoint_weights(path) if path.is_dir() else path


def load(
    id_or_file: Union[IdOrFile, Weights],
    net: Optional[Network] = None,
    ctx: Devices = None,
    *,
    replace_head: bool = False,
    replace_stem: bool = False,
) -> Network:
    """A network holding the weights of a catalogue id or of a ``.params`` file.

    Parameters
    ----------
    id_or_file : an id's file is looked for in the models directory (see ``fetch``).
    net : where the weights go. They take on its parameters' types, so float16 files go into float32 networks and the
        other way round. Without it the network is built, in float32: from the catalogue, or as ``recognise`` finds.
    ctx : device or list of devices (default: where the network is; CPU for a new one).
    replace_head : for transfer learning: where the number of classes differs, the network's last layer stays as it is,
        with a warning that says so; a network without one (``classes=0``) takes the rest.
    replace_stem : where the network's images have another number of channels, its first layers stay as they are, with a
        warning that says so.

    Every array must have its place. An id's file that is not the published one loads with a warning. Raises UsageError
    when arrays are extra, missing or of another shape, with their names and what to change, GluonAFFError when the file
    cannot be read; the network is then as it was.
    """
    name, container = id_or_file if isinstance(id_or_file, Weights) else open_weights(id_or_file)
    if name in catalogue():
        _warn_if_changed(name, container.path)
    if net is None:
        net = _network_for(name, container)
    expected = {name: parameter.shape for name, parameter in net._collect_params_with_prefix().items()}
    _fill(net, _values(container, expected, type(net).__name__, replace_head, replace_stem), ctx)
    net.untouched = False
    return net


def classes_in(weights: Weights) -> Optional[int]:
    """Outputs of the last layer in a weight file; None when it is of no network here."""
    shapes = _shapes(weights.container)
    head = head_of(shapes)
    return next(iter(shapes[f"{head}.weight"]), None) if head else None


def id_for(name: str, fusion: Optional[str] = None) -> str:
    """The id that ``create_model(name, fusion=fusion, pretrained=True)`` stands for.

    Raises UsageError when no published file fits that model, or several do.
    """
    wanted = _architecture(name, fusion)
    found = [
        entry
        for entry in catalogue().values()
        if _architecture(entry["model"]["name"], entry["model"]["options"].get("fusion")) == wanted
    ]
    described = f"{name} with fusion={fusion!r}" if fusion else name
    if not found:
        raise UsageError(
            f"no published weights fit {described}: `gluon-aff published list` shows which networks have some"
        )
    if len(found) > 1:
        choices = "; ".join(f"{entry['id']} ({_kind(entry)})" for entry in found)
        raise UsageError(f"several published files fit {described}, say which as pretrained=: {choices}")
    return found[0]["id"]


def _architecture(name: str, fusion: Optional[str]) -> Tuple[Any, ...]:
    entry: ModelEntry = model_entry(name)
    depth = entry.options.get("layers") or entry.options.get("blocks")
    return entry.network, entry.tag, depth, canonical_fusion(fusion or entry.fusion)


def _kind(entry: Dict[str, Any]) -> str:
    """What tells a record from others of the same network."""
    labels = f" {entry['label_mode']} labels" if entry["label_mode"] else ""
    reading = f", as r={entry['model']['options']['r']}, start_layer={entry['model']['options']['start_layer']}"
    uncertain = entry["alternative_reading_of"] is not None
    return f"{entry['dataset']}{labels}, {entry['metric']} {entry['value']}{reading if uncertain else ''}"


def _shapes(container: Container) -> Shapes:
    return {name: array.shape for name, array in container.arrays.items()}


def _warn_if_changed(identity: str, path: Path) -> None:
    try:
        check(identity, path)
    except GluonAFFError as error:
        warnings.warn(f"{error}; loading it all the same", stacklevel=3)


def _network_for(id_or_file: str, container: Container) -> Network:
    """The network, not initialised, of a catalogue id or of whatever the file is."""
    if id_or_file in catalogue():
        model = record(id_or_file)["model"]
        return build_model(model["name"], **model["options"])
    found = recognise(container)
    if found.create_model is None:
        raise UsageError(
            f"{container.path} matches no known network ({_listed(found.problems)}): give its network as net="
        )
    return build_model(**found.create_model)


def _values(
    container: Container, expected: Shapes, network: str, replace_head: bool, replace_stem: bool = False
) -> Dict[str, np.ndarray]:
    """The arrays for a network's parameters, all of them read. Raises UsageError unless they fit."""
    shapes = dict(_shapes(container))
    oddities = [] if shapes.keys() & expected.keys() else names_at_fault(container)
    if oddities:
        exported = container.path.with_name("manifest.json").is_file() and "aux:" in oddities[0]
        made_of = "; the manifest.json beside it names the weights that it was made of" if exported else ""
        raise UsageError(f"{container.path}: {oddities[0]}{made_of}")
    kept: List[str] = []
    head = head_of(expected)
    if replace_head and head and f"{head}.weight" in shapes:
        here, there = shapes[f"{head}.weight"][:1], expected[f"{head}.weight"][:1]
        if here and here != there:
            kept = [name for name in expected if name.startswith(f"{head}.")]
            shapes = {name: shape for name, shape in shapes.items() if not name.startswith(f"{head}.")}
    elif replace_head and not head and head_of(shapes):
        shapes = {name: shape for name, shape in shapes.items() if not name.startswith(f"{head_of(shapes)}.")}
    stem = [name for name in expected if replace_stem and _of_other_channels(shapes.get(name, ()), expected[name])]
    shapes = {name: shape for name, shape in shapes.items() if name not in stem}
    needed = {name: shape for name, shape in expected.items() if name not in kept and name not in stem}
    problems = differences(shapes, needed)
    problems += [
        f"{name} is {container.arrays[name].dtype} in the file, a floating-point parameter in the network"
        for name in needed
        if name in shapes and container.arrays[name].dtype not in FLOATS
    ]
    if problems:
        advice = _advice(_shapes(container), expected, replace_head)
        raise UsageError(f"{container.path} does not fit this {network}: {_listed(problems)}{advice}")
    if kept:
        warnings.warn(
            f"{container.path} is for {here[0]} classes, the network for {there[0]}: {' and '.join(kept)} stay as "
            f"initialised, the other {len(needed)} arrays are loaded",
            stacklevel=4,
        )
    if stem:
        warnings.warn(
            f"{container.path} is for images of another number of channels: {', '.join(stem)} stay as initialised",
            stacklevel=4,
        )
    return dict(zip(needed, container.read_all(needed)))


def _of_other_channels(there: Tuple[int, ...], here: Tuple[int, ...]) -> bool:
    """Whether two shapes are of one convolution or norm on images that differ in their channels."""
    place = 1 if len(here) == 4 else 0
    return len(there) == len(here) and [i for i, pair in enumerate(zip(there, here)) if len({*pair}) > 1] == [place]


def _listed(problems: Sequence[str], most: int = 5) -> str:
    more = f"; and {len(problems) - most} more" if len(problems) > most else ""
    return "; ".join(problems[:most]) + more


_POSITIONS = {"paper": "at .0 (strided)", "release": "at .1 (behind a pool)"}


def _advice(found: Shapes, expected: Shapes, any_head: bool) -> str:
    """What to change, when both the file and the network are of the kinds known here."""
    try:
        file, network = read_structure(found), read_structure(expected)
    except UsageError:
        return ""
    said = []
    for what, there, here in file.differences(network):
        if what == "tag":
            said.append(f"its downsample convolutions sit {_POSITIONS[there]}, so it is a {there}-generation file")
        elif what != "classes" or not any_head:
            said.append(f"it has {what}={there!r}, the network {here!r}")
    call = file.call()
    options = "".join(f", {key}={value!r}" for key, value in call.items() if key != "name")
    fitting = f"create_model({call['name']!r}{options}) fits its names"
    return f". What to change: {'; '.join(said)}. {fitting}" if said else f". {fitting}"


def _fill(net: Network, values: Dict[str, np.ndarray], ctx: Devices) -> None:
    devices = [ctx] if isinstance(ctx, mx.Context) else list(ctx) if ctx else None
    for name, parameter in net._collect_params_with_prefix().items():
        if parameter._data is None:
            if name in values:
                parameter.initialize(init=mx.init.Zero(), ctx=devices)
        elif devices and parameter.list_ctx() != devices:
            parameter.reset_ctx(devices)
        if name in values:
            parameter.set_data(mx.nd.array(values[name], dtype=parameter.dtype))


def build(identity: str, ctx: Optional[mx.Context] = None) -> ClassificationNet:
    """The initialised network of a catalogue id; ``(N, 3, H, W) -> (N, classes)``.

    ``_collect_params_with_prefix()`` gives the names, shapes and dtypes of the published file. A float16 entry gives a
    float16 network, which does not run on CPU: ``net.cast('float32')`` there. Raises UsageError for an unknown id.
    """
    entry = record(identity)
    name = entry["model"]["name"]
    net = build_model(name, **entry["model"]["options"])
    net.initialize(initializer_of(name), ctx=ctx)
    net.untouched = True
    if entry["dtype"] != "float32":
        net.cast(entry["dtype"])
    return net
