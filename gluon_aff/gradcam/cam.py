"""Grad-CAM (Selvaraju et al., ICCV 2017), and Grad-CAM++ (Chattopadhay et al., WACV 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Sequence, Tuple, Union

import mxnet as mx
import numpy as np
from mxnet.gluon import Block

from ..errors import UsageError
from .inner_layers import as_input, checked, default_layer, find_layer, recorded_outputs

METHODS = ("grad_cam", "grad_cam++")

Array = Union[mx.nd.NDArray, np.ndarray]
ClassIndex = Union[int, Sequence[int], np.ndarray, None]


@dataclass(frozen=True, eq=False)
class Explanation:
    """Heat maps with what the network gave.

    Attributes
    ----------
    maps : array
        float32 (N, H, W), each in [0, 1], at the input's resolution.
    classes : array
        int64 (N,), whose evidence the maps show; all 0 for a segmentation of one class.
    outputs : array
        float32, class logits (N, classes) or segmentation logits (N, classes, H, W).
    """

    maps: np.ndarray
    classes: np.ndarray
    outputs: np.ndarray


def grad_cam(
    net: Block, x: Array, class_index: ClassIndex = None, layer: Optional[str] = None, method: str = "grad_cam"
) -> np.ndarray:
    """Return heat maps of where a layer's evidence for a class lies.

    ReLU(sum_k w_k A_k) of the layer's maps A, with w_k the mean over space of the gradient of the class's logit by
    A_k (Selvaraju et al., Eqs. 1 and 2); resized bilinearly, and divided by its maximum. A map without positive
    evidence is zero throughout. For ``method="grad_cam++"`` w_k is that paper's instead, with the exponential of the
    logit as score.

    Parameters
    ----------
    net : Block
        Any Gluon network, hybridized or not, on any device. Its parameters, gradients, running statistics, compiled
        graph and hooks stay as they are. When it returns several outputs, the first counts.
    x : NDArray or array
        A normalised batch (N, C, H, W).
    class_index : int or sequence of int, optional
        A class, one for each image, or None for the predicted ones. Of segmentation logits (N, classes, H, W) the
        score is the sum over the pixels that are predicted to be of the class; with a single class that is where the
        logit is positive, and None means it.
    layer : str, optional
        A path such as ``"features.4.2"`` or ``"layer3.1"`` (see `layer_paths`); by default the network's ``cam_layer``
        (an FPN's last fusion), else the last residual stage, else the last layer that gives maps.
    method : str
        One of `METHODS`.

    Returns
    -------
    array
        float32 (N, H, W) in [0, 1], at the input's resolution.

    Raises
    ------
    UsageError
        For an unknown layer, with the paths there are; for one that gives no maps; for a class that the network does
        not have; for a network without weights.
    GluonAFFError
        When the network's output is not finite.
    """
    return explain(net, x, class_index, layer, method).maps


def explain(
    net: Block, x: Array, class_index: ClassIndex = None, layer: Optional[str] = None, method: str = "grad_cam"
) -> Explanation:
    """As `grad_cam`, with the classes and the network's outputs beside the maps."""
    if method not in METHODS:
        raise UsageError(f"there is no method {method!r}: choose one of {', '.join(METHODS)}")
    x = as_input(net, x)
    layer = default_layer(net, x) if layer is None else layer
    block = find_layer(net, layer)
    with recorded_outputs(net, {layer: block}, _record_from) as inside, mx.autograd.pause(train_mode=False):
        try:
            outputs = net(x)
            outputs = outputs[0] if isinstance(outputs, (list, tuple)) else outputs
            values = checked(outputs, "the network's output")
            if layer not in inside:
                raise UsageError(f"layer {layer} is not used when this {type(net).__name__} runs: choose another")
            maps = _checked_maps(inside[layer], layer)
            classes, counted = _counted(class_index, values)
            score = (outputs * mx.nd.array(counted, ctx=x.ctx, dtype=x.dtype)).sum()
        finally:
            mx.autograd.set_recording(False)  # as `pause` expects it
    gradient = _gradient(score, maps, layer)
    activation, gradient = checked(maps, f"layer {layer}"), checked(gradient, f"the gradient of layer {layer}")
    weights = gradient.mean(axis=(2, 3)) if method == "grad_cam" else _weights_plus_plus(activation, gradient)
    heat = np.maximum(np.einsum("nc,nchw->nhw", weights, activation), 0)
    height, width = x.shape[2:]
    divisor = getattr(net, "divisor", 1)  # of a network that pads its input to multiples, maps are of that
    heat = resized_maps(heat, [-(-length // divisor) * divisor for length in (height, width)])[:, :height, :width]
    highest = heat.max(axis=(1, 2), keepdims=True)
    return Explanation(np.divide(heat, highest, out=np.zeros_like(heat), where=highest > 0), classes, values)


def _record_from(output: Any) -> Any:
    """Record what the network does from this output on, as a function of it; what was before needs no memory."""
    if isinstance(output, mx.nd.NDArray):
        output.attach_grad()
        mx.autograd.set_recording(True)
    return output


def _checked_maps(output: Any, layer: str) -> mx.nd.NDArray:
    shape = getattr(output, "shape", None)
    if shape is None:
        raise UsageError(f"layer {layer} gives several outputs: Grad-CAM needs one, of maps (N, C, H, W)")
    if len(shape) != 4 or shape[2] * shape[3] == 1:
        raise UsageError(
            f"layer {layer} gives {shape}, which has no extent in space: Grad-CAM needs maps (N, C, H, W), so choose "
            "a layer before the global pool"
        )
    return output


def _counted(class_index: ClassIndex, outputs: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Return each image's class, and which of its logits make the score: an array like ``outputs``, of 0 and 1."""
    if outputs.ndim not in (2, 4):
        raise UsageError(
            f"the network's output is {outputs.shape}: expected class logits (N, classes) or segmentation logits "
            "(N, classes, H, W)"
        )
    count, channels = outputs.shape[:2]
    if class_index is None and outputs.ndim == 4:
        if channels > 1:
            raise UsageError(f"the network segments {channels} classes: choose one (0 to {channels - 1})")
        class_index = 0
    classes = outputs.argmax(axis=1) if class_index is None else _checked_classes(class_index, count, channels)
    chosen = np.zeros_like(outputs)
    chosen[np.arange(count), classes] = 1
    if outputs.ndim == 4:
        found = outputs > 0 if channels == 1 else outputs == outputs.max(axis=1, keepdims=True)
        chosen *= found
    return classes, chosen


def _checked_classes(class_index: Union[int, Sequence[int], np.ndarray], count: int, outputs: int) -> np.ndarray:
    classes = np.asarray(class_index)
    if classes.dtype.kind not in "iu" or classes.shape not in ((), (count,)):
        raise UsageError(f"class_index is {class_index!r}: expected a class number, or one for each of {count} images")
    wrong = classes[(classes < 0) | (classes >= outputs)]
    if wrong.size:
        raise UsageError(f"no class {wrong.flat[0]}: the network has {outputs} (0 to {outputs - 1})")
    return np.broadcast_to(classes, (count,)).astype(np.int64)


def _gradient(score: mx.nd.NDArray, maps: mx.nd.NDArray, layer: str) -> mx.nd.NDArray:
    """Return the gradient by ``maps``. Unlike ``backward``, ``autograd.grad`` writes to no parameter's gradient."""
    try:
        return mx.autograd.grad(score, [maps], train_mode=False)[0]
    except mx.MXNetError:
        raise UsageError(f"the network's output does not depend on layer {layer}: choose another") from None


def _weights_plus_plus(activation: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    total = activation.sum(axis=(2, 3), keepdims=True)  # (N, C, 1, 1)
    below = 2 * gradient**2 + total * gradient**3
    # (N, C, H, W)
    alpha = np.divide(gradient**2, below, out=np.zeros_like(gradient), where=below != 0)
    return (alpha * np.maximum(gradient, 0)).sum(axis=(2, 3))


def resized_maps(maps: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Resize (N, h, w) to (N, *size), bilinear between pixel centres; beyond the outermost ones their values go on."""
    rows, columns = (_interpolation(old, new) for old, new in zip(maps.shape[1:], size))
    return rows @ maps @ columns.T


def _interpolation(old: int, new: int) -> np.ndarray:
    """Return the matrix (new, old) of linear interpolation."""
    place = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    return np.maximum(1 - abs(place[:, None] - np.arange(old)), 0).astype(np.float32)
