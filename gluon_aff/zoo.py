"""The public face of the networks: one call from a name to an initialised network."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional, Sequence, Union

import mxnet as mx

from . import models, published
from .errors import UsageError
from .models import build_model, initializer_of, model_entry
from .models.common import Network
from .models.features import FeatureMaps
from .training.weights import read_description

_TASKS = ("classification", "segmentation")


def create_model(
    name: str,
    *,
    classes: Optional[int] = None,
    num_classes: Optional[int] = None,
    in_channels: Optional[int] = None,
    fusion: Optional[str] = None,
    r: Optional[int] = None,
    pretrained: Union[bool, str, os.PathLike[str], None] = None,
    ctx: Optional[mx.Context] = None,
    init: Optional[mx.init.Initializer] = None,
    features_only: bool = False,
    out_indices: Optional[Sequence[int]] = None,
    **options: Any,
) -> Network:
    """An initialised network by its registered name: ``(N, 3, H, W) -> (N, classes)``, FPNs ``-> (N, classes, H, W)``.

    Also called ``get_model``, as in GluonCV.

    Parameters
    ----------
    name : as in ``list_models()``: ``"cifar_aff_resnet32"``, ``"iaff_resnext50_32x4d"``, ``"aff_resnet50.paper"``.
    classes : outputs (default 100 for CIFAR, 1000 for ImageNet, 1 for FPNs; with ``pretrained`` as many as the weights
        have); 0 for a network without its last layer, which gives features: not for FPNs. ``num_classes`` is the same.
    in_channels : of the images (default 3). With ``pretrained`` weights of another number the first layers start as
        initialised, with a warning that names them.
    fusion : any strategy, by the field's or the authors' name; overrides the name's prefix.
    r : bottleneck ratio of the fusion (default: the host's, 4 or 16); 0 for no bottleneck.
    pretrained : weights to load into the network, see ``published.load``: a catalogue id, a ``.params`` file, a
        training run (its directory: the best checkpoint), or True for the only published file of this model. What a
        run's weights say of their network (blocks, width, stem, ...) holds where the call says nothing else. Their head
        is left out, with a warning that says so, when ``classes`` differs from theirs: the start of transfer learning.
        The network is float32 whatever they are.
    ctx : device or list of devices (default: CPU).
    init : initialiser (default: Xavier on CIFAR, else MSRAPrelu).
    features_only : give the maps of every stage instead, a `FeatureMaps` with their ``channels`` and ``strides``, for
        networks of one's own; the weights of what lies behind the stages are left away.
    out_indices : the numbers of the maps that ``features_only`` gives (default: all); -1 is the last.
    options : the network's own: ``blocks``, ``channel_times``, ``start_layer``, ``deep_stem``, ``stem``, ...;
        a wrong one is answered with the list.

    Raises UsageError for an unknown name (with near matches), an unknown option or a bad value, for ``pretrained=True``
    where no or several published files fit, and for weights that do not fit, with what to change; GluonAFFError for
    weights that are not here or damaged.
    """
    if num_classes is not None:
        if classes not in (None, num_classes):
            raise UsageError(f"classes={classes} and num_classes={num_classes} are the same option: give one of them")
        classes = num_classes
    if pretrained is True:
        pretrained = published.id_for(name, fusion)
    elif pretrained is False:
        pretrained = None
    if out_indices is not None and not features_only:
        raise UsageError("`out_indices` choose among the maps of `features_only`: give that, too")
    own_head = classes is not None
    weights = None if pretrained is None else published.open_weights(pretrained)
    if weights is not None and not own_head:
        classes = published.classes_in(weights)
    given = {"classes": classes, "in_channels": in_channels, "fusion": fusion, "r": r, **options}
    if weights is not None:
        given = {
            **_said_of(weights, name),
            **{key: value for key, value in given.items() if value is not None},
        }
    net = build_model(name, **given)
    net.initialize(init or initializer_of(name), ctx=ctx)
    net.untouched = True
    if weights is not None:
        published.load(weights, net, ctx, replace_head=own_head, replace_stem=in_channels is not None)
    return FeatureMaps(net, out_indices) if features_only else net


get_model = create_model


def list_models(pattern: str = "*", *, pretrained: bool = False, task: Optional[str] = None) -> List[str]:
    """Sorted names of the networks.

    Parameters
    ----------
    pattern : str
        A shell pattern such as ``"cifar_aff*"``.
    pretrained : bool
        Only those that the authors published weights for.
    task : {"classification", "segmentation"}, optional
        Only those of the task.

    Raises
    ------
    UsageError
        For another task.
    """
    if task is not None and task not in _TASKS:
        raise UsageError(f"no task {task!r}: choose one of {', '.join(_TASKS)}")
    names = models.list_models(pattern)
    if task is not None:
        names = [name for name in names if model_entry(name).network.task == task]
    published_for = published.ids_by_model()
    return [name for name in names if name in published_for] if pretrained else names


def _said_of(weights: published.Weights, name: str) -> Dict[str, Any]:
    """The options of a network of ``name`` that the catalogue or a run says these weights' was made with."""
    if weights.name in published.catalogue():
        model = published.record(weights.name)["model"]
        call = {"name": model["name"], **model["options"]}
    else:
        call = (read_description(weights.container.path) or {}).get("network") or {}
    entry = model_entry(name)
    if not call or model_entry(call["name"]).network is not entry.network:
        return {}
    return {key: value for key, value in call.items() if key != "name" and key not in entry.options}
