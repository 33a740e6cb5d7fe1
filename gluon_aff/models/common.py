"""What the networks share: input check, fusions per stage, stems, generations."""

from __future__ import annotations

import io
import warnings
from contextlib import redirect_stdout
from functools import partial
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple, Type

import mxnet as mx
import numpy as np
from mxnet.gluon import nn

from ..errors import UsageError
from ..nn import Fusion, LongSkip, create_fusion, positive_integer, warn_of_batch_of_one
from ..nn.blocks import MakeFusion
from ..nn.layers import NormKwargs, check_not_empty, conv3x3, norm

#: The authors' two generations: "release" (October 2020), "paper" (September 2020, the paper's tables).
TAGS = ("release", "paper")
#: Of an image: more than any camera's, hyperspectral ones included.
MOST_CHANNELS = 4096


class Network(nn.HybridBlock):
    """A network that takes images (N, in_channels, H, W). Raises UsageError for another input.

    What a class says of itself, `gluon-aff models`, the tasks and the recognition of weight files go by.

    Attributes
    ----------
    task : str
        "classification", to class logits (N, classes), or "segmentation", to maps of them, (N, classes, H, W).
    input_size : int
        Height and width in pixels of the images that it was made for.
    initializer : str
        That of its recipe: "xavier" or "kaiming".
    output_layer : str
        Structural name of its last layer.
    variants : dict
        Option -> its values, where the names and shapes of the arrays tell which it was made with; but for fusion, its
        ``r`` and first stage, depth, width and classes, which they always tell.
    untouched : bool
        Whether its weights are the random ones it was made with: neither loaded nor trained.
    call : dict or None
        Of a network that `create_model` made, "name" and the options that make another one like it, as plain values;
        None for one that was made otherwise.
    cam_layer : str or None
        Path of the layer that Grad-CAM looks at; None for the last residual stage.
    """

    task = ""
    input_size = 0
    initializer = "xavier"
    output_layer = "output"
    variants: Dict[str, Sequence[Any]] = {}
    untouched = False
    cam_layer: Optional[str] = None
    call: Optional[Dict[str, Any]] = None

    def __init__(self, in_channels: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._in_channels = positive_integer("in_channels", in_channels, MOST_CHANNELS)

    def initialize(
        self,
        init: Optional[mx.init.Initializer] = None,
        ctx: Any = None,
        verbose: bool = False,
        force_reinit: bool = False,
    ) -> None:
        """As Gluon's, also for a network that ``create_model`` has initialised already.

        Weights that are still the random ones it was made with are redrawn, on ``ctx``. Weights that were loaded or
        trained are kept and only moved to ``ctx``, with one warning that says so; ``force_reinit=True`` replaces them.

        Parameters
        ----------
        init : Initializer, optional
            Default: Xavier.
        ctx : Context or list of Context, optional
            Default: the CPU.
        """
        parameters = self.collect_params()
        initialised = any(parameter._data is not None for parameter in parameters.values())
        if initialised and not (self.untouched or force_reinit):
            warnings.warn(
                "this network has weights that were loaded or trained: they are kept. "
                "initialize(..., force_reinit=True) draws new ones",
                stacklevel=2,
            )
            if ctx is not None:
                parameters.reset_ctx(ctx)
            return
        super().initialize(init or mx.init.Xavier(), ctx, verbose, force_reinit=initialised)

    def load_parameters(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """As Gluon's. Raises UsageError, a ValueError, where the file has more or fewer blocks than the network."""
        try:
            super().load_parameters(filename, *args, **kwargs)
        except (AssertionError, ValueError):
            arrays = mx.nd.load(filename)
            reason = isinstance(arrays, dict) and _other_blocks(arrays, self._collect_params_with_prefix())
            if not reason:
                raise
            advice = "make it with as many, by `blocks` or its name; create_model(..., pretrained=FILE) says what fits"
            raise UsageError(f"{filename} does not fit this {type(self).__name__}: {reason}: {advice}") from None
        self.untouched = False

    def stages(self) -> List[List[nn.HybridBlock]]:
        """Its blocks up to the end of each stage, in the order they run, those behind the last one left out.

        Raises UsageError for a network that has none.
        """
        raise UsageError(f"{type(self).__name__} has no stages whose maps could be given")

    def fusion_slots(self) -> Dict[str, int]:
        """Return where fusions stand: what the names of their arrays begin with -> their channels."""
        slots: Dict[str, int] = {}

        def visit(block: nn.HybridBlock, prefix: str) -> None:
            if isinstance(block, Fusion):
                slots[prefix] = block._channels
            for name, child in block._children.items():
                hidden = isinstance(block, LongSkip) and name == "fusion"
                visit(child, prefix if hidden else f"{prefix}{name}.")

        visit(self, "")
        return slots

    def check_input(self, x: mx.nd.NDArray) -> None:
        if x.ndim != 4 or x.shape[1] != self._in_channels:
            raise UsageError(f"the input is {x.shape}: expected images as (N, {self._in_channels}, H, W)")
        check_not_empty("the input", x.shape)
        warn_of_batch_of_one(self, x)

    def forward(self, x: Any, *args: Any) -> Any:
        if isinstance(x, mx.nd.NDArray):
            self.check_input(x)
            if mx.autograd.is_training():
                self.untouched = False
            try:
                return super().forward(x, *args)
            except mx.MXNetError:
                check_size(self, *x.shape[2:])  # a clear word where the images are too small
                raise
        return super().forward(x, *args)


def check_size(net: nn.HybridBlock, height: int, width: int) -> None:
    """Raise UsageError when ``net`` cannot take images of this size, in pixels. Nothing is computed."""
    symbol_shapes(net(mx.sym.var("data")), (1, getattr(net, "_in_channels", 3), height, width))


def output_shape(net: nn.HybridBlock, shape: Sequence[int]) -> Optional[Tuple[int, ...]]:
    """The shape of the output for an input of ``shape``; None where that cannot be told. Nothing is computed."""
    try:
        symbol = net(mx.sym.var("data"))
        (name,) = symbol.list_outputs()
        return symbol_shapes(symbol, shape)[name]
    except Exception:  # what a forward pass of somebody else's raises for a symbol can be anything
        return None


def symbol_shapes(symbol: mx.sym.Symbol, shape: Sequence[int], **others: Tuple[int, ...]) -> Dict[str, Tuple[int, ...]]:
    """The shape of every output inside ``symbol`` for an input of ``shape``, by name. Raises UsageError for none.

    ``others`` are the shapes of inputs that are not called "data".
    """
    height, width = shape[2:]
    internals = symbol.get_internals()
    try:
        with redirect_stdout(io.StringIO()):  # MXNet prints the arguments that it refuses
            _, shapes, _ = internals.infer_shape(data=tuple(shape), **others)
    except (mx.MXNetError, OverflowError):
        shapes = None
    if min(height, width) < 1 or shapes is None:
        raise UsageError(f"images of {height}x{width} pixels are too small for this network: take larger ones")
    return dict(zip(internals.list_outputs(), shapes))


class ClassificationNet(Network):
    """A network from images (N, 3, H, W) to class logits (N, classes)."""

    task = "classification"


class SegmentationNet(Network):
    """A network from images (N, 3, H, W) to a map of logits for each class, (N, classes, H, W)."""

    task = "segmentation"


def classifier(classes: int, in_units: int) -> nn.HybridBlock:
    """The last layer, (N, in_units) -> (N, classes); for 0 classes the features themselves, (N, in_units)."""
    return nn.Dense(classes, in_units=in_units) if classes else nn.Flatten()


def is_release(tag: str) -> bool:
    if tag not in TAGS:
        raise UsageError(f"unknown tag {tag!r}: choose one of {', '.join(TAGS)}")
    return tag == "release"


def norm_settings(norm_kwargs: NormKwargs, use_global_stats: bool) -> NormKwargs:
    """norm_kwargs with the GluonCV networks' ``use_global_stats`` switch (frozen running statistics) worked in."""
    return {**(norm_kwargs or {}), "use_global_stats": True} if use_global_stats else norm_kwargs


def stage_fusions(
    fusion: str,
    r: Optional[int],
    start_layer: int,
    stages: int,
    norm_layer: Type[nn.HybridBlock],
    norm_kwargs: NormKwargs,
    **options: Any,
) -> List[MakeFusion]:
    """One ``make_fusion(channels)`` per stage: plain addition before stage ``start_layer`` (counted from 1)."""
    if positive_integer("start_layer", start_layer) > stages + 1:
        raise UsageError(f"start_layer is {start_layer}: expected 1 to {stages + 1} for {stages} stages")
    chosen = partial(create_fusion, fusion, r=r, norm_layer=norm_layer, norm_kwargs=norm_kwargs, **options)
    plain = partial(create_fusion, "add")
    return [plain if stage < start_layer else chosen for stage in range(1, stages + 1)]


def make_stage(
    count: int,
    block: Callable[..., nn.HybridBlock],
    width: int,
    in_channels: int,
    out_channels: int,
    stride: int,
    *args: Any,
    first: Optional[Dict[str, Any]] = None,
    prefix: Optional[str] = None,
    **options: Any,
) -> nn.HybridSequential:
    """A stage of a residual network: ``count`` blocks, made as ``block(width, in_channels, stride, *args, **options)``.

    The first takes ``in_channels`` and the stride, the others take ``out_channels``, which every block gives, and
    stride 1. ``first`` are options of the first one alone.
    """
    stage = nn.HybridSequential(prefix=prefix)
    with stage.name_scope():
        for index in range(count):
            inputs, step = (in_channels, stride) if index == 0 else (out_channels, 1)
            more = (first or {}) if index == 0 else {}
            stage.add(block(width, inputs, step, *args, **{**options, **more}))
    return stage


def split_at_stages(blocks: nn.HybridSequential) -> List[List[nn.HybridBlock]]:
    """The children of a network's ``features``, up to each of its stages, which are sequences themselves."""
    runs: List[List[nn.HybridBlock]] = [[]]
    for block in blocks:
        runs[-1].append(block)
        if isinstance(block, nn.HybridSequential):
            runs.append([])
    return runs[:-1]


def check_layers(layers: Sequence[int], stages: int) -> None:
    if len(layers) != stages:
        raise UsageError(f"layers is {tuple(layers)}: expected {stages} numbers of blocks, one for each stage")
    for count in layers:
        positive_integer("a stage's number of blocks", count)


def add_deep_stem(
    features: nn.HybridSequential,
    channels: int,
    first_stride: int,
    norm_layer: Type[nn.HybridBlock],
    norm_kwargs: NormKwargs,
    in_channels: int = 3,
) -> None:
    """Three 3x3 convolutions for one: channels/2 (stride), channels/2, channels; norm and relu between them.

    Call it inside ``features.name_scope()``, which does not nest.
    """
    half = channels // 2
    features.add(conv3x3(half, in_channels, first_stride))
    features.add(norm(half, norm_layer, norm_kwargs), nn.Activation("relu"))
    features.add(conv3x3(half, half))
    features.add(norm(half, norm_layer, norm_kwargs), nn.Activation("relu"))
    features.add(conv3x3(channels, half))


def count_parameters(net: nn.HybridBlock) -> Tuple[int, int]:
    """Return (trained, total): without and with what no gradient reaches (running statistics, frozen gamma or beta)."""
    parameters = net._collect_params_with_prefix().values()
    trained = sum(int(np.prod(p.shape)) for p in parameters if p.grad_req != "null")
    return trained, sum(int(np.prod(p.shape)) for p in parameters)


def _other_blocks(file: Iterable[str], network: Iterable[str]) -> Optional[str]:
    """Where a file and a network, both by their arrays' names, first have another number of blocks; None if nowhere."""
    found, expected = set(file), set(network)
    for name in sorted(found ^ expected):
        parts = name.split(".")
        for depth in range(1, len(parts) - 3):  # a block has layers, and these have arrays
            if not parts[depth].isdecimal():
                continue
            place = ".".join(parts[:depth])
            there, here = (
                len({each[len(place) + 1 :].split(".")[0] for each in names if each.startswith(f"{place}.")})
                for names in (found, expected)
            )
            if there != here and there and here:
                return f"there are {there} blocks at {place} in the file, {here} in the network"
    return None
