"""Whether the classes of a test set are those that a network was trained on."""

from __future__ import annotations

from typing import Optional, Sequence

from ..data.class_names import known_classes
from ..errors import UsageError
from .test_sets import TestSet
from .trained_network import TrainedNetwork

_SHOWN = 5


def class_note(trained: TrainedNetwork, test_set: TestSet, outputs: int) -> Optional[str]:
    """Compare the names and the number of the test set's classes with what is known of the network's.

    Parameters
    ----------
    trained : TrainedNetwork
        Its ``data`` tell which classes it was trained on.
    test_set : TestSet
        Its class names are in the order of the labels.
    outputs : int
        Width of the network's head.

    Returns
    -------
    str or None
        What the reader of the figures must know; None where the classes agree.

    Raises
    ------
    UsageError
        For another number of classes under other names, whose labels cannot mean the same.
    """
    data, found = trained.data, test_set.classes
    known = known_classes(data, outputs)
    if known is None:
        if outputs == len(found):
            return None
        return f"the network has {outputs} outputs, the data {len(found)} classes ({_listed(found)})"
    if tuple(found) == known.names:
        return None
    described = f"the data have the classes {_listed(found)}, the network was trained on {_listed(known.names)}"
    if len(found) == len(known.names):
        return f"{described}: labels are compared by their numbers"
    if data.get("dataset") == test_set.dataset != "folder":  # CIFAR-100's other labels, chosen by --labels
        return described
    raise UsageError(f"{described}: a label means another class; evaluate data with the network's classes")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown}, ... ({len(names)})" if len(names) > _SHOWN else shown
