"""An update of the weights: optimizer, gradient clipping, their moving average (EMA), mixed precision (AMP)."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, ContextManager, Dict, Iterator, List, Optional, Sequence, Tuple

import mxnet as mx
from mxnet import autograd
from mxnet.contrib import amp

from ..errors import GluonAFFError, UsageError
from . import OPTIMIZERS
from .ranks import SingleProcess

_WITH_MOMENTUM = ("nag", "sgd")
_NOT_DECAYED = ("gamma", "beta", "bias")


class Updater:
    """A Gluon Trainer with gradient accumulation, clipping, AMP's loss scale and EMA around its step.

    Parameters
    ----------
    net : Block
        Initialised, its shapes known.
    optimizer : str
        One of OPTIMIZERS, or UsageError. ``momentum`` is of "nag" and "sgd"; the others have none.
    wd : float
        Weight decay; without ``decay_all`` biases and BatchNorm's gamma and beta have none.
    clip : float, optional
        Largest L2 norm of the gradient of the mean loss; a longer one is scaled down to it.
    accumulate : bool
        Whether several backward passes make one update.
    ema : EMA, optional
        Updated with every step.
    mixed : bool
        Whether AMP is on.
    """

    def __init__(
        self,
        net: mx.gluon.Block,
        optimizer: str = "nag",
        *,
        momentum: float = 0.9,
        wd: float = 0.0,
        decay_all: bool = True,
        clip: Optional[float] = None,
        accumulate: bool = False,
        ema: Optional[EMA] = None,
        mixed: bool = False,
    ) -> None:
        if optimizer not in OPTIMIZERS:
            raise UsageError(f"optimizer {optimizer!r} is unknown; choose from {', '.join(OPTIMIZERS)}")
        self.optimizer = optimizer
        self.clip, self.accumulate, self.ema, self.mixed = clip, accumulate, ema, mixed
        parameters = net._collect_params_with_prefix()
        self._names = sorted(parameters)
        self._parameters = [parameters[name] for name in self._names]
        self._trained = [parameter for parameter in self._parameters if parameter.grad_req != "null"]
        for parameter in self._trained:
            if not decay_all and parameter.name.endswith(_NOT_DECAYED):
                parameter.wd_mult = 0.0
            if accumulate:
                parameter.grad_req = "add"
        settings = {"wd": wd, "momentum": momentum} if optimizer in _WITH_MOMENTUM else {"wd": wd}
        # a list in the order of structural names: Gluon's own order hangs on counters in the parameters' global names
        self.trainer = mx.gluon.Trainer(self._parameters, optimizer, settings, update_on_kvstore=False)
        if mixed:
            amp.init_trainer(self.trainer)
        if len(self.trainer._contexts) > 1:
            # else at the first sum, when it would give all devices the first one's running statistics of that moment
            self.trainer._init_kvstore()
            self.trainer._init_params()
        self._create_states()

    def scaled(self, losses: List[mx.nd.NDArray]) -> ContextManager[List[mx.nd.NDArray]]:
        """Return what to run backward from: the losses, under AMP times its loss scale."""
        return amp.scale_loss(losses, self.trainer) if self.mixed else nullcontext(losses)

    def sum_gradients(self, group: SingleProcess, numbers: Sequence[float] = ()) -> List[float]:
        """Add up the gradients over devices and ranks, before `step`; return the sums of ``numbers`` over the ranks."""
        self.trainer.allreduce_grads()
        sums = group.sum([parameter.list_grad()[0] for parameter in self._trained], numbers)
        for parameter in self._trained if group.size > 1 else ():
            first, *others = parameter.list_grad()
            for gradient in others:
                first.copyto(gradient)
        return sums

    def step(self, lr: float, images: int) -> None:
        """Update every parameter with the summed gradients, which are of the mean loss over so many images."""
        self.trainer.set_learning_rate(lr)
        if self.clip:
            limit = self.clip * images / self.trainer._scale  # gradients still are sums, times AMP's loss scale
            for device in range(len(self._trained[0].list_ctx())):
                gradients = [parameter.list_grad()[device] for parameter in self._trained]
                mx.gluon.utils.clip_global_norm(gradients, limit, check_isfinite=False)
        self.trainer.update(images)
        if self.accumulate:
            for parameter in self._trained:
                parameter.zero_grad()
        if self.ema:
            self.ema.update()

    def arrays(self) -> Dict[str, mx.nd.NDArray]:
        """Return the optimizer's arrays as ``"<structural name>:<slot>"``, which are equal on all devices."""
        return dict(self._slots())

    def numbers(self) -> Dict[str, Any]:
        """Return the rest of its state: update counts and AMP's loss scale."""
        optimizer = self.trainer.optimizer
        counts = next(iter(optimizer._all_index_update_counts.values()))
        numbers = {
            "optimizer": self.optimizer,
            "num_update": optimizer.num_update,
            "counts": {self._names[index]: count for index, count in counts.items()},
        }
        if self.mixed:
            scaler = self.trainer._amp_loss_scaler
            numbers["loss_scale"] = [scaler._loss_scale, scaler._next_loss_scale, scaler._unskipped]
        return numbers

    def load(self, arrays: Dict[str, mx.nd.NDArray], numbers: Dict[str, Any]) -> None:
        """Restore the state that `arrays` and `numbers` gave. Raises GluonAFFError when it is another optimizer's."""
        for device in range(len(self.trainer._updaters)):
            slots = dict(self._slots(device))
            if set(slots) != set(arrays) or numbers["optimizer"] != self.optimizer:
                raise GluonAFFError(
                    f"the checkpoint holds {len(arrays)} arrays of optimizer {numbers['optimizer']}, "
                    f"this run needs {len(slots)} of {self.optimizer}"
                )
            for key, array in slots.items():
                arrays[key].copyto(array)
        optimizer = self.trainer.optimizer
        optimizer.num_update = numbers["num_update"]
        for context in self.trainer._contexts:  # for each device id MXNet's optimizer keeps counts of its own
            optimizer._set_current_context(context.device_id)
        for counts in optimizer._all_index_update_counts.values():
            counts.update({self._names.index(name): count for name, count in numbers["counts"].items()})
        if self.mixed:
            scaler = self.trainer._amp_loss_scaler
            scaler._loss_scale, scaler._next_loss_scale, scaler._unskipped = numbers["loss_scale"]

    def _create_states(self) -> None:
        """Make now what MXNet makes at the first update, so that a checkpoint finds the arrays it is to fill."""
        for device, updater in enumerate(self.trainer._updaters):
            for index, parameter in enumerate(self._parameters):
                if parameter.grad_req != "null":
                    weight = parameter.list_data()[device]
                    updater.states[index] = self.trainer.optimizer.create_state_multi_precision(index, weight)
                    updater.states_synced[index] = True

    def _slots(self, device: int = 0) -> Iterator[Tuple[str, mx.nd.NDArray]]:
        for index, state in self.trainer._updaters[device].states.items():
            if isinstance(state, tuple):  # adam's mean and variance
                for number, array in enumerate(state):
                    yield f"{self._names[index]}:0.{number}", array
            elif state is not None:  # as that of SGD without momentum is
                yield f"{self._names[index]}:0", state


class EMA:
    """average ← decay · average + (1 − decay) · value, after every update, for parameters and running statistics.

    The averages are kept on the network's first device. Raises UsageError for a decay that is not between 0 and 1.
    """

    def __init__(self, net: mx.gluon.Block, decay: float) -> None:
        if not 0 < decay < 1:
            raise UsageError(f"EMA decay is {decay}: expected a number between 0 and 1, such as 0.999")
        self.decay = decay
        self._parameters = net._collect_params_with_prefix()
        self.arrays: Dict[str, mx.nd.NDArray] = {
            name: parameter.list_data()[0].copy() for name, parameter in self._parameters.items()
        }

    def update(self) -> None:
        """Move every average towards the network's present value."""
        for name, average in self.arrays.items():
            average *= self.decay
            average += (1.0 - self.decay) * self._parameters[name].list_data()[0]

    def load(self, arrays: Dict[str, mx.nd.NDArray]) -> None:
        """Restore saved averages of the same network."""
        for name, average in self.arrays.items():
            arrays[name].copyto(average)


def resolve_dtype(dtype: Optional[str], devices: List[mx.Context]) -> str:
    """Return ``dtype``, or without one the authors' float16 on GPUs and float32 elsewhere."""
    on_gpus = all(device.device_type == "gpu" for device in devices)
    return dtype or ("float16" if on_gpus else "float32")


def start_mixed_precision(dtype: str, devices: List[mx.Context]) -> bool:
    """Switch AMP on for the rest of the process, unless ``dtype`` is float32, before building the network; return if.

    ``dtype`` is "float32", "float16" or "bfloat16"; the network's parameters stay float32. Raises UsageError where the
    devices cannot compute in it.
    """
    if dtype == "float32":
        return False
    on_gpu = [device.device_type == "gpu" for device in devices]
    if dtype == "float16" and not all(on_gpu):
        raise UsageError("float16 needs a GPU: MXNet multiplies no float16 matrices on the CPU; use --dtype float32")
    if dtype == "bfloat16" and any(on_gpu):
        raise UsageError("bfloat16 is for the CPU in MXNet 1.9.1: on a GPU use --dtype float16")
    if dtype == "bfloat16" and not _cpu_has_bfloat16():
        raise UsageError("this CPU (or this build of MXNet) has no bfloat16 convolution: use --dtype float32")
    amp.init(dtype)
    return True


def _cpu_has_bfloat16() -> bool:
    """Whether a small convolution runs forward and backward: oneDNN wants AVX-512 for it."""
    try:
        data = mx.nd.ones((1, 8, 8, 8))
        weight = mx.nd.ones((8, 8, 3, 3))
        weight.attach_grad()
        with autograd.record():
            # AMP's own name for the type: NumPy knows none, and the operator does not take the word
            low = [mx.nd.amp_cast(array, dtype=amp.amp.bfloat16) for array in (data, weight)]
            output = mx.nd.Convolution(*low, kernel=(3, 3), num_filter=8, no_bias=True)
            loss = mx.nd.amp_cast(output, dtype="float32").sum()
        loss.backward()
        weight.grad.wait_to_read()
    except mx.MXNetError:
        return False
    return True
