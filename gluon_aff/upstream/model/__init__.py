"""The authors' ``model``: their networks, the release's generation, (N, 3, H, W) -> (N, classes), not initialised.

``askc_type`` is a fusion by either name; the authors had three keys. ``start_layer`` is the first stage that fuses.
ResNeXt's last norm starts at gamma 0 unless ``last_gamma``, as in the authors' code, and means it the other way round
in `gluon_aff.create_model`. Raises UsageError for what cannot be built.
"""

from __future__ import annotations

from typing import Any, Dict, Optional, Sequence, Type

from mxnet.gluon import nn

from ...models.cifar_resnet import CIFARResNet
from ...models.resnet import ResNet
from ...models.resnext import CIFARResNeXt, ResNeXt
from ...nn.layers import NormKwargs
from .fusion import gluons

NormLayer = Type[nn.HybridBlock]
_THEIRS = ("self", "__class__", "askc_type", "ignored")


def _ours(given: Dict[str, Any], *others: str) -> Dict[str, Any]:
    """What a class below is given, its ``locals()``, as our networks take it; ``others`` they do not."""
    same = {name: value for name, value in given.items() if name not in (*_THEIRS, *others)}
    return {"fusion": given["askc_type"], **same, **gluons(given["ignored"])}


class CIFARAFFResNet(CIFARResNet):
    """CIFAR ResNet of depth 6b + 2 for three equal ``layers`` b; ``channels`` are stem and stages."""

    def __init__(
        self,
        askc_type: str,
        start_layer: int,
        layers: Sequence[int],
        channels: Sequence[int],
        classes: int,
        deep_stem: bool,
        norm_layer: NormLayer = nn.BatchNorm,
        norm_kwargs: NormKwargs = None,
        **ignored: Any,
    ) -> None:
        super().__init__(**_ours(locals()))


class CIFARAFFResNeXt(CIFARResNeXt):
    """CIFAR ResNeXt of depth 9b + 2 for three equal ``layers`` b; of ``channels`` the first counts."""

    def __init__(
        self,
        askc_type: str,
        start_layer: int,
        layers: Sequence[int],
        channels: Sequence[int],
        cardinality: int,
        bottleneck_width: int,
        classes: int = 10,
        deep_stem: bool = False,
        use_se: bool = False,
        norm_layer: NormLayer = nn.BatchNorm,
        norm_kwargs: NormKwargs = None,
        **ignored: Any,
    ) -> None:
        super().__init__(width=channels[0], authors_last_gamma=True, **_ours(locals(), "channels"))


class AFFResNet(ResNet):
    """ImageNet ResNet: ``layers`` 3, 4, 6, 3 are 50, 3, 4, 23, 3 are 101; 152 was published as 3, 4, 36, 3.

    Parameters as in `gluon_aff.models.resnet.ResNet`; ``name_prefix`` does nothing.
    """

    def __init__(
        self,
        askc_type: str,
        start_layer: int,
        layers: Sequence[int],
        classes: int = 1000,
        dilated: bool = False,
        norm_layer: NormLayer = nn.BatchNorm,
        norm_kwargs: NormKwargs = None,
        last_gamma: bool = False,
        deep_stem: bool = True,
        stem_width: int = 32,
        avg_down: bool = True,
        final_drop: float = 0.0,
        use_global_stats: bool = False,
        name_prefix: str = "",
        **ignored: Any,
    ) -> None:
        super().__init__(**_ours(locals(), "name_prefix"))


class AFFResNeXt(ResNeXt):
    """ImageNet ResNeXt: ``layers`` 3, 4, 6, 3 with cardinality 32 and bottleneck_width 4 are ResNeXt-50 32x4d."""

    def __init__(
        self,
        askc_type: str,
        start_layer: int,
        layers: Sequence[int],
        cardinality: int,
        bottleneck_width: int,
        classes: int = 1000,
        last_gamma: bool = False,
        use_se: bool = False,
        deep_stem: bool = True,
        avg_down: bool = True,
        stem_width: int = 64,
        norm_layer: NormLayer = nn.BatchNorm,
        norm_kwargs: Optional[NormKwargs] = None,
        **ignored: Any,
    ) -> None:
        super().__init__(authors_last_gamma=True, **_ours(locals()))
