"""Recognising a weight file by its names and shapes: its network, and the published files that have the same arrays.

A file is held beside every registered network of its depth. What an array tells of the options is read off it: classes
off the head, width off the first convolution, fusion, r and first stage off what stands in the network's fusion slots.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import mxnet as mx
import numpy as np

from ..errors import UsageError
from ..models import ModelEntry, build_model, list_models, model_entry
from ..models.common import Network
from ..nn import create_fusion, list_fusions
from ..nn.layers import constructor_options
from ..utils.container import FLOATS, Container, read_container
from ..utils.files import PathLike
from .catalogue import catalogue

#: What changes the arithmetic or the start of training but no array, and so cannot be read off a file.
INVISIBLE = ("dilated", "last_gamma", "final_drop", "use_global_stats")

_MOST_ARRAYS = 10_000  # of a network; a file with more is none of ours
_BLOCK = re.compile(r"(?:features\.|layer)(\d+)\.(\d+)\.")
_LIKELIEST = ("aff", "iaff", "gau", "se")  # of fusions with equal arrays
_USUAL_RATIOS = (4, 16, 2, 8, 1, 32, 64)

Shapes = Mapping[str, Tuple[int, ...]]
Slot = Tuple[int, Dict[str, Tuple[int, ...]]]  # a fusion's channels, and its arrays by their name inside it


class Reading(NamedTuple):
    """A fusion whose arrays fit: its field's name, and r: 0 for no bottleneck, None where r plays no part."""

    fusion: str
    r: Optional[int]


@dataclass(frozen=True)
class Structure:
    """A network in the words of ``create_model``'s options.

    ``base`` is the network of its depth and generation without a fusion. ``r`` is as in Reading; ``start_layer`` is
    None where nothing tells it. ``options`` are the network's own. ``ambiguous_with`` are fusions with the same arrays.
    """

    base: ModelEntry
    fusion: str
    r: Optional[int]
    start_layer: Optional[int]
    classes: int
    options: Dict[str, Any] = field(default_factory=dict)
    ambiguous_with: Tuple[Reading, ...] = ()

    def call(self) -> Dict[str, Any]:
        """Return the arguments of ``create_model``: "name" and the options that the name leaves open."""
        of_tag = [entry for entry in map(model_entry, list_models()) if entry.network is self.base.network]
        fused = [
            e.name for e in of_tag if (e.tag, e.layers, e.fusion) == (self.base.tag, self.base.layers, self.fusion)
        ]
        named = {"name": fused[0]} if fused else {"name": self.base.name, "fusion": self.fusion}
        options = {"classes": self.classes, "r": self.r, "start_layer": self.start_layer, **self.options}
        return {**named, **{key: value for key, value in options.items() if value is not None}}

    def properties(self) -> Dict[str, Any]:
        """Return all that is told of it, by name."""
        named = {name: getattr(self, name) for name in ("fusion", "r", "start_layer", "classes")}
        base = {"host": self.base.network.__name__, "tag": self.base.tag, "layers": self.base.layers}
        return {**base, **named, **self.options}

    def differences(self, other: Structure) -> List[Tuple[str, Any, Any]]:
        """Return (what, here, in the other) for all that tells the two apart; only the host when that differs."""
        mine, others = self.properties(), other.properties()
        names = ["host"] if mine["host"] != others["host"] else {**mine, **others}
        return [(name, mine.get(name), others.get(name)) for name in names if mine.get(name) != others.get(name)]


@dataclass(frozen=True)
class Recognition:
    """What a file turned out to be.

    ``candidates`` are the catalogue ids whose names, shapes and types are the file's. ``create_model`` holds "name"
    and options, so that ``gluon_aff.create_model(**create_model)`` makes a network with the file's names and shapes; it
    is None, as ``structure`` is, for a file of no network here. ``problems`` says what is wrong with the file.
    """

    arrays: int
    candidates: List[str]
    create_model: Optional[Dict[str, Any]]
    structure: Optional[Structure]
    problems: List[str]


def recognise(file: Union[PathLike, Container]) -> Recognition:
    """Find the network of a ``.params`` file and the catalogue ids with the same arrays, from its table alone.

    Raises GluonAFFError when the file cannot be read, see ``read_container``.
    """
    container = file if isinstance(file, Container) else read_container(file)
    shapes = {name: array.shape for name, array in container.arrays.items()}
    types = {name: array.dtype for name, array in container.arrays.items()}
    structure, problems = None, names_at_fault(container)
    if not problems:
        try:
            structure = read_structure(shapes)
            problems = differences(shapes, arrays_of(structure.call()).shapes)
        except UsageError as error:
            problems = [str(error)]
    problems += [f"{name} is {kind}: expected floating point" for name, kind in types.items() if kind not in FLOATS]
    fits = structure if structure is not None and not problems else None
    return Recognition(
        arrays=len(shapes),
        candidates=_candidates(shapes, types) if fits else [],
        create_model=fits.call() if fits else None,
        structure=fits,
        problems=problems,
    )


class Arrays(NamedTuple):
    """Those of a network, by structural name, and where its fusions stand (see `Network.fusion_slots`)."""

    shapes: Dict[str, Tuple[int, ...]]
    types: Dict[str, str]
    slots: Dict[str, int]


def arrays_of(call: Mapping[str, Any], dtype: str = "float32") -> Arrays:
    """Return the arrays of the network that ``create_model(**call)`` makes, cast to ``dtype``.

    Raises UsageError for one that cannot be made.
    """
    return _arrays_of(json.dumps(call), dtype)


@lru_cache(maxsize=64)
def _arrays_of(call: str, dtype: str) -> Arrays:
    try:
        with mx.name.NameManager():  # so that it leaves no gap in the names of the user's own networks
            net = build_model(**json.loads(call))
    except mx.MXNetError:
        raise UsageError(f"MXNet cannot make a network of these sizes: {call}") from None
    if dtype != "float32":
        net.cast(dtype)
    parameters = net._collect_params_with_prefix()
    types = {name: np.dtype(parameter.dtype).name for name, parameter in parameters.items()}
    return Arrays({name: parameter.shape for name, parameter in parameters.items()}, types, net.fusion_slots())


def differences(shapes: Shapes, expected: Shapes) -> List[str]:
    """Return what is missing from a file, what only it has, and what has another shape, each by name."""
    found = [f"{name} is missing" for name in expected if name not in shapes]
    found += [f"{name} is in the file only" for name in shapes if name not in expected]
    found += [
        f"{name} is {shapes[name]} in the file, {shape} in the network"
        for name, shape in expected.items()
        if name in shapes and tuple(shapes[name]) != tuple(shape)
    ]
    return found


def head_of(shapes: Shapes) -> Optional[str]:
    """Return what the arrays of the last layer begin with: "output", "fc", "head.block.4"; None when there are none."""
    heads = sorted({model_entry(name).network.output_layer for name in list_models()})
    return next((head for head in heads if f"{head}.weight" in shapes), None)


def read_structure(shapes: Shapes) -> Structure:
    """Return the registered network that ``shapes`` (structural name -> shape) come from, as far as they tell.

    Raises UsageError, which says what was found, when they are of none.
    """
    numbers = [tuple(map(int, match.groups())) for match in map(_BLOCK.match, shapes) if match]
    stages = sorted({stage for stage, _ in numbers})
    layers = tuple(len({block for each, block in numbers if each == stage}) for stage in stages)
    entries = [entry for entry in map(model_entry, list_models()) if entry.layers == layers and entry.fusion == "add"]
    trials = [trial for entry in entries for trial in _trials(entry, shapes)]
    if not trials:
        raise UsageError(
            f"the names match no known network: found {', '.join(list(shapes)[:3])}, ... in stages of {layers} blocks, "
            "expected those of a network of `gluon-aff models`"
        )
    _, base, options, plain = max(trials, key=lambda trial: trial[0])
    slots = _filled_slots(plain, shapes)
    readings = _readings(list(slots.values())) if slots else [Reading(options.get("fusion", "add"), None)]
    first = _BLOCK.match(next(iter(slots), ""))
    return Structure(
        base=base,
        fusion=readings[0].fusion,
        r=readings[0].r,
        start_layer=stages.index(int(first[1])) + 1 if first and "start_layer" in base.accepts() else None,
        classes=shapes[f"{base.network.output_layer}.weight"][0],
        options={name: value for name, value in options.items() if name != "fusion"},
        ambiguous_with=tuple(readings[1:]),
    )


def _trials(base: ModelEntry, shapes: Shapes) -> Iterator[Tuple[int, ModelEntry, Dict[str, Any], Arrays]]:
    """Networks of a name without a fusion in which most arrays are equal: how many, entry, options, arrays."""
    classes = (shapes.get(f"{base.network.output_layer}.weight") or (0,))[0]
    if not classes:  # it has another head
        return
    for values in itertools.product(*base.network.variants.values()):
        options = dict(zip(base.network.variants, values))
        call = {"name": base.name, "classes": classes, **options}
        try:
            plain = arrays_of(call)
            if "channel_times" in base.accepts():
                options = {"channel_times": _channel_times(base, plain.shapes, shapes), **options}
                plain = arrays_of({**call, **options})
        except UsageError:
            continue  # sizes that no network has
        equal = sum(shapes.get(name) == shape for name, shape in plain.shapes.items())
        if 2 * equal > len(plain.shapes):
            yield equal, base, options, plain


def _channel_times(base: ModelEntry, plain: Shapes, shapes: Shapes) -> int:
    """How wide a network is: by its first convolution, beside that of ``plain``, which is of the usual width."""
    usual = constructor_options(base.network, Network)["channel_times"]
    first = next((name for name in plain if len(plain[name]) == 4 == len(shapes.get(name, ()))), None)
    return usual * shapes[first][0] // plain[first][0] if first else usual


def _filled_slots(plain: Arrays, shapes: Shapes) -> Dict[str, Slot]:
    """The fusions that have arrays, which a network without a fusion has not."""
    more = {name: shape for name, shape in shapes.items() if name not in plain.shapes}
    slots: Dict[str, Slot] = {}
    for prefix, channels in plain.slots.items():
        inside = {name[len(prefix) :]: shape for name, shape in more.items() if name.startswith(prefix)}
        if inside:
            slots[prefix] = (channels, inside)
    return slots


def _readings(slots: Sequence[Slot]) -> List[Reading]:
    """The fusions whose arrays are those of the slots, likeliest first.

    Most slots decide, so that a single array that is missing or too many can be named later.
    """
    usual = Counter(frozenset(arrays) for _, arrays in slots).most_common(1)[0][0]
    slots = [(channels, arrays) for channels, arrays in slots if arrays.keys() == usual]
    ratio = _ratio(slots) or _ratio(slots[:1]) or 4
    channels, arrays = slots[0]
    names = sorted(list_fusions(), key=lambda name: (name not in _LIKELIEST, *map(name.__ne__, _LIKELIEST), name))
    fits = {name: [_fusion_shapes(name, channels, r) == arrays for r in (ratio, None)] for name in names}
    readings = [
        Reading(name, None if with_ratio and without else ratio if with_ratio else 0)
        for name, (with_ratio, without) in fits.items()
        if with_ratio or without
    ]
    if not readings:
        raise UsageError(f"the arrays of a fusion match no known strategy: {', '.join(sorted(arrays)[:4])}, ...")
    return readings


def _fusion_shapes(name: str, channels: int, r: Optional[int]) -> Dict[str, Tuple[int, ...]]:
    with mx.name.NameManager():  # so that trying fusions leaves no gap in the names of the user's own blocks
        fusion = create_fusion(name, channels, r)
    return {key: parameter.shape for key, parameter in fusion._collect_params_with_prefix().items()}


def _ratio(slots: Sequence[Slot]) -> Optional[int]:
    """r such that max(channels // r, 1) is what each slot's first convolution gives."""
    middles = [
        (channels, next((s[0] for _, s in sorted(arrays.items()) if len(s) == 4), 0)) for channels, arrays in slots
    ]
    widest = max(channels for channels, _ in middles)
    ratios = (*_USUAL_RATIOS, *range(1, widest + 1))
    return next((r for r in ratios if all(max(channels // r, 1) == middle for channels, middle in middles)), None)


def names_at_fault(container: Container) -> List[str]:
    """Return what keeps a file's names from being those of a network here, and what to do."""
    names = list(container.arrays)
    if not names:
        return ["the file holds no arrays"]
    if len(names) > _MOST_ARRAYS:
        return [f"the file holds {len(names)} arrays, more than any network here"]
    if not container.named:
        return [f"the {len(names)} arrays have no names: expected what Block.save_parameters writes"]
    if any(name.startswith(("arg:", "aux:")) for name in names):
        return [
            "the names begin with arg: and aux:, as HybridBlock.export and Module write them: use "
            "gluon.SymbolBlock.imports with the -symbol.json beside it, or save the network by save_parameters"
        ]
    if not any("." in name for name in names):
        return [
            f"{names[0]!r} is a name as ParameterDict.save writes it, not a structural one: load the file with "
            "net.collect_params().load, then save the network by save_parameters"
        ]
    return []


def _candidates(shapes: Shapes, types: Mapping[str, str]) -> List[str]:
    total = sum(int(np.prod(shape, dtype=np.int64)) for shape in shapes.values())
    found = []
    for identity, record in sorted(catalogue().items()):
        if (record["arrays"], record["total_params"]) == (len(shapes), total):
            expected = arrays_of({"name": record["model"]["name"], **record["model"]["options"]}, record["dtype"])
            if dict(shapes) == expected.shapes and dict(types) == expected.types:
                found.append(identity)
    return found
