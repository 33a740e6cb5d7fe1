"""Fusion strategies (paper Table 1, Figs. 2, 4 and 5): ``block(x, residual) -> fused``, all (N, C, H, W).

``x`` is the learned branch (Y in the paper: the residual mapping, the 5x5 branch, the high-level map), ``residual``
the shortcut (X in the paper: the identity, the 3x3 branch, the low-level map). Formulas below are in the paper's
letters. M(Z) = sigmoid(L(Z) + g(Z)) is MS-CAM's weight (Eq. 3); G is its global branch alone.

Blocks that published weights exist for keep the authors' children, names and arithmetic.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Type

import mxnet as mx
from mxnet.gluon import nn

from ..errors import UsageError, near_matches
from .attention import context_branch
from .checks import constructor_options, positive_integer, warn_of_batch_of_one
from .layers import NormKwargs, conv1x1, norm, sigmoid, spread
from .names import AUTHORS_KEYS, AUTHORS_RATIOS, authors_key

_REGISTRY: Dict[str, Callable[..., Fusion]] = {}


def register_fusion(name: str) -> Callable:
    """Class decorator: make a Fusion known to ``create_fusion`` under the field's name. A name registers once."""

    def add(cls: type) -> type:
        if name in _REGISTRY:
            raise UsageError(f"fusion {name!r} is registered already, as {_REGISTRY[name].__name__}")
        _REGISTRY[name] = cls
        return cls

    return add


def canonical_fusion(name: str) -> str:
    """The field's name of a strategy given by either name: ``"ASKCFuse"`` -> ``"aff"``.

    Raises UsageError with near matches for an unknown name.
    """
    if name in _REGISTRY:
        return name
    key = authors_key(name)
    if key:
        return AUTHORS_KEYS[key]
    raise UsageError(f"unknown fusion {name!r}: {near_matches(name, [*_REGISTRY, *AUTHORS_KEYS])}")


class Fusion(nn.HybridBlock):
    """What all strategies share: the shape check, and the layers' settings.

    Parameters
    ----------
    channels : C of both inputs and of the output.
    r : bottleneck ratio of the attention branches; None for no bottleneck (one 1x1 convolution per branch).
    norm_layer, norm_kwargs : normalisation layer, as GluonCV's networks take it (BatchNorm, SyncBatchNorm, ...).

    Raises UsageError when called with two maps of different shape.
    """

    norm_behind_pool = True  # so that a batch of one image cannot be trained on
    norms_inputs = True  # whether the paper's same-layer host normalises the maps before this fusion

    def __init__(
        self,
        channels: int,
        r: Optional[int] = 4,
        norm_layer: Type[nn.HybridBlock] = nn.BatchNorm,
        norm_kwargs: NormKwargs = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._channels = positive_integer("channels", channels)
        self.norm_behind_pool = self.norm_behind_pool and not (norm_kwargs or {}).get("use_global_stats")
        with self.name_scope():
            self._build(channels, r, norm_layer, norm_kwargs)

    def _build(self, channels: int, r: Optional[int], norm_layer: Type[nn.HybridBlock], norm_kwargs: NormKwargs):
        """Make the children. The base class, as plain addition, has none."""

    def forward(self, x: Any, residual: Any) -> Any:
        if isinstance(x, mx.nd.NDArray) and isinstance(residual, mx.nd.NDArray):
            if x.shape != residual.shape:
                raise UsageError(f"x is {x.shape}, residual is {residual.shape}: resize or project one of them first")
            if x.ndim != 4 or x.shape[1] != self._channels:
                raise UsageError(
                    f"x and residual are {x.shape}: this {type(self).__name__} fuses (N, {self._channels}, H, W)"
                )
            warn_of_batch_of_one(self, x)
        return super().forward(x, residual)


@register_fusion("add")
class Add(Fusion):
    """Addition: X + Y. No parameters."""

    norm_behind_pool = False
    norms_inputs = False

    def hybrid_forward(self, F, x, residual):
        return F.elemwise_add(x, residual)


@register_fusion("concat")
class Concat(Fusion):
    """Concatenation: W_A X + W_B Y, as norm and one biased conv1x1 2C -> C on concat(x, residual)."""

    norm_behind_pool = False
    norms_inputs = False

    def _build(self, channels, r, norm_layer, norm_kwargs):
        self.fuse = nn.HybridSequential()
        with self.fuse.name_scope():
            self.fuse.add(norm(2 * channels, norm_layer, norm_kwargs), conv1x1(channels, 2 * channels, use_bias=True))

    def hybrid_forward(self, F, x, residual):
        return self.fuse(F.concat(x, residual, dim=1))


class _MultiScale(Fusion):
    """A fusion that weighs with M: children ``local_att`` (L) and ``global_att`` (g)."""

    scales = (False, True)  # does local_att pool, does global_att pool

    def _build(self, channels, r, norm_layer, norm_kwargs):
        local_pools, global_pools = self.scales
        self.local_att = context_branch(channels, r, local_pools, norm_layer, norm_kwargs)
        self.global_att = context_branch(channels, r, global_pools, norm_layer, norm_kwargs)

    def _weight(self, F, z, local_att, global_att):
        """sigmoid(local_att(z) + global_att(z)), at the size of z."""
        local_pools, global_pools = self.scales
        local, context = local_att(z), global_att(z)
        if global_pools and not local_pools:
            context = spread(F, context, z)
        weight = sigmoid(F, F.elemwise_add(local, context))
        return spread(F, weight, z) if local_pools else weight


class _GlobalContext(Fusion):
    """A fusion that weighs with G, the global branch alone: ``global_att`` ends in the sigmoid."""

    def _build(self, channels, r, norm_layer, norm_kwargs):
        self.global_att = context_branch(channels, r, True, norm_layer, norm_kwargs)
        with self.global_att.name_scope():
            self.global_att.add(nn.Activation("sigmoid"))


@register_fusion("ms_gau")
class MSGAU(_MultiScale):
    """MS-GAU, partial modulation: M(Y) X + Y (Fig. 5a)."""

    def hybrid_forward(self, F, x, residual):
        return F.elemwise_add(F.elemwise_mul(self._weight(F, x, self.local_att, self.global_att), residual), x)


@register_fusion("ms_se")
class MSSE(_MultiScale):
    """MS-SENet, partial refinement: X + M(Y) Y (Fig. 5b)."""

    def hybrid_forward(self, F, x, residual):
        return F.elemwise_add(residual, F.elemwise_mul(self._weight(F, x, self.local_att, self.global_att), x))


@register_fusion("ms_sa")
class MSSA(_MultiScale):
    """MS-SA, full modulation: M(X + Y) X + Y (Fig. 5c)."""

    def hybrid_forward(self, F, x, residual):
        weight = self._weight(F, F.elemwise_add(x, residual), self.local_att, self.global_att)
        return F.elemwise_add(F.elemwise_mul(weight, residual), x)


@register_fusion("se")
class SE(_GlobalContext):
    """SENet: X + G(Y) Y."""

    def hybrid_forward(self, F, x, residual):
        return F.elemwise_add(residual, F.broadcast_mul(x, self.global_att(x)))


@register_fusion("gau")
class GAU(_GlobalContext):
    """GAU: G(Y) X + Y. Its G is always one conv1x1 and one norm; ``r`` has no part in it."""

    def _build(self, channels, r, norm_layer, norm_kwargs):
        super()._build(channels, None, norm_layer, norm_kwargs)

    def hybrid_forward(self, F, x, residual):
        return F.elemwise_add(F.broadcast_mul(residual, self.global_att(x)), x)


@register_fusion("highway")
class Highway(_GlobalContext):
    """Highway, partial selection: G(X) X + (1 - G(X)) Y. The authors have no key for it."""

    def hybrid_forward(self, F, x, residual):
        weight = spread(F, self.global_att(residual), x)
        return _select(F, residual, x, weight)


def _select(F, first, second, weight):
    """first * weight + second * (1 - weight), with one product: second + weight * (first - second)."""
    return F.elemwise_add(second, F.elemwise_mul(weight, F.elemwise_sub(first, second)))


class _SoftSelection(Fusion):
    """Base of the blocks that choose softly between their inputs, with the authors' order and factor by default.

    Parameters
    ----------
    weight_on : "x" (the authors' code, and so all published weights) or "residual" (as the paper writes Eq. 4).
        The function class is the same; a trained network keeps to one of them.
    factor : what the weighted mean is multiplied by, 1 or 2.
    """

    default_factor = 2

    def __init__(
        self, channels: int, r: Optional[int] = 4, *, weight_on: str = "x", factor: Optional[int] = None, **kwargs
    ):
        super().__init__(channels, r, **kwargs)
        if weight_on not in ("x", "residual"):
            raise UsageError(f"weight_on is {weight_on!r}: choose 'x' (the authors' code) or 'residual' (Eq. 4)")
        factor = self.default_factor if factor is None else factor
        if factor not in (1, 2):
            raise UsageError(f"factor is {factor!r}: choose 1 or 2")
        self._weight_on_x = weight_on == "x"
        self._doubled = factor == 2

    def _mix(self, F, x, residual, weight):
        first, second = (x, residual) if self._weight_on_x else (residual, x)
        return _select(F, first, second, weight)

    def _scaled(self, F, mixed):
        return F.elemwise_add(mixed, mixed) if self._doubled else mixed


@register_fusion("aff")
class AFF(_SoftSelection, _MultiScale):
    """AFF, attentional feature fusion (Eq. 4, Fig. 4a): Z = M(X + Y) X + (1 - M(X + Y)) Y.

    As in the authors' code, the weight multiplies ``x`` (the paper writes it on X) and the result is doubled, so
    that the two weights sum to 2 as they do in x + residual: 2 x w + 2 residual (1 - w), w = M(x + residual).
    Both are part of the published weights; ``weight_on="residual", factor=1`` is Eq. 4 to the letter.
    """

    def hybrid_forward(self, F, x, residual):
        weight = self._weight(F, F.elemwise_add(x, residual), self.local_att, self.global_att)
        return self._scaled(F, self._mix(F, x, residual, weight))


@register_fusion("aff_global_global")
class AFFGlobalGlobal(AFF):
    """AFF, Global + Global (Table 3): as AFF, but both branches pool. The first keeps the name ``local_att``."""

    scales = (True, True)


@register_fusion("aff_local_local")
class AFFLocalLocal(AFF):
    """AFF, Local + Local (Table 3): as AFF, but neither branch pools. The second keeps the name ``global_att``."""

    scales = (False, False)
    norm_behind_pool = False


@register_fusion("iaff")
class IAFF(_SoftSelection, _MultiScale):
    """iAFF, iterative AFF (Eq. 5 inside Eq. 4, Fig. 4b), with weights of its own at each stage.

    z = x w1 + residual (1 - w1), w1 = M1(x + residual); out = x w2 + residual (1 - w2), w2 = M2(z). M1 is
    ``local_att`` and ``global_att``, M2 is ``local_att2`` and ``global_att2``. **No factor 2** here: the authors left
    it out of iAFF by oversight (their issues 3, 13, 28, 33), and it is part of the published weights.
    """

    default_factor = 1

    def _build(self, channels, r, norm_layer, norm_kwargs):
        super()._build(channels, r, norm_layer, norm_kwargs)
        self.local_att2 = context_branch(channels, r, False, norm_layer, norm_kwargs)
        self.global_att2 = context_branch(channels, r, True, norm_layer, norm_kwargs)

    def hybrid_forward(self, F, x, residual):
        first = self._weight(F, F.elemwise_add(x, residual), self.local_att, self.global_att)
        z = self._mix(F, x, residual, first)
        second = self._weight(F, z, self.local_att2, self.global_att2)
        return self._scaled(F, self._mix(F, x, residual, second))


@register_fusion("sk")
class SK(_SoftSelection):
    """SKNet: a softmax over two sets of channel weights from the global context of X + Y.

    2 x w + 2 residual (1 - w): of the 2C outputs of ``global_att`` the first C belong to x. The softmax of a pair
    is the sigmoid of its difference.
    """

    def _build(self, channels, r, norm_layer, norm_kwargs):
        self.global_att = context_branch(channels, r, True, norm_layer, norm_kwargs, out_channels=2 * channels)

    def hybrid_forward(self, F, x, residual):
        scores = self.global_att(F.elemwise_add(x, residual))
        first = F.slice_axis(scores, axis=1, begin=0, end=self._channels)
        second = F.slice_axis(scores, axis=1, begin=self._channels, end=2 * self._channels)
        weight = spread(F, sigmoid(F, F.elemwise_sub(first, second)), x)
        return self._scaled(F, self._mix(F, x, residual, weight))


def list_fusions() -> List[str]:
    """The field's names of all strategies, sorted."""
    return sorted(_REGISTRY)


def selects_softly(name: str) -> bool:
    """Whether a strategy (by either name) weighs both inputs, and so takes ``weight_on`` and ``factor``."""
    return issubclass(_REGISTRY[canonical_fusion(name)], _SoftSelection)


def create_fusion(name: str, channels: int, r: Optional[int] = 4, **options: Any) -> Fusion:
    """A fusion block by the field's name ("aff") or the authors' key ("ASKCFuse"), not yet initialised.

    A field's name gives the paper's block, an authors' key the authors' arithmetic and parameter names. They differ
    where the authors' code has a fixed bottleneck, so that ``r`` is not used: none in ms_gau, ms_se and ms_sa, 4 in sk.

    Parameters
    ----------
    channels : C of both inputs, (N, C, H, W), and of the output.
    r : bottleneck ratio, or None for no bottleneck.
    options : ``norm_layer``, ``norm_kwargs``; ``weight_on``, ``factor`` for aff, iaff, sk and the scale ablations.

    Raises UsageError for an unknown name (with near matches), an unknown option or a bad value.
    """
    cls = _REGISTRY[canonical_fusion(name)]
    r = AUTHORS_RATIOS.get(authors_key(name), r)
    accepted = [option for option in constructor_options(cls, nn.HybridBlock) if option not in ("channels", "r")]
    unknown = sorted(set(options) - {*accepted, "prefix", "params"})
    if unknown:
        raise UsageError(f"fusion {name!r} has no option {', '.join(unknown)}: it takes {', '.join(accepted)}")
    try:
        return cls(channels, r, **options)
    except TypeError as error:
        raise UsageError(f"fusion {name!r} cannot be made with {', '.join(sorted(options))}: {error}") from None
