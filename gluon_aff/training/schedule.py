"""The learning rate as a pure function of the update number."""

from __future__ import annotations

from argparse import Namespace
from typing import Iterator, List, Sequence, Tuple

from ..errors import UsageError
from ..runtime.importing import import_gluoncv

MODES = ("constant", "step", "cosine", "poly")


class Schedule:
    """``schedule(n)`` is the learning rate of update n = 1, 2, … of a run: a warm-up, then one of MODES.

    Built from GluonCV's segments, whose N iterations divide by N − 1, and numbered as MXNet's optimizers number their
    updates, so the figures are those of the authors' logs: warming up from 0 to 0.2 over 20 epochs of 97 updates gives
    0.010005 at the end of epoch 0.

    Parameters
    ----------
    epochs, updates_per_epoch
        The length of the run; "cosine" and "poly" reach zero at its end.
    warmup_epochs, warmup_lr
        Linear warm-up from ``warmup_lr`` to ``lr``, in every mode.
    decay, decay_epochs
        "step" multiplies by ``decay`` from the first update of each of these epochs (counted from 0 and from the start
        of the run, warm-up included).
    power
        Exponent of "poly".

    Raises
    ------
    UsageError
        Unknown mode, or a run without updates.
    """

    def __init__(
        self,
        mode: str,
        lr: float,
        epochs: int,
        updates_per_epoch: int,
        warmup_epochs: int = 0,
        warmup_lr: float = 0.0,
        decay: float = 0.1,
        decay_epochs: Sequence[int] = (),
        power: float = 2.0,
    ) -> None:
        if mode not in MODES:
            raise UsageError(f"schedule {mode!r} is unknown; choose from {', '.join(MODES)}")
        if epochs < 1 or updates_per_epoch < 1:
            raise UsageError(f"a run of {epochs} epochs with {updates_per_epoch} updates each has nothing to schedule")
        self.epochs = epochs
        self.updates_per_epoch = updates_per_epoch
        self._bends = {0, warmup_epochs - 1, warmup_epochs, epochs - 1, *(decay_epochs if mode == "step" else ())}
        if mode in ("cosine", "poly"):
            self._bends.update(warmup_epochs + (epochs - warmup_epochs) * part // 8 for part in range(8))
        utils = import_gluoncv("gluoncv.utils")
        warm = warmup_epochs * updates_per_epoch
        rest = epochs * updates_per_epoch - warm
        segments = []
        if warm:
            segments.append(_segment(utils.LRScheduler, "linear", warm, warmup_lr, lr))
        if rest > 0 and mode == "step":
            # GluonCV decays when its counter reaches the step; update 1 of an epoch is the one after its boundary
            steps = [epoch * updates_per_epoch + 1 - warm for epoch in decay_epochs]
            segments.append(utils.LRScheduler("step", base_lr=lr, niters=rest, step_iter=steps, step_factor=decay))
        elif rest > 0:
            segments.append(_segment(utils.LRScheduler, mode, rest, lr, lr if mode == "constant" else 0.0, power))
        self._sequence = utils.LRSequential(segments)

    def __call__(self, update: int) -> float:
        return float(self._sequence(update))

    def table(self, every: bool = True) -> Iterator[Tuple[int, float, float]]:
        """Yield of each epoch its number, the rate of its first update, and the rate logged at its end.

        Without ``every`` of those alone where the rate bends, and of a curve's eighths.
        """
        for epoch in range(self.epochs) if every else sorted(self._bends & set(range(self.epochs))):
            last = (epoch + 1) * self.updates_per_epoch
            yield epoch, self(last - self.updates_per_epoch + 1), self(last)


def _segment(scheduler: type, mode: str, updates: int, start: float, end: float, power: float = 2.0) -> object:
    if updates == 1:  # N − 1 = 0: there is no way from start to end; a warm-up has arrived, a decay has not begun
        return scheduler("constant", base_lr=max(start, end), niters=1)
    return scheduler(mode, base_lr=start, target_lr=end, niters=updates, power=power)


def warmup_epochs(options: Namespace) -> int:
    """Return ``--warmup-epochs``, or the authors' 10 with a cosine and none otherwise (their step runs had none)."""
    if options.warmup_epochs is not None:
        return options.warmup_epochs
    return 10 if options.lr_mode == "cosine" or options.step_timing == "published" else 0


def decay_epochs(options: Namespace) -> List[int]:
    """Return the epochs of ``--lr-decay-period`` when it is given, of ``--lr-decay-epoch`` otherwise."""
    if options.lr_decay_period:
        return list(range(options.lr_decay_period, options.num_epochs, options.lr_decay_period))
    return list(options.lr_decay_epoch)


def from_options(options: Namespace, updates_per_epoch: int) -> Schedule:
    """Return the schedule that a script's options describe.

    ``--step-timing published`` repeats the authors' runs without --cosine: no warm-up takes place, and each decay
    comes ``--warmup-epochs`` before the stated epoch.
    """
    warm, decays = warmup_epochs(options), decay_epochs(options)
    if options.lr_mode == "step" and options.step_timing == "published":
        warm, decays = 0, [max(epoch - warm, 0) for epoch in decays]
    return Schedule(
        options.lr_mode,
        options.lr,
        options.num_epochs,
        updates_per_epoch,
        warmup_epochs=warm,
        warmup_lr=options.warmup_lr,
        decay=options.lr_decay,
        decay_epochs=decays,
        power=options.poly_power,
    )
