"""What network a set of parameter names and shapes belongs to, read from them alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import mxnet as mx

from ..errors import UsageError
from ..models import list_models, model_entry
from ..nn import create_fusion, list_fusions
from .hosts import Attention, Block, Host, Shapes, host_called, host_of, stages_of, tag_of

#: What changes the arithmetic or the start of training but no array, and so cannot be read off a file.
INVISIBLE = ("dilated", "last_gamma", "final_drop", "use_global_stats")

_LIKELIHOOD = {"aff": 4, "iaff": 3, "gau": 2, "se": 1}  # of fusions with equal arrays
_USUAL_RATIOS = (4, 16, 2, 8, 1, 32, 64)


@dataclass(frozen=True)
class Reading:
    """A fusion whose arrays fit: its field's name, and r: 0 for no bottleneck, None where r plays no part."""

    fusion: str
    r: Optional[int]


@dataclass(frozen=True)
class Structure:
    """A network in the words of ``create_model``'s options.

    ``host`` is the network without fusion and depth, ``tag`` its generation ("" where there is one only). ``r`` is as
    in Reading; ``start_layer`` is None where nothing tells it. ``layers`` counts the blocks of each stage. ``options``
    are the host's own. ``ambiguous_with`` are other fusions with the same arrays.
    """

    host: str
    tag: str
    fusion: str
    r: Optional[int]
    start_layer: Optional[int]
    layers: Tuple[int, ...]
    classes: int
    options: Dict[str, Any] = field(default_factory=dict)
    ambiguous_with: Tuple[Reading, ...] = ()

    def call(self) -> Dict[str, Any]:
        """The arguments of ``create_model``: "name" and the options that the name leaves open."""
        options = {"r": self.r, "start_layer": self.start_layer, **self.options}
        name, open_options = _registered_name(host_called(self.host), self.tag, self.fusion, self.layers)
        given = {key: value for key, value in options.items() if value is not None}
        return {"name": name, "classes": self.classes, **open_options, **given}

    def differences(self, other: Structure) -> List[Tuple[str, Any, Any]]:
        """(what, here, in the other) for all that tells the two apart; only the host when that differs."""
        mine, others = self._properties(), other._properties()
        if self.host != other.host:
            return [("host", self.host, other.host)]
        return [(key, mine.get(key), others.get(key)) for key in {**mine, **others} if mine.get(key) != others.get(key)]

    def _properties(self) -> Dict[str, Any]:
        names = ("host", "tag", "fusion", "r", "start_layer", "layers", "classes")
        return {**{name: getattr(self, name) for name in names}, **self.options}


def read_structure(shapes: Shapes) -> Structure:
    """The network that ``shapes`` (structural name -> shape) come from, as far as they tell.

    Raises UsageError, which says what was looked for, when they are of no network here.
    """
    stages = stages_of(shapes)
    host = host_of(shapes, stages)
    try:
        attentions = host.attentions(shapes, stages)
        readings = _readings([attention for found in attentions for attention in found], host.plain(shapes))
        start = next((number for number, found in enumerate(attentions, 1) if found), None)
        return Structure(
            host=host.name,
            tag=tag_of(stages) if host.tagged else "",
            fusion=readings[0].fusion,
            r=readings[0].r,
            start_layer=start if host.has_start_layer else None,
            layers=tuple(map(len, stages)),
            classes=shapes[f"{host.output}.weight"][0],
            options=host.options(shapes, stages),
            ambiguous_with=tuple(readings[1:]),
        )
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"the names look like a {host.name}'s, but its arrays are wrong or missing: {error}") from None


def _readings(attentions: Sequence[Attention], plain: str) -> List[Reading]:
    """The fusions whose arrays are those of the attentions, likeliest first; ``plain`` when there are none.

    Most attentions decide, so that a single array that is missing or too many can be named later.
    """
    if not attentions:
        return [Reading(plain, None)]
    usual = Counter(frozenset(arrays) for _, arrays in attentions).most_common(1)[0][0]
    attentions = [(channels, arrays) for channels, arrays in attentions if arrays.keys() == usual]
    ratio = _ratio(attentions) or _ratio(attentions[:1])
    channels, arrays = attentions[0]
    readings = []
    for name in sorted(list_fusions(), key=lambda name: (-_LIKELIHOOD.get(name, 0), name)):
        with_ratio, without = (_fusion_shapes(name, channels, r) == arrays for r in (ratio or 4, None))
        if with_ratio or without:
            readings.append(Reading(name, None if with_ratio and without else ratio if with_ratio else 0))
    if not readings:
        raise UsageError(f"the arrays of a fusion match no known strategy: {', '.join(sorted(arrays)[:4])}, ...")
    return readings


def _fusion_shapes(name: str, channels: int, r: Optional[int]) -> Block:
    try:
        with mx.name.NameManager():  # so that trying fusions leaves no gap in the names of the user's own blocks
            fusion = create_fusion(name, channels, r)
    except mx.MXNetError:  # sizes that no network has
        return {}
    return {key: parameter.shape for key, parameter in fusion._collect_params_with_prefix().items()}


def _ratio(attentions: Sequence[Attention]) -> Optional[int]:
    """r such that max(channels // r, 1) is what each attention's first convolution gives; None for no bottleneck."""
    least, most = 1, max(channels for channels, _ in attentions)
    for channels, arrays in attentions:
        convs = sorted(name for name, shape in arrays.items() if len(shape) == 4)
        if len(convs) < 2 * len({name.split(".")[0] for name in convs}):
            return None
        middle = arrays[convs[0]][0]
        least = max(least, channels // (middle + 1) + 1)
        most = most if middle == 1 else min(most, channels // middle)
    if least > most:
        return None
    return next((r for r in _USUAL_RATIOS if least <= r <= most), least)


def _registered_name(host: Host, tag: str, fusion: str, layers: Tuple[int, ...]) -> Tuple[str, Mapping[str, Any]]:
    """(name, options that it leaves open) of a network; a name that says both fusion and depth, if there is one."""
    found = []
    for name in list_models():
        entry = model_entry(name)
        if entry.network is not host.network or entry.tag != tag:
            continue
        options: Dict[str, Any] = {}
        if entry.fusion != fusion:
            options["fusion"] = fusion
        depth = entry.options.get("layers") or [entry.options.get("blocks")] * len(layers)
        if tuple(depth) != layers:
            options["layers"] = list(layers)
        says_otherwise = ("fusion" in options and entry.fusion != "add") + ("layers" in options and None not in depth)
        found.append((says_otherwise, len(options), len(name), name, options))
    best = min(found, key=lambda row: row[:4])
    return best[3], best[4]
