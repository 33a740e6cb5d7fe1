"""Fusion strategies (paper Table 1, Figs. 1, 2 and 5): ``block(x, residual) -> fused``, all (N, C, H, W).

``x`` is the learned branch (Y in the paper: the residual mapping, the 5x5 branch, the high-level map), ``residual``
the shortcut (X in the paper: the identity, the 3x3 branch, the low-level map). Formulas below are in the paper's
letters. M(Z) = sigmoid(L(Z) + g(Z)) is MS-CAM's weight (Eq. 3); G is its global branch alone.

Blocks that published weights exist for keep the authors' children, names and arithmetic.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Type

import mxnet as mx
import numpy as np
from mxnet.gluon import nn

from ..errors import UsageError, near_matches
from .attention import attend, context_branch
from .layers import (
    NormKwargs,
    check_not_empty,
    constructor_options,
    conv1x1,
    expand,
    norm,
    positive_integer,
    sigmoid,
    warn_of_batch_of_one,
)
from .names import AUTHORS_KEYS, AUTHORS_RATIOS, authors_key, spelled


class Weight(NamedTuple):
    """One weight of a fusion.

    ``label`` tells it from others of the fusion, "" where it is alone; ``branches`` are the children whose sum goes
    into its sigmoid, and whether each pools; ``on`` is the input that it multiplies, "x" or "residual".
    """

    label: str
    branches: Dict[str, bool]
    on: str


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
    uses_ratio : bool
        Whether ``r`` plays a part.
    attends : sequence of str
        Which inputs are summed for the branches to attend to, of "x" and "residual".
    scales : (bool, bool)
        Whether the children ``local_att`` and ``global_att`` pool.
    weight_on : str
        Which input the weight multiplies, "x" or "residual".
    selects : bool
        Whether the other input has the weight 1 - M.

    Raises
    ------
    UsageError
        When called with two maps of different shape.
    """

    norm_behind_pool = True
    uses_ratio = True
    attends: Sequence[str] = ("x", "residual")
    scales = (False, True)
    weight_on = "x"
    selects = False

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

    def weights(self) -> List[Weight]:
        """Its weights in the order they act, for attention maps."""
        scales = dict(zip(("local_att", "global_att"), self.scales))
        found = [
            {name + stage: pools for name, pools in scales.items() if name + stage in self._children}
            for stage in ("", "2")
        ]
        labels = ("stage 1", "stage 2") if found[1] else ("",)
        return [Weight(label, branches, self.weight_on) for label, branches in zip(labels, found) if branches]

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


@register_fusion("add")
class Add(Fusion):
    """Addition: X + Y. No parameters."""

    norm_behind_pool = False
    uses_ratio = False

    def hybrid_forward(self, F, x, residual):
        return F.elemwise_add(x, residual)


@register_fusion("concat")
class Concat(Fusion):
    """Concatenation: W_A X + W_B Y, as norm and one biased conv1x1 2C -> C on concat(x, residual)."""

    norm_behind_pool = False
    uses_ratio = False

    def _build(self, channels, r, norm_layer, norm_kwargs):
        self.fuse = nn.HybridSequential()
        with self.fuse.name_scope():
            self.fuse.add(norm(2 * channels, norm_layer, norm_kwargs), conv1x1(channels, 2 * channels, use_bias=True))

    def hybrid_forward(self, F, x, residual):
        return self.fuse(F.concat(x, residual, dim=1))


class _MultiScale(Fusion):
    """A fusion that weighs with M: children ``local_att`` (L) and ``global_att`` (g). Its formula is ``_mix``."""

    def _build(self, channels, r, norm_layer, norm_kwargs):
        local_pools, global_pools = self.scales
        self.local_att = context_branch(channels, r, local_pools, norm_layer, norm_kwargs)
        self.global_att = context_branch(channels, r, global_pools, norm_layer, norm_kwargs)

    def _mix(self, F, x, residual, weight):
        raise NotImplementedError

    def hybrid_forward(self, F, x, residual):
        branches = (self.local_att, self.global_att)
        return attend(F, self._mix, x, residual, branches, self.attends, pools=self.scales)


def _weight(channels, r, pool, norm_layer, norm_kwargs) -> nn.HybridSequential:
    """A branch and the sigmoid behind it."""
    branch = context_branch(channels, r, pool, norm_layer, norm_kwargs)
    with branch.name_scope():
        branch.add(nn.Activation("sigmoid"))
    return branch


class _GlobalContext(Fusion):
    """A fusion that weighs with G, the global branch alone: ``global_att`` ends in the sigmoid."""

    def _build(self, channels, r, norm_layer, norm_kwargs):
        self.global_att = _weight(channels, r, True, norm_layer, norm_kwargs)


@register_fusion("ms_gau")
class MSGAU(_MultiScale):
    """MS-GAU, partial modulation: M(Y) X + Y (Fig. 5a)."""

    attends: Sequence[str] = ("x",)
    weight_on = "residual"

    def _mix(self, F, x, residual, weight):
        return F.elemwise_add(F.elemwise_mul(weight, residual), x)


@register_fusion("ms_sa")
class MSSA(MSGAU):
    """MS-SA, full modulation: M(X + Y) X + Y (Fig. 5c)."""

    attends = ("x", "residual")


@register_fusion("ms_se")
class MSSE(_MultiScale):
    """MS-SENet, partial refinement: X + M(Y) Y (Fig. 5b).

    ``attends="sum"`` is X + M(X + Y) Y, as the paper-time FPN had it.
    """

    def __init__(self, channels: int, r: Optional[int] = 4, *, attends: str = "y", **kwargs):
        super().__init__(channels, r, **kwargs)
        if attends not in ("y", "sum"):
            raise UsageError(f"attends is {attends!r}: choose 'y' (the paper) or 'sum' (the paper-time FPN)")
        self.attends = ("x",) if attends == "y" else ("x", "residual")

    def _mix(self, F, x, residual, weight):
        return F.elemwise_add(residual, F.elemwise_mul(weight, x))


@register_fusion("se")
class SE(_GlobalContext):
    """SENet: X + G(Y) Y."""

    def hybrid_forward(self, F, x, residual):
        return F.elemwise_add(residual, F.broadcast_mul(x, self.global_att(x)))


@register_fusion("gau")
class GAU(_GlobalContext):
    """GAU: G(Y) X + Y. Its G is always one conv1x1 and one norm; ``r`` has no part in it."""

    uses_ratio = False
    weight_on = "residual"

    def _build(self, channels, r, norm_layer, norm_kwargs):
        super()._build(channels, None, norm_layer, norm_kwargs)

    def hybrid_forward(self, F, x, residual):
        return F.elemwise_add(F.broadcast_mul(residual, self.global_att(x)), x)


@register_fusion("gau_local")
class GAULocal(Fusion):
    """L(Y) X + Y: as GAU, without its pool ("Asymmetric Contextual Modulation"). The child is ``global_att`` there."""

    norm_behind_pool = False
    uses_ratio = False
    scales = (False, False)
    weight_on = "residual"

    def _build(self, channels, r, norm_layer, norm_kwargs):
        self.global_att = _weight(channels, None, False, norm_layer, norm_kwargs)

    def hybrid_forward(self, F, x, residual):
        return F.elemwise_add(F.elemwise_mul(residual, self.global_att(x)), x)


@register_fusion("acm")
class ACM(Fusion):
    """Asymmetric contextual modulation: 2 G(Y) X + 2 L(X) Y (Dai et al., WACV 2021, a paper of its own).

    ``topdown`` is G, the global context of Y, the high-level map; ``bottomup`` is L, which looks at each position of
    X, the low-level map. Each ends in its sigmoid.
    """

    pools = (True, False)  # topdown, bottomup

    def _build(self, channels, r, norm_layer, norm_kwargs):
        self.topdown = _weight(channels, r, self.pools[0], norm_layer, norm_kwargs)
        self.bottomup = _weight(channels, r, self.pools[1], norm_layer, norm_kwargs)

    def weights(self) -> List[Weight]:
        topdown, bottomup = self.pools
        return [Weight("topdown", {"topdown": topdown}, "residual"), Weight("bottomup", {"bottomup": bottomup}, "x")]

    def hybrid_forward(self, F, x, residual):
        low = F.broadcast_mul(residual, self.topdown(x))
        fused = F.elemwise_add(low, F.broadcast_mul(x, self.bottomup(residual)))
        return F.elemwise_add(fused, fused)


@register_fusion("acm_global")
class ACMGlobal(ACM):
    """BiGlobal: as ACM, but both branches pool: 2 G(Y) X + 2 G'(X) Y."""

    pools = (True, True)


@register_fusion("acm_local")
class ACMLocal(ACM):
    """BiLocal: as ACM, but neither branch pools: 2 L(Y) X + 2 L'(X) Y."""

    norm_behind_pool = False
    pools = (False, False)


@register_fusion("highway")
class Highway(_GlobalContext):
    """Highway, partial selection: G(X) X + (1 - G(X)) Y. The authors have no key for it."""

    weight_on = "residual"
    selects = True

    def hybrid_forward(self, F, x, residual):
        return _select(F, residual, x, expand(F, self.global_att(residual), x))


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
    selects = True

    def __init__(
        self, channels: int, r: Optional[int] = 4, *, weight_on: str = "x", factor: Optional[int] = None, **kwargs
    ):
        """The parameters are described with the class."""
        super().__init__(channels, r, **kwargs)
        if weight_on not in ("x", "residual"):
            raise UsageError(f"weight_on is {weight_on!r}: choose 'x' (the authors' code) or 'residual' (Eq. 4)")
        factor = self.default_factor if factor is None else factor
        if factor not in (1, 2):
            raise UsageError(f"factor is {factor!r}: choose 1 or 2")
        self.weight_on = weight_on
        self._doubled = factor == 2

    def _mix(self, F, x, residual, weight):
        mixed = self._selection(F, x, residual, weight)
        return F.elemwise_add(mixed, mixed) if self._doubled else mixed

    def _selection(self, F, x, residual, weight):
        first, second = (x, residual) if self.weight_on == "x" else (residual, x)
        return _select(F, first, second, weight)


@register_fusion("aff")
class AFF(_SoftSelection, _MultiScale):
    """AFF, attentional feature fusion (Eq. 4, Fig. 2a): Z = M(X + Y) X + (1 - M(X + Y)) Y.

    As in the authors' code, the weight multiplies ``x`` (the paper writes it on X) and the result is doubled, so
    that the two weights sum to 2 as they do in x + residual: 2 x w + 2 residual (1 - w), w = M(x + residual).
    Both are part of the published weights; ``weight_on="residual", factor=1`` is Eq. 4 to the letter.

    >>> fuse = AFF(channels=64)
    >>> fuse.initialize()
    >>> fused = fuse(x, residual)  # all (N, 64, H, W)

    Parameters
    ----------
    channels : int
        C of both inputs and of the output.
    r : int or None
        Bottleneck ratio of the attention branches: their middle has C // r channels. None: no bottleneck.
    weight_on : {"x", "residual"}
        Which input M multiplies, see above.
    factor : {1, 2}
        What the weighted mean is multiplied by (default: 2).
    norm_layer, norm_kwargs
        The branches' normalisation, as in GluonCV's networks (default: BatchNorm).

    Raises
    ------
    UsageError
        For a bad value, and when called with maps of different shape.
    """


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
    """iAFF, iterative AFF (Eq. 5 inside Eq. 4, Fig. 2b), with weights of its own at each stage.

    z = x w1 + residual (1 - w1), w1 = M1(x + residual); out = x w2 + residual (1 - w2), w2 = M2(z). M1 is
    ``local_att`` and ``global_att``, M2 is ``local_att2`` and ``global_att2``. **No factor 2** here: the authors left
    it out of iAFF by oversight (their issues 3, 13, 28, 33), and it is part of the published weights.
    ``double_stages=True`` doubles both z and the result, as the paper-time FPN did.

    >>> fuse = IAFF(channels=64)
    >>> fuse.initialize()
    >>> fused = fuse(x, residual)  # all (N, 64, H, W)

    Parameters
    ----------
    channels : int
        C of both inputs and of the output.
    r : int or None
        Bottleneck ratio of the attention branches: their middle has C // r channels. None: no bottleneck.
    weight_on : {"x", "residual"}
        Which input M1 and M2 multiply.
    factor : {1, 2}
        What the weighted mean is multiplied by (default: 1).
    double_stages : bool
        Double both results, see above.
    norm_layer, norm_kwargs
        The branches' normalisation, as in GluonCV's networks (default: BatchNorm).

    Raises
    ------
    UsageError
        For a bad value, and when called with maps of different shape.
    """

    default_factor = 1

    def __init__(self, channels: int, r: Optional[int] = 4, *, double_stages: bool = False, **kwargs):
        super().__init__(channels, r, **({"factor": 2, **kwargs} if double_stages else kwargs))
        self._doubles_first = double_stages

    def _build(self, channels, r, norm_layer, norm_kwargs):
        super()._build(channels, r, norm_layer, norm_kwargs)
        self.local_att2 = context_branch(channels, r, False, norm_layer, norm_kwargs)
        self.global_att2 = context_branch(channels, r, True, norm_layer, norm_kwargs)

    def hybrid_forward(self, F, x, residual):
        first = self._mix if self._doubles_first else self._selection
        z = attend(F, first, x, residual, (self.local_att, self.global_att), self.attends)
        return attend(F, self._mix, x, residual, (self.local_att2, self.global_att2), z=z)


@register_fusion("sk")
class SK(_SoftSelection):
    """SKNet: a softmax over two sets of channel weights from the global context of X + Y.

    2 x w + 2 residual (1 - w): of the 2C outputs of ``global_att`` the first C belong to x. The softmax of a pair
    is the sigmoid of its difference.
    """

    def attention_logits(self, outputs: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
        return {name: np.subtract(*np.split(output, 2, axis=1)) for name, output in outputs.items()}

    def _build(self, channels, r, norm_layer, norm_kwargs):
        self.global_att = context_branch(channels, r, True, norm_layer, norm_kwargs, out_channels=2 * channels)

    def hybrid_forward(self, F, x, residual):
        scores = self.global_att(F.elemwise_add(x, residual))
        first = F.slice_axis(scores, axis=1, begin=0, end=self._channels)
        second = F.slice_axis(scores, axis=1, begin=self._channels, end=2 * self._channels)
        return self._mix(F, x, residual, expand(F, sigmoid(F, F.elemwise_sub(first, second)), x))


def selects_softly(name: str) -> bool:
    """Whether a strategy (by either name) weighs both inputs, and so takes ``weight_on`` and ``factor``."""
    return issubclass(fusion_class(name), _SoftSelection)


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
