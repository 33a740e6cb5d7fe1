"""The hosts that names and shapes are told by, and how each host's own options are read off them.

A new host needs a row in ``HOSTS``; everything else about recognising files works from that row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Type

from ..errors import UsageError
from ..models import FPN, CIFARInception, CIFARResNet, CIFARResNeXt, ResNet, ResNeXt
from ..models.common import Network

Shapes = Mapping[str, Tuple[int, ...]]
Block = Dict[str, Tuple[int, ...]]
Stages = List[List[Block]]
Attention = Tuple[int, Block]  # a fusion's channels, and its arrays by their name inside it

_BLOCK = re.compile(r"(?:features\.|layer)(\d+)\.(\d+)\.(.+)")
_STEM = re.compile(r"(?:features|conv1)\.\d+\.weight")


@dataclass(frozen=True)
class Host:
    """A network without its fusion and depth, and the arrays that give it away.

    ``mark`` is in the first block of a network of so many ``stages``; ``output`` is the head. ``attentions`` finds the
    fusions with arrays, stage by stage; ``plain`` is the fusion of a network that has none.
    """

    name: str
    network: Type[Network]
    stages: int
    mark: str
    output: str
    attentions: Callable[[Shapes, Stages], List[List[Attention]]]
    options: Callable[[Shapes, Stages], Dict[str, Any]]
    tagged: bool = True  # whether it comes in two generations
    has_start_layer: bool = True
    plain: Callable[[Shapes], str] = lambda shapes: "add"


def stages_of(shapes: Shapes) -> Stages:
    """stages[i][j]: the arrays of one block, by their name inside it, in the order of their numbers."""
    tree: Dict[int, Dict[int, Block]] = {}
    for name, shape in shapes.items():
        match = _BLOCK.fullmatch(name)
        if match:
            tree.setdefault(int(match[1]), {}).setdefault(int(match[2]), {})[match[3]] = shape
    return [[blocks[index] for index in sorted(blocks)] for _, blocks in sorted(tree.items())]


def host_of(shapes: Shapes, stages: Stages) -> Host:
    """The host of a network. Raises UsageError, which says what was looked for, when it is none of ours."""
    first = stages[0][0] if stages else {}
    for host in HOSTS:
        if host.mark in first and len(stages) == host.stages and f"{host.output}.weight" in shapes:
            return host
    found = ", ".join(list(shapes)[:3]) + ", ..." if shapes else "none"
    looked_for = "; ".join(f"{host.name} has {host.stages} stages with {host.mark}" for host in HOSTS)
    raise UsageError(
        f"the names match no known network: found {found} in {len(stages)} stages, expected structural names "
        f"({looked_for})"
    )


def host_called(name: str) -> Host:
    """The host of a name in ``HOSTS``."""
    return next(host for host in HOSTS if host.name == name)


def head_of(shapes: Shapes) -> Optional[str]:
    """Prefix of the arrays of the last layer: "output", "fc", "head.block.4"; None when there is none of them."""
    heads = sorted({host.output for host in HOSTS})
    return next((head for head in heads if f"{head}.weight" in shapes), None)


def tag_of(stages: Stages) -> str:
    """The second stage's shortcut has a convolution at .0 in paper files, at .1 behind a pool in release files."""
    return "release" if len(stages[1][0].get("downsample.1.weight", ())) == 4 else "paper"


def _has_deep_stem(shapes: Shapes) -> bool:
    return sum(len(shape) == 4 for name, shape in shapes.items() if _STEM.fullmatch(name)) == 3


def _channel_times(width: int) -> int:
    if width < 16 or width % 16:
        raise UsageError(f"the first stage is {width} channels wide: expected a multiple of 16")
    return width // 16


def _cifar_resnet(shapes: Shapes, stages: Stages) -> Dict[str, Any]:
    options: Dict[str, Any] = {"channel_times": _channel_times(stages[0][0]["resfwd.5.weight"][0])}
    if _has_deep_stem(shapes):
        options["deep_stem"] = True
    return options


def _grouping(stages: Stages) -> Dict[str, Any]:
    """What the blocks of a ResNeXt have that is not usual."""
    grouped, depth = stages[0][0]["body.3.weight"][:2]
    options: Dict[str, Any] = {}
    if grouped // depth != 32:
        options["cardinality"] = grouped // depth
    least, most = 1, 1 << 20  # a group is floor(width x bottleneck_width / 64) channels deep, in every stage
    for stage in stages:
        width, depth = stage[0]["body.6.weight"][0] // 4, stage[0]["body.3.weight"][1]
        least, most = max(least, -(-64 * depth // width)), min(most, (64 * depth + 63) // width)
    if not least <= 4 <= most:
        options["bottleneck_width"] = least
    if "se.0.weight" in stages[0][0]:
        options["use_se"] = True
    return options


def _cifar_resnext(shapes: Shapes, stages: Stages) -> Dict[str, Any]:
    options: Dict[str, Any] = {"channel_times": _channel_times(stages[0][0]["body.6.weight"][0] // 4)}
    if _has_deep_stem(shapes):
        options["deep_stem"] = True
    options.update(_grouping(stages))
    if options["channel_times"] == 8:  # where cardinality is 64 unless told otherwise
        options.setdefault("cardinality", 32)
    return options


def _resnet(shapes: Shapes, stages: Stages) -> Dict[str, Any]:
    deep = _has_deep_stem(shapes)
    return {} if deep == (tag_of(stages) == "release") else {"deep_stem": deep}


def _resnext(shapes: Shapes, stages: Stages) -> Dict[str, Any]:
    return {**_resnet(shapes, stages), **_grouping(stages)}


def _cifar_inception(shapes: Shapes, stages: Stages) -> Dict[str, Any]:
    width = stages[0][0]["conv2.feature_spatial_3.0.weight"][0]
    options: Dict[str, Any] = {"channel_times": _channel_times(width)}
    if stages[1][0]["conv1.feature_spatial_3.0.weight"][0] != width:
        options["mid_width"] = "output"
    if stages[0][0]["conv1.feature_spatial_5.0.weight"][2] == 5:
        options["kernel5"] = "true"
    return options


def _fpn(shapes: Shapes, stages: Stages) -> Dict[str, Any]:
    return {
        "channel_times": _channel_times(stages[0][0]["body.3.weight"][0]),
        "stem": "std" if "stem.4.weight" in shapes else "tiny",
        "decoder": "expand" if "fuse23.feature_low.0.weight" in shapes else "reduce",
    }


def _in_blocks(places: Mapping[str, str]) -> Callable[[Shapes, Stages], List[List[Attention]]]:
    """Finds fusions in blocks by ``places``: prefix inside a block -> the array whose first axis is its channels."""

    def in_block(block: Block) -> List[Attention]:
        found = []
        for prefix, channels_of in places.items():
            arrays = {name[len(prefix) :]: shape for name, shape in block.items() if name.startswith(prefix)}
            if arrays:
                found.append((block[channels_of][0], arrays))
        return found

    return lambda shapes, stages: [[found for block in stage for found in in_block(block)] for stage in stages]


def _in_long_skips(shapes: Shapes, stages: Stages) -> List[List[Attention]]:
    """The fusions of an FPN's decoder, whose arrays sit among those of the convolutions around them."""
    found = []
    for skip in ("fuse23.", "fuse12."):
        around = tuple(skip + child for child in ("feature_high.", "feature_low.", "post."))
        arrays = {
            name[len(skip) :]: shape
            for name, shape in shapes.items()
            if name.startswith(skip) and not name.startswith(around)
        }
        if arrays:
            found.append((shapes[f"{skip}post.0.weight"][0], arrays))
    return [found]


def _plain_long_skip(shapes: Shapes) -> str:
    """Concatenation has no arrays there either, but doubles the input of what follows."""
    channels, fused = shapes["fuse23.post.0.weight"][:2]
    return "concat" if fused == 2 * channels else "add"


_IN_RESNET = _in_blocks({"attention.": "resfwd.5.weight"})
_IN_RESNEXT = _in_blocks({"attention.": "body.6.weight"})
_IN_BOTTLENECK = _in_blocks({"attention.": "conv3.weight"})
_IN_INCEPTION = _in_blocks({f"conv{n}.attention.": f"conv{n}.feature_spatial_3.0.weight" for n in (1, 2)})

HOSTS = (
    Host("cifar_resnet", CIFARResNet, 3, "resfwd.2.weight", "output", _IN_RESNET, _cifar_resnet),
    Host("cifar_resnext", CIFARResNeXt, 3, "body.0.weight", "output", _IN_RESNEXT, _cifar_resnext),
    Host("resnext", ResNeXt, 4, "body.0.weight", "output", _IN_RESNEXT, _resnext),
    Host("resnet", ResNet, 4, "conv3.weight", "fc", _IN_BOTTLENECK, _resnet),
    Host(
        "cifar_inception",
        CIFARInception,
        3,
        "conv1.feature_spatial_3.0.weight",
        "output",
        _IN_INCEPTION,
        _cifar_inception,
        tagged=False,
        has_start_layer=False,
    ),
    Host(
        "fpn",
        FPN,
        3,
        "body.0.weight",
        "head.block.4",
        _in_long_skips,
        _fpn,
        tagged=False,
        has_start_layer=False,
        plain=_plain_long_skip,
    ),
)
