"""Knowledge distillation: a trained network's outputs as targets beside the labels."""

from __future__ import annotations

from typing import List, Tuple

import mxnet as mx

from ..errors import UsageError
from .targets import Targets


class Distillation:
    """Targets, loss and metric of a student with a teacher (Hinton, Vinyals and Dean, 2015).

    loss = hard_weight · CE(target, student) + (1 − hard_weight) · T² · KL(softmax(teacher / T) ‖ softmax(student / T))

    As in their section 2 the factor T² keeps the two parts' gradients in proportion whatever T is. KL differs from
    their cross-entropy by the teacher's entropy, in which nothing is trained, and is 0 where the student agrees. The
    teacher is given the images that the student is given, augmented and mixed.

    Parameters
    ----------
    targets
        What the labels become; its head has as many classes as the teacher's.
    teacher
        Initialised on the training devices; its running statistics are not touched.
    temperature, hard_weight
        T and the labels' share.

    Raises
    ------
    UsageError
        T is not positive, or the share is not within 0 and 1.
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
        """Per device (images, targets): targets are (B, 2 · classes), the labels' distribution and the teacher's."""
        pairs = []
        for data, target in self.targets(images, labels, epoch, batch):
            hard = mx.nd.one_hot(target, self.targets.classes) if target.ndim == 1 else target
            soft = mx.nd.softmax(self.teacher(data).astype("float32") / self.temperature)
            pairs.append((data, mx.nd.concat(hard, soft, dim=1)))
        return pairs

    def hard(self, target: mx.nd.NDArray) -> mx.nd.NDArray:
        """The labels' part of what `__call__` made, (B, classes): what a metric compares with."""
        return target[:, : self.targets.classes]

    def loss(self, output: mx.nd.NDArray, target: mx.nd.NDArray) -> mx.nd.NDArray:
        """One value per image."""
        output = output.astype("float32")
        hard, soft = self.hard(target), target[:, self.targets.classes :]
        entropy = -(hard * mx.nd.log_softmax(output)).sum(axis=1)
        agreed = mx.nd.log_softmax(output / self.temperature)
        divergence = (soft * (mx.nd.log(soft + 1e-12) - agreed)).sum(axis=1)
        return self.hard_weight * entropy + (1 - self.hard_weight) * self.temperature**2 * divergence
