"""Fusion strategies (paper Table 1, Figs. 1, 2 and 5): ``block(x, residual) -> fused``, all (N, C, H, W).

``x`` is the learned branch (Y in the paper: the residual mapping, the 5x5 branch, the high-level map), ``residual``
the shortcut (X in the paper: the identity, the 3x3 branch, the low-level map). Formulas below are in the paper's
letters. M(Z) = sigmoid(L(Z) + g(Z)) is MS-CAM's weight (Eq. 3); G is its global branch alone.

Blocks that published weights exist for keep the authors' children, names and arithmetic.
"""

from __future__ import annotations

from typing import Dict, Optional

import numpy as np
from mxnet.gluon import nn

from ..errors import UsageError
from .attending import attend
from .attention import context_branch
from .fusion import Fusion, fusion_class, register_fusion
from .layers import conv1x1, expand, norm, sigmoid


@register_fusion("add")
class Add(Fusion):
    """Addition: X + Y. No parameters."""

    norm_behind_pool = False
    norms_inputs = False
    uses_ratio = False
    table_row = 1
    key_is_same = True

    def hybrid_forward(self, F, x, residual):
        return F.elemwise_add(x, residual)


@register_fusion("concat")
class Concat(Fusion):
    """Concatenation: W_A X + W_B Y, as norm and one biased conv1x1 2C -> C on concat(x, residual)."""

    norm_behind_pool = False
    norms_inputs = False
    uses_ratio = False
    table_row = 2

    def _build(self, channels, r, norm_layer, norm_kwargs):
        self.fuse = nn.HybridSequential()
        with self.fuse.name_scope():
            self.fuse.add(norm(2 * channels, norm_layer, norm_kwargs), conv1x1(channels, 2 * channels, use_bias=True))

    def hybrid_forward(self, F, x, residual):
        return self.fuse(F.concat(x, residual, dim=1))


class _MultiScale(Fusion):
    """A fusion that weighs with M: children ``local_att`` (L) and ``global_att`` (g)."""

    def _build(self, channels, r, norm_layer, norm_kwargs):
        local_pools, global_pools = self.scales
        self.local_att = context_branch(channels, r, local_pools, norm_layer, norm_kwargs)
        self.global_att = context_branch(channels, r, global_pools, norm_layer, norm_kwargs)

    def _weight(self, F, z, local_att, global_att):
        """sigmoid(local_att(z) + global_att(z)), at the size of z."""
        local_pools, global_pools = self.scales
        local, context = local_att(z), global_att(z)
        if global_pools and not local_pools:
            context = expand(F, context, z)
        weight = sigmoid(F, F.elemwise_add(local, context))
        return expand(F, weight, z) if local_pools else weight

    def _attend(self, F, kind, context, maps, second=False, factor=1):
        """The fused map by the native operator, from one stage's branches; None where this block must compute it."""
        if self.scales != (False, True):
            return None
        branches = (self.local_att2, self.global_att2) if second else (self.local_att, self.global_att)
        return attend(F, kind, context, maps, branches, factor)


class _GlobalContext(Fusion):
    """A fusion that weighs with G, the global branch alone: ``global_att`` ends in the sigmoid."""

    def _build(self, channels, r, norm_layer, norm_kwargs):
        self.global_att = context_branch(channels, r, True, norm_layer, norm_kwargs)
        with self.global_att.name_scope():
            self.global_att.add(nn.Activation("sigmoid"))


@register_fusion("ms_gau")
class MSGAU(_MultiScale):
    """MS-GAU, partial modulation: M(Y) X + Y (Fig. 5a)."""

    table4_ratio = 2
    table_row = 3
    weighs = "residual"

    def hybrid_forward(self, F, x, residual):
        fused = self._attend(F, "modulate", "x", (x, residual))
        if fused is not None:
            return fused
        return F.elemwise_add(F.elemwise_mul(self._weight(F, x, self.local_att, self.global_att), residual), x)


@register_fusion("ms_se")
class MSSE(_MultiScale):
    """MS-SENet, partial refinement: X + M(Y) Y (Fig. 5b).

    ``attends="sum"`` is X + M(X + Y) Y, as the paper-time FPN had it.
    """

    table4_ratio = 2
    table_row = 4
    paper_fpn_options = {"attends": "sum"}

    def __init__(self, channels: int, r: Optional[int] = 4, *, attends: str = "y", **kwargs):
        super().__init__(channels, r, **kwargs)
        if attends not in ("y", "sum"):
            raise UsageError(f"attends is {attends!r}: choose 'y' (the paper) or 'sum' (the paper-time FPN)")
        self._attends_sum = attends == "sum"

    def hybrid_forward(self, F, x, residual):
        fused = self._attend(F, "refine", "sum" if self._attends_sum else "x", (x, residual))
        if fused is not None:
            return fused
        attended = F.elemwise_add(x, residual) if self._attends_sum else x
        return F.elemwise_add(residual, F.elemwise_mul(self._weight(F, attended, self.local_att, self.global_att), x))


@register_fusion("ms_sa")
class MSSA(_MultiScale):
    """MS-SA, full modulation: M(X + Y) X + Y (Fig. 5c)."""

    table4_ratio = 2
    table_row = 5
    weighs = "residual"

    def hybrid_forward(self, F, x, residual):
        fused = self._attend(F, "modulate", "sum", (x, residual))
        if fused is not None:
            return fused
        weight = self._weight(F, F.elemwise_add(x, residual), self.local_att, self.global_att)
        return F.elemwise_add(F.elemwise_mul(weight, residual), x)


@register_fusion("se")
class SE(_GlobalContext):
    """SENet: X + G(Y) Y."""

    table_row = 10
    likelihood = 1

    def hybrid_forward(self, F, x, residual):
        return F.elemwise_add(residual, F.broadcast_mul(x, self.global_att(x)))


@register_fusion("gau")
class GAU(_GlobalContext):
    """GAU: G(Y) X + Y. Its G is always one conv1x1 and one norm; ``r`` has no part in it."""

    uses_ratio = False
    likelihood = 2
    weighs = "residual"

    def _build(self, channels, r, norm_layer, norm_kwargs):
        super()._build(channels, None, norm_layer, norm_kwargs)

    def hybrid_forward(self, F, x, residual):
        return F.elemwise_add(F.broadcast_mul(residual, self.global_att(x)), x)


@register_fusion("highway")
class Highway(_GlobalContext):
    """Highway, partial selection: G(X) X + (1 - G(X)) Y. The authors have no key for it."""

    table_row = 12
    weighs = "residual"
    selects = True

    def hybrid_forward(self, F, x, residual):
        weight = expand(F, self.global_att(residual), x)
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
        self.weighs = weight_on
        self._doubled = factor == 2

    @property
    def _kind(self):
        """What the native operator calls it."""
        return "select" if self.weighs == "x" else "select_residual"

    def _mix(self, F, x, residual, weight):
        first, second = (x, residual) if self.weighs == "x" else (residual, x)
        return _select(F, first, second, weight)

    def _scaled(self, F, mixed):
        return F.elemwise_add(mixed, mixed) if self._doubled else mixed


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

    table4_ratio = 2
    table_row = 6
    key_is_same = True
    likelihood = 4

    def hybrid_forward(self, F, x, residual):
        fused = self._attend(F, self._kind, "sum", (x, residual), factor=2 if self._doubled else 1)
        if fused is not None:
            return fused
        weight = self._weight(F, F.elemwise_add(x, residual), self.local_att, self.global_att)
        return self._scaled(F, self._mix(F, x, residual, weight))


@register_fusion("aff_global_global")
class AFFGlobalGlobal(AFF):
    """AFF, Global + Global (Table 3): as AFF, but both branches pool. The first keeps the name ``local_att``."""

    scales = (True, True)
    table_row = 8
    likelihood = 0


@register_fusion("aff_local_local")
class AFFLocalLocal(AFF):
    """AFF, Local + Local (Table 3): as AFF, but neither branch pools. The second keeps the name ``global_att``."""

    scales = (False, False)
    norm_behind_pool = False
    table_row = 9
    likelihood = 0


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
    paper_fpn_options = {"double_stages": True}
    table_row = 7
    key_is_same = True
    likelihood = 3

    def __init__(self, channels: int, r: Optional[int] = 4, *, double_stages: bool = False, **kwargs):
        super().__init__(channels, r, **({"factor": 2, **kwargs} if double_stages else kwargs))
        self._doubles_first = double_stages

    def _build(self, channels, r, norm_layer, norm_kwargs):
        super()._build(channels, r, norm_layer, norm_kwargs)
        self.local_att2 = context_branch(channels, r, False, norm_layer, norm_kwargs)
        self.global_att2 = context_branch(channels, r, True, norm_layer, norm_kwargs)

    def hybrid_forward(self, F, x, residual):
        z = self._attend(F, self._kind, "sum", (x, residual), factor=2 if self._doubles_first else 1)
        if z is None:
            first = self._weight(F, F.elemwise_add(x, residual), self.local_att, self.global_att)
            z = self._mix(F, x, residual, first)
            z = F.elemwise_add(z, z) if self._doubles_first else z
        fused = self._attend(F, self._kind, "given", (x, residual, z), second=True, factor=2 if self._doubled else 1)
        if fused is not None:
            return fused
        second = self._weight(F, z, self.local_att2, self.global_att2)
        return self._scaled(F, self._mix(F, x, residual, second))


@register_fusion("sk")
class SK(_SoftSelection):
    """SKNet: a softmax over two sets of channel weights from the global context of X + Y.

    2 x w + 2 residual (1 - w): of the 2C outputs of ``global_att`` the first C belong to x. The softmax of a pair
    is the sigmoid of its difference.
    """

    table_row = 11

    def attention_logits(self, outputs: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
        return {name: np.subtract(*np.split(output, 2, axis=1)) for name, output in outputs.items()}

    def _build(self, channels, r, norm_layer, norm_kwargs):
        self.global_att = context_branch(channels, r, True, norm_layer, norm_kwargs, out_channels=2 * channels)

    def hybrid_forward(self, F, x, residual):
        scores = self.global_att(F.elemwise_add(x, residual))
        first = F.slice_axis(scores, axis=1, begin=0, end=self._channels)
        second = F.slice_axis(scores, axis=1, begin=self._channels, end=2 * self._channels)
        weight = expand(F, sigmoid(F, F.elemwise_sub(first, second)), x)
        return self._scaled(F, self._mix(F, x, residual, weight))


def selects_softly(name: str) -> bool:
    """Whether a strategy (by either name) weighs both inputs, and so takes ``weight_on`` and ``factor``."""
    return issubclass(fusion_class(name), _SoftSelection)
