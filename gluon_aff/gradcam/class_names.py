"""Names of the classes that a data set numbers, for pictures that come without the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

from ..data.images.folder import open_tree
from ..errors import GluonAFFError, UsageError, near_matches
from ..facts import imagenet_classes

_NAMES = {
    "cifar10": "airplane automobile bird cat deer dog frog horse ship truck",
    "cifar100": """
        apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
        castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
        elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard
        lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear
        pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark
        shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone
        television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
    """,
    "cifar100 coarse": """
        aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices
        household_furniture insects large_carnivores large_man-made_outdoor_things large_natural_outdoor_scenes
        large_omnivores_and_herbivores medium_mammals non-insect_invertebrates people reptiles small_mammals trees
        vehicles_1 vehicles_2
    """,
    "digits": "0 1 2 3 4 5 6 7 8 9",
}


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
        if found is None and text.isdigit():
            found = int(text)
        if found is None:
            reason = near_matches(text, self.names) if self.names else f"give a number, 0 to {outputs - 1}"
            raise UsageError(f"no class {text!r}: {reason}")
        if found >= outputs:
            raise UsageError(f"no class {text}: the network has {outputs} (0 to {outputs - 1})")
        return found


def class_names(data: Mapping[str, Any], outputs: int) -> Optional[ClassNames]:
    """Of the data set that a network's ``TrainedNetwork.data`` tells; None where it does not, or is not there any more.

    A set of ImageNet's layout has classes of its own when there are not as many ``outputs`` as ImageNet has classes.
    """
    dataset = data.get("dataset")
    if dataset == "imagenet" and outputs == len(imagenet_classes()):
        wnids, names = zip(*imagenet_classes())
        return ClassNames(names, {wnid: number for number, wnid in enumerate(wnids)})
    if dataset in ("folder", "imagenet"):
        names = _of_folder(data.get("data"))
        return ClassNames(names) if names else None
    key = "cifar100 coarse" if dataset == "cifar100" and data.get("labels") == "coarse" else dataset
    return ClassNames(_NAMES[key].split()) if key in _NAMES else None


def _of_folder(place: Optional[str]) -> Tuple[str, ...]:
    try:
        listing = open_tree(Path(place).expanduser()).listing if place else {}
    except (GluonAFFError, OSError):
        return ()
    return tuple(next(iter(listing.values()), ()))
