"""The register of networks: names, what each builds, and which options it takes.

A name is ``arch`` or ``arch.tag``; without a tag the release is meant. The prefix names the fusion (``aff_``,
``iaff_``, none = add), which ``fusion=`` overrides with any strategy. Depths follow the networks' own counting: CIFAR
ResNet and Inception and the segmentation networks' encoder 6b + 2, CIFAR ResNeXt 9b + 2.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Dict, List, Tuple, Type

import mxnet as mx

from ..errors import UsageError, near_matches
from ..nn import canonical_fusion, positive_integer
from ..nn.layers import constructor_options
from .cifar_inception import CIFARInception
from .cifar_resnet import CIFARResNet
from .common import ClassificationNet, Network
from .fpn import FPN
from .resnet import ResNet
from .resnext import CIFARResNeXt, ResNeXt
from .unet import UNet


@dataclass(frozen=True)
class ModelEntry:
    """One name: the network's class, and the options the name stands for."""

    name: str
    network: Type[Network]
    options: Dict[str, Any] = field(default_factory=dict)

    @property
    def tag(self) -> str:
        return self.options.get("tag", "")

    @property
    def fusion(self) -> str:
        return self.options.get("fusion", "add")

    @property
    def input_size(self) -> int:
        return self.network.input_size

    @property
    def layers(self) -> Tuple[int, ...]:
        """Blocks in each stage; empty where the name leaves the depth open."""
        blocks = self.options.get("blocks")
        return tuple(self.options.get("layers") or (blocks and [blocks] * 3) or ())

    def accepts(self) -> List[str]:
        """Names of the options that ``build`` takes, sorted."""
        options = constructor_options(self.network, Network)
        return [option for option in options if option not in ("width", "prefix", "params")]


_ENTRIES: Dict[str, ModelEntry] = {}
_PLAIN = (bool, int, float, str, list, tuple)  # not a norm's class, nor its settings, which weights do not depend on

#: What no network here could be made with in reasonable time and memory, and beyond what anybody has published: a slip
#: of the keyboard. ResNet-1202 has 200 blocks in each stage, ImageNet-21k has 21,841 classes.
_MOST = {"classes": 100_000, "blocks": 200, "channel_times": 64, "cardinality": 256, "bottleneck_width": 1024}


def register_model(name: str, network: Type[Network], **options: Any) -> ModelEntry:
    """Make a network known under a name that stands for ``options``. Raises UsageError when the name is taken."""
    if name in _ENTRIES:
        raise UsageError(f"model {name!r} is registered already, as {_ENTRIES[name].network.__name__}")
    _ENTRIES[name] = ModelEntry(name, network, options)
    return _ENTRIES[name]


def list_models(pattern: str = "*") -> List[str]:
    """Sorted names that match a shell pattern such as ``"cifar_aff*"``."""
    return sorted(name for name in _ENTRIES if fnmatchcase(name, pattern))


def model_entry(name: str) -> ModelEntry:
    """The register's entry. ``arch.release`` is ``arch``. Raises UsageError with near matches for an unknown name."""
    base = name[: -len(".release")] if name.endswith(".release") else name
    entry = _ENTRIES.get(base)
    if entry is None or (base != name and entry.tag != "release"):
        advice = near_matches(name, _ENTRIES, "gluon-aff models")
        with suppress(UsageError):
            advice = f"it is the fusion {canonical_fusion(name)}, so call create_fusion, or give a network `fusion`"
        raise UsageError(f"unknown model {name!r}: {advice}")
    return entry


def build_model(name: str, **options: Any) -> Network:
    """The network of a name, not initialised. An option that is None keeps its default; ``r=0`` means no bottleneck.

    Raises UsageError for an unknown name, an option the network does not have, or a bad value.
    """
    entry = model_entry(name)
    given = {key: value for key, value in options.items() if value is not None}
    accepted = entry.accepts()
    unknown = sorted(set(given) - set(accepted))
    if unknown:
        raise UsageError(f"{name} has no option {', '.join(unknown)}: it takes {', '.join(accepted)}")
    if "fusion" in given:
        canonical_fusion(given["fusion"])  # a wrong name is reported before anything is built
    call = {"name": entry.name, **{key: value for key, value in given.items() if isinstance(value, _PLAIN)}}
    if given.get("r") == 0:
        given["r"] = None
    headless = given.get("classes") == 0 and issubclass(entry.network, ClassificationNet)
    for key, most in _MOST.items():
        positive_integer(key, 1 if headless and key == "classes" else given.get(key, 1), most)
    net = entry.network(**{**entry.options, **given})
    net.call = call
    return net


def initializer_of(name: str) -> mx.init.Initializer:
    """The initialisation of a model's recipe: MSRAPrelu (Kaiming) on ImageNet and for segmentation, else Xavier."""
    return mx.init.MSRAPrelu() if model_entry(name).network.initializer == "kaiming" else mx.init.Xavier()


_PREFIXES = {"": "add", "aff_": "aff", "iaff_": "iaff"}
_LONG_SKIPS = {**_PREFIXES, "acm_": "acm"}
_IMAGENET_RESNETS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
_IMAGENET_RESNEXTS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def _register(arch: str, network: Type[Network], tagged: bool = True, **settings: Any) -> None:
    """An arch under its plain name and, when there are two generations, under ``arch.paper`` too."""
    if not tagged:
        register_model(arch, network, **settings)
        return
    register_model(arch, network, tag="release", **settings)
    register_model(f"{arch}.paper", network, tag="paper", **settings)


def _register_all() -> None:
    _register("cifar_resnet", CIFARResNet)
    _register("cifar_resnext", CIFARResNeXt)
    _register("cifar_inception", CIFARInception, tagged=False)
    for prefix, fusion in _LONG_SKIPS.items():
        for b in (1, 2, 3, 4):
            _register(f"{prefix}fpn_resnet{6 * b + 2}", FPN, tagged=False, fusion=fusion, blocks=b)
            _register(f"{prefix}unet_resnet{6 * b + 2}", UNet, tagged=False, fusion=fusion, blocks=b)
    for prefix, fusion in _PREFIXES.items():
        for b in (1, 2, 3, 4, 5):
            _register(f"cifar_{prefix}resnet{6 * b + 2}", CIFARResNet, fusion=fusion, blocks=b)
            _register(f"cifar_{prefix}resnext{9 * b + 2}_32x4d", CIFARResNeXt, fusion=fusion, blocks=b)
        for b in (1, 2, 3, 4):
            name = f"cifar_{prefix}inception{6 * b + 2}"
            _register(name, CIFARInception, tagged=False, fusion=fusion, blocks=b)
        for depth, layers in _IMAGENET_RESNETS.items():
            _register(f"{prefix}resnet{depth}", ResNet, fusion=fusion, layers=layers)
        for depth, layers in _IMAGENET_RESNEXTS.items():
            _register(f"{prefix}resnext{depth}_32x4d", ResNeXt, fusion=fusion, layers=layers)


_register_all()
