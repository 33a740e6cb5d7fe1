"""Names of the classes that a network numbers."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Sequence

from ..errors import UsageError, near_matches
from ..facts import imagenet_classes
from .registry import find_dataset, list_datasets


class ClassNames:
    """Number <-> name. ``synonyms`` are other names of a class, such as ImageNet's wnids; they need not be shown."""

    def __init__(self, names: Sequence[str], synonyms: Optional[Mapping[str, int]] = None) -> None:
        self.names = tuple(names)
        self._numbers: Dict[str, int] = {name: number for number, name in reversed(list(enumerate(self.names)))}
        self._numbers.update(synonyms or {})

    def __getitem__(self, number: int) -> str:
        return self.names[number] if number < len(self.names) else f"class {number}"

    def find(self, name: str) -> Optional[int]:
        """The number of a name or synonym, None when it is neither."""
        return self._numbers.get(name)

    def number(self, text: str, outputs: int) -> int:
        """What a user means by a number or a name. Raises UsageError with near matches, or the range."""
        found = self.find(text)
        if found is None and text.isdecimal() and len(text) <= 18:
            found = int(text)
        if found is None:
            reason = near_matches(text, self.names) if self.names else f"give a number, 0 to {outputs - 1}"
            raise UsageError(f"no class {text!r}: {reason}")
        if found >= outputs:
            raise UsageError(f"no class {text}: the network has {outputs} (0 to {outputs - 1})")
        return found


def class_names(
    dataset: Optional[str], outputs: int, labels: Optional[str] = None, place: Optional[str] = None
) -> Optional[ClassNames]:
    """Of a data set at a place, for a head of ``outputs``; None where they are not known, or not there any more.

    A set of ImageNet's layout has classes of its own when there are not as many ``outputs`` as ImageNet has classes.
    """
    if dataset == "imagenet" and outputs == len(imagenet_classes()):
        return names_of_classes([name for _, name in imagenet_classes()])
    known = "folder" if dataset == "imagenet" else dataset
    found = find_dataset(known).class_names(labels, place) if known in list_datasets() else None
    return ClassNames(found) if found else None


def known_classes(known: Mapping[str, Any], outputs: int) -> Optional[ClassNames]:
    """The same from what is known of a network's images: ``classes``, else ``dataset``, ``labels`` and ``data``."""
    if known.get("classes"):
        return names_of_classes(known["classes"])
    return class_names(known.get("dataset"), outputs, known.get("labels"), known.get("data"))


def names_of_classes(classes: Sequence[str]) -> ClassNames:
    """Of the classes in the order of their numbers; ImageNet's, by their wnids or names, go by both."""
    wnids, names = zip(*imagenet_classes())
    if tuple(classes) in (wnids, names):
        return ClassNames(names, {wnid: number for number, wnid in enumerate(wnids)})
    return ClassNames(classes)


def imagenet_wnids() -> Sequence[str]:
    """WordNet's ids of ImageNet's classes, in the order of their numbers."""
    return [wnid for wnid, _ in imagenet_classes()]
