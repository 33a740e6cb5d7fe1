"""What the loss compares with: hard or smoothed labels, mixup, a teacher's outputs."""

from __future__ import annotations

from typing import List, Tuple

import mxnet as mx
import numpy as np

from ..errors import UsageError

SMOOTHING = 0.1
_MIXUP_STREAM = 0x6D697875  # keeps mixup's random numbers apart from any other use of the seed


class Targets:
    """Turns device batches of images and class indices into what network and loss are given.

    Label smoothing gives the class 1 − η + η/K and every other class η/K, with η = 0.1 and K outputs of the head.
    Mixup (Zhang et al., 2018) draws one λ ~ Beta(α, α) per batch, as the authors do, and mixes each device's batch
    with itself reversed: λ·x + (1 − λ)·reversed(x), labels likewise; λ = 1 in the last ``mixup_off_epoch`` epochs.
    λ is a pure function of (seed, epoch, batch).

    Raises UsageError for a head without classes or an α that is not positive.
    """

    def __init__(
        self,
        classes: int,
        *,
        smoothing: bool = False,
        mixup_alpha: float = 0.0,
        epochs: int = 0,
        mixup_off_epoch: int = 0,
        seed: int = 0,
    ) -> None:
        if classes < 1 or mixup_alpha < 0:
            raise UsageError(f"{classes} classes, mixup alpha {mixup_alpha}: expected at least one class and alpha > 0")
        eta = SMOOTHING if smoothing else 0.0
        self.classes = classes
        self.on, self.off = 1.0 - eta + eta / classes, eta / classes
        self.mixup_alpha = mixup_alpha
        self.mixup_epochs = epochs - mixup_off_epoch if mixup_alpha else 0
        self.sparse = not (smoothing or mixup_alpha)
        self.seed = seed

    def lam(self, epoch: int, batch: int) -> float:
        """Return mixup's λ for a batch; 1.0 where nothing is mixed."""
        if epoch >= self.mixup_epochs:
            return 1.0
        stream = np.random.RandomState(np.array([_MIXUP_STREAM, self.seed, epoch, batch], dtype=np.uint32))
        return float(stream.beta(self.mixup_alpha, self.mixup_alpha))

    def __call__(
        self, images: List[mx.nd.NDArray], labels: List[mx.nd.NDArray], epoch: int, batch: int
    ) -> List[Tuple[mx.nd.NDArray, mx.nd.NDArray]]:
        """Return per device (images, targets): targets are class indices (B,) or distributions (B, classes)."""
        if self.sparse:
            return list(zip(images, labels))
        lam = self.lam(epoch, batch)
        soft = [mx.nd.one_hot(y, self.classes, self.on, self.off) for y in labels]
        return [(_mix(x, lam), _mix(y, lam)) for x, y in zip(images, soft)]


def _mix(x: mx.nd.NDArray, lam: float) -> mx.nd.NDArray:
    return x if lam == 1.0 else lam * x + (1.0 - lam) * mx.nd.reverse(x, axis=0)


class Distillation:
    """Targets, loss and metric of a student with a teacher (Hinton, Vinyals and Dean, 2015).

    loss = hard_weight · CE(target, student) + (1 − hard_weight) · T² · KL(softmax(teacher / T) ‖ softmax(student / T))

    As in their section 2 the factor T² keeps the two parts' gradients in proportion whatever T is. KL differs from
    their cross-entropy by the teacher's entropy, in which nothing is trained, and is 0 where the student agrees. The
    teacher is given the images that the student is given, augmented and mixed.

    ``targets`` are what the labels become, of as many classes as the teacher has, which is initialised on the training
    devices; its running statistics are not touched. Raises UsageError for a temperature T that is not positive, or a
    share ``hard_weight`` of the labels that is not within 0 and 1.
    """

    def __init__(
        self, targets: Targets, teacher: mx.gluon.Block, temperature: float = 20.0, hard_weight: float = 0.5
    ) -> None:
        if temperature <= 0 or not 0 <= hard_weight <= 1:
            raise UsageError(f"temperature {temperature}, hard weight {hard_weight}: expected above 0, and 0 to 1")
        self.targets = targets
        self.teacher = teacher
        self.temperature = temperature
        self.hard_weight = hard_weight

    def __call__(
        self, images: List[mx.nd.NDArray], labels: List[mx.nd.NDArray], epoch: int, batch: int
    ) -> List[Tuple[mx.nd.NDArray, mx.nd.NDArray]]:
        """Return per device (images, targets): targets (B, 2 · classes), the labels' distribution and the teacher's."""
        pairs = []
        for data, target in self.targets(images, labels, epoch, batch):
            hard = mx.nd.one_hot(target, self.targets.classes) if target.ndim == 1 else target
            soft = mx.nd.softmax(self.teacher(data).astype("float32") / self.temperature)
            pairs.append((data, mx.nd.concat(hard, soft, dim=1)))
        return pairs

    def hard(self, target: mx.nd.NDArray) -> mx.nd.NDArray:
        """Return the labels' part of what `__call__` made, (B, classes): what a metric compares with."""
        return target[:, : self.targets.classes]

    def loss(self, output: mx.nd.NDArray, target: mx.nd.NDArray) -> mx.nd.NDArray:
        """Return one value per image."""
        output = output.astype("float32")
        hard, soft = self.hard(target), target[:, self.targets.classes :]
        entropy = -(hard * mx.nd.log_softmax(output)).sum(axis=1)
        agreed = mx.nd.log_softmax(output / self.temperature)
        divergence = (soft * (mx.nd.log(soft + 1e-12) - agreed)).sum(axis=1)
        return self.hard_weight * entropy + (1 - self.hard_weight) * self.temperature**2 * divergence
