"""The optimizer: one update, and its state as plain arrays and numbers."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, ContextManager, Dict, Iterator, List, Optional, Sequence, Tuple

import mxnet as mx
from mxnet.contrib import amp

from ..errors import GluonAFFError, UsageError
from .ema import EMA
from .optimizers import OPTIMIZERS, WITH_MOMENTUM
from .ranks import SingleProcess

_NOT_DECAYED = ("gamma", "beta", "bias")


class Updater:
    """A Gluon Trainer with gradient accumulation, clipping, AMP's loss scale and EMA around its step.

    Parameters
    ----------
    net : Block
        Initialised, its shapes known.
    optimizer : str
        One of OPTIMIZERS.
    momentum : float
        Of "nag" and "sgd"; the others have none.
    wd : float
        Weight decay.
    decay_all : bool
        False leaves biases and BatchNorm's gamma and beta without weight decay (``--no-wd``).
    clip : float, optional
        Largest L2 norm of the gradient of the mean loss; a longer one is scaled down to it.
    accumulate : bool
        Whether several backward passes make one update.
    ema : EMA, optional
        Updated with every step.
    mixed : bool
        Whether AMP is on.

    Raises
    ------
    UsageError
        For an unknown optimizer.
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
        settings = {"wd": wd, "momentum": momentum} if optimizer in WITH_MOMENTUM else {"wd": wd}
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
        """What to run backward from: the losses, under AMP times its loss scale."""
        return amp.scale_loss(losses, self.trainer) if self.mixed else nullcontext(losses)

    def sum_gradients(self, group: SingleProcess, numbers: Sequence[float] = ()) -> List[float]:
        """Add up the gradients over devices and ranks; call it before `step`.

        Parameters
        ----------
        group : SingleProcess
            The ranks.
        numbers : sequence of float
            More to add up on the way.

        Returns
        -------
        list of float
            The sums of ``numbers``.
        """
        self.trainer.allreduce_grads()
        sums = group.sum([parameter.list_grad()[0] for parameter in self._trained], numbers)
        for parameter in self._trained if group.size > 1 else ():
            first, *others = parameter.list_grad()
            for gradient in others:
                first.copyto(gradient)
        return sums

    def step(self, lr: float, images: int) -> None:
        """Update every parameter with the summed gradients.

        Parameters
        ----------
        lr : float
            Learning rate.
        images : int
            The gradient is that of the mean loss over so many images.
        """
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
        """The optimizer's arrays as ``"<structural name>:<slot>"``; equal on all devices, taken from the first."""
        return dict(self._slots())

    def numbers(self) -> Dict[str, Any]:
        """The rest of its state: update counts and AMP's loss scale."""
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
        """Take up the state that `arrays` and `numbers` gave.

        Raises
        ------
        GluonAFFError
            When it is another optimizer's.
        """
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
        for counts in self._update_counts():
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

    def _update_counts(self) -> List[Dict[int, int]]:
        """One dictionary for each device id, as MXNet's optimizer keeps them."""
        optimizer = self.trainer.optimizer
        for context in self.trainer._contexts:
            optimizer._set_current_context(context.device_id)
        return list(optimizer._all_index_update_counts.values())

    def _slots(self, device: int = 0) -> Iterator[Tuple[str, mx.nd.NDArray]]:
        for index, state in self.trainer._updaters[device].states.items():
            for slot, array in _flatten(state):
                yield f"{self._names[index]}:{slot}", array


def _flatten(state: Any, slot: str = "0") -> Iterator[Tuple[str, mx.nd.NDArray]]:
    """The arrays in an optimizer's state of one parameter: None, an array, or a (nested) tuple of these."""
    if isinstance(state, mx.nd.NDArray):
        yield slot, state
    elif isinstance(state, (tuple, list)):
        for number, part in enumerate(state):
            yield from _flatten(part, f"{slot}.{number}")
