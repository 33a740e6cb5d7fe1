"""What a fusion strategy is, and the register of their names."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Type

import mxnet as mx
import numpy as np
from mxnet.gluon import nn

from ..errors import UsageError, near_matches
from .checks import check_not_empty, constructor_options, positive_integer, warn_of_batch_of_one
from .layers import NormKwargs
from .names import AUTHORS_KEYS, AUTHORS_RATIOS, authors_key, spelled


class Fusion(nn.HybridBlock):
    """What all strategies share: the shape check, the layers' settings, and every trait that others ask about.

    A strategy of your own derives from it, is decorated with ``@register_fusion(name)`` and states the traits in which
    it differs; networks, command lines, ablations, attention maps and plots then know it.

    Parameters
    ----------
    channels : int
        C of both inputs (N, C, H, W) and of the output.
    r : int or None
        Bottleneck ratio of the attention branches; None for no bottleneck (one 1x1 convolution per branch).
    norm_layer, norm_kwargs
        Normalisation layer, as GluonCV's networks take it (BatchNorm, SyncBatchNorm, ...).

    Attributes
    ----------
    norm_behind_pool : bool
        Whether a norm follows a global pool, so that a batch of one image cannot be trained on.
    norms_inputs : bool
        Whether the paper's same-layer host normalises the maps before this fusion.
    uses_ratio : bool
        Whether ``r`` plays a part.
    table4_ratio : int
        r at which the paper's Table 4 compares it at equal parameter budgets; Table 3 is at 4 throughout.
    table_row : int or None
        Its place among the strategies that `gluon-aff ablation` trains by default; None for not among them.
    key_is_same : bool
        Whether the authors' key means this very arithmetic, so that the field's name may stand for the key.
    likelihood : int
        Of several fusions with equal arrays in a file, the likelier one has the larger number.
    scales : (bool, bool)
        Whether the children ``local_att`` and ``global_att`` pool.
    weighs : str
        Which input the weight multiplies, "x" or "residual".
    selects : bool
        Whether the other input has the weight 1 - M.
    paper_fpn_options : dict
        The options with which it is what the paper-time FPN had under this name.

    Raises
    ------
    UsageError
        When called with two maps of different shape.
    """

    norm_behind_pool = True
    norms_inputs = True
    uses_ratio = True
    table4_ratio = 4
    table_row: Optional[int] = None
    key_is_same = False
    likelihood = 0
    scales = (False, True)
    weighs = "x"
    selects = False
    paper_fpn_options: Dict[str, Any] = {}

    def __init__(
        self,
        channels: int,
        r: Optional[int] = 4,
        norm_layer: Type[nn.HybridBlock] = nn.BatchNorm,
        norm_kwargs: NormKwargs = None,
        **kwargs,
    ):
        """The parameters are described with the class."""
        super().__init__(**kwargs)
        self._channels = positive_integer("channels", channels)
        self.norm_behind_pool = self.norm_behind_pool and not (norm_kwargs or {}).get("use_global_stats")
        with self.name_scope():
            self._build(channels, r, norm_layer, norm_kwargs)

    def _build(self, channels: int, r: Optional[int], norm_layer: Type[nn.HybridBlock], norm_kwargs: NormKwargs):
        """Make the children. The base class, as plain addition, has none."""

    def attention_logits(self, outputs: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
        """What goes into the weight's sigmoid, (N, C, H, W) or (N, C, 1, 1) by branch, from the branches' outputs."""
        return outputs

    def hybrid_forward(self, F, x, residual):
        """Two maps (N, C, H, W) to the fused one (N, C, H, W); ``F`` is ``mx.nd`` or, hybridized, ``mx.sym``."""
        raise NotImplementedError

    def forward(self, x: Any, residual: Any) -> Any:
        """The fused map of ``x``, the learned branch, and ``residual``, the shortcut: all (N, C, H, W)."""
        if isinstance(x, mx.nd.NDArray) and isinstance(residual, mx.nd.NDArray):
            if x.shape != residual.shape:
                raise UsageError(f"x is {x.shape}, residual is {residual.shape}: resize or project one of them first")
            if x.ndim != 4 or x.shape[1] != self._channels:
                raise UsageError(
                    f"x and residual are {x.shape}: this {type(self).__name__} takes (N, {self._channels}, H, W)"
                )
            check_not_empty("x", x.shape)
            warn_of_batch_of_one(self, x)
        return super().forward(x, residual)


_REGISTRY: Dict[str, Type[Fusion]] = {}


def register_fusion(name: str) -> Callable:
    """Class decorator: make a Fusion known to ``create_fusion`` under the field's name. A name registers once."""

    def add(cls: type) -> type:
        if name in _REGISTRY:
            raise UsageError(f"fusion {name!r} is registered already, as {_REGISTRY[name].__name__}")
        _REGISTRY[name] = cls
        return cls

    return add


def unregister_fusion(name: str) -> None:
    """Take a strategy out of the register again."""
    del _REGISTRY[name]


def fusion_spelling(name: str) -> str:
    """A fusion's name, the field's or an authors' key, as it is spelled here; an unknown one as it is."""
    return spelled(name, _REGISTRY) if isinstance(name, str) else name


def canonical_fusion(name: str) -> str:
    """The field's name of a strategy given by either name, in any case: ``"ASKCFuse"`` or ``"AFF"`` -> ``"aff"``.

    Raises UsageError with near matches for an unknown name.
    """
    name = fusion_spelling(name)
    if name in _REGISTRY:
        return name
    key = authors_key(name)
    if key:
        return AUTHORS_KEYS[key]
    raise UsageError(f"unknown fusion {name!r}: {near_matches(name, [*_REGISTRY, *AUTHORS_KEYS])}")


def fusion_class(name: str) -> Type[Fusion]:
    """The class of a strategy by either name, with its traits. Raises UsageError for an unknown name."""
    return _REGISTRY[canonical_fusion(name)]


def list_fusions() -> List[str]:
    """The field's names of all strategies, sorted."""
    return sorted(_REGISTRY)


def create_fusion(name: str, channels: int, r: Optional[int] = 4, **options: Any) -> Fusion:
    """A fusion block by the field's name ("aff") or the authors' key ("ASKCFuse"), in any case ("AFF").

    It is not initialised, as Gluon's layers are not: the network that it becomes a part of initialises all of itself.
    Call its ``initialize()`` to use it alone. (``create_model`` gives a whole network, and initialises it.)

    A field's name gives the paper's block, an authors' key the authors' arithmetic and parameter names. They differ
    where the authors' code has a fixed bottleneck, so that ``r`` is not used: none in ms_gau, ms_se and ms_sa, 4 in sk.

    Parameters
    ----------
    channels : C of both inputs, (N, C, H, W), and of the output.
    r : bottleneck ratio, or None for no bottleneck.
    options : ``norm_layer``, ``norm_kwargs``; ``weight_on``, ``factor`` for aff, iaff, sk and the scale ablations;
        ``double_stages`` for iaff; ``attends`` for ms_se.

    Raises UsageError for an unknown name (with near matches), an unknown option or a bad value.
    """
    name = fusion_spelling(name)
    cls = fusion_class(name)
    r = AUTHORS_RATIOS.get(authors_key(name), r)
    accepted = [option for option in constructor_options(cls, nn.HybridBlock) if option not in ("channels", "r")]
    unknown = sorted(set(options) - {*accepted, "prefix", "params"})
    if unknown:
        raise UsageError(f"fusion {name!r} has no option {', '.join(unknown)}: it takes {', '.join(accepted)}")
    try:
        return cls(channels, r, **options)
    except TypeError as error:
        raise UsageError(f"fusion {name!r} cannot be made with {', '.join(sorted(options))}: {error}") from None
