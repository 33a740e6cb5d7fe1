"""CIFAR-10 and CIFAR-100 from the official archives, binary or python version, packed or unpacked.

Binary: records of the label bytes (CIFAR-100: coarse, then fine) and 3072 bytes of pixels. Python: pickled
dictionaries with `data`, uint8 (N, 3072), and lists of labels. Pixels are red, green and blue planes of 32x32.
"""

from __future__ import annotations

import codecs
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..errors import GluonAFFError, UsageError
from ..runtime import mxnet_home
from ..utils.download import Verify, download, expect
from .image_set import ImageSet
from .trees import FileTree, PackedTree

HOME = "https://www.cs.toronto.edu/~kriz/"
TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}
_PIXELS = 3 * 32 * 32

_CIFAR10 = """
airplane automobile bird cat deer dog frog horse ship truck
"""
_CIFAR100 = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm
"""
_CIFAR100_COARSE = """
aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices household_furniture
insects large_carnivores large_man-made_outdoor_things large_natural_outdoor_scenes large_omnivores_and_herbivores
medium_mammals non-insect_invertebrates people reptiles small_mammals trees vehicles_1 vehicles_2
"""
#: Names of the classes in the order of their numbers, for each kind of labels, the default first.
CLASS_NAMES: Dict[str, Dict[str, Tuple[str, ...]]] = {
    "cifar10": {"fine": tuple(_CIFAR10.split())},
    "cifar100": {"fine": tuple(_CIFAR100.split()), "coarse": tuple(_CIFAR100_COARSE.split())},
}


class Layout(NamedTuple):
    """Where an official version keeps what: files of each split, file of class names, key of each kind of label.

    Label keys are in the order of the binary records; the python version, whose files are pickled, uses their names.
    """

    archive: str
    folder: str
    md5: str
    files: Dict[str, Tuple[str, ...]]
    names: Dict[str, str]
    keys: Dict[str, str]
    pickled: bool = False

    def check(self) -> Verify:
        """A check of the archive's digest."""
        return expect(md5=self.md5)


_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))

LAYOUTS: Dict[str, Tuple[Layout, ...]] = {
    "cifar10": (
        Layout(
            archive="cifar-10-binary.tar.gz",
            folder="cifar-10-batches-bin",
            md5="c32a1d4ab5d03f1284b67883e8d87530",
            files={"train": tuple(f"{name}.bin" for name in _BATCHES), "test": ("test_batch.bin",)},
            names={"fine": "batches.meta.txt"},
            keys={"fine": "label"},
        ),
        Layout(
            archive="cifar-10-python.tar.gz",
            folder="cifar-10-batches-py",
            md5="c58f30108f718f92721af3b95e74349a",
            files={"train": _BATCHES, "test": ("test_batch",)},
            names={"fine": "batches.meta"},
            keys={"fine": "labels"},
            pickled=True,
        ),
    ),
    "cifar100": (
        Layout(
            archive="cifar-100-binary.tar.gz",
            folder="cifar-100-binary",
            md5="03b5dce01913d631647c71ecec9e9cb8",
            files={"train": ("train.bin",), "test": ("test.bin",)},
            names={"coarse": "coarse_label_names.txt", "fine": "fine_label_names.txt"},
            keys={"coarse": "coarse label", "fine": "fine label"},
        ),
        Layout(
            archive="cifar-100-python.tar.gz",
            folder="cifar-100-python",
            md5="eb9058c3a382ffc7106e4002c42a8d85",
            files={"train": ("train",), "test": ("test",)},
            names={"coarse": "meta", "fine": "meta"},
            keys={"coarse": "coarse_labels", "fine": "fine_labels"},
            pickled=True,
        ),
    ),
}


def load_cifar(
    dataset: str, split: str, data_dir: Optional[Path] = None, labels: str = "fine", download_missing: bool = True
) -> ImageSet:
    """Read 'cifar10' or 'cifar100' from ``data_dir``: an archive, its folder, or the unpacked folder.

    Without ``data_dir`` it is looked for in ``$MXNET_HOME/datasets/<dataset>`` and downloaded to there. Raises
    GluonAFFError when it is missing, cut short or damaged, UsageError for labels the data set does not have.
    """
    if labels not in CLASS_NAMES[dataset]:
        raise UsageError(f"{TITLES[dataset]} has no {labels!r} labels, only {', '.join(sorted(CLASS_NAMES[dataset]))}")
    place = data_dir or default_place(dataset)
    binary, python = LAYOUTS[dataset]
    found = _find(dataset, split, place)
    if found is None and data_dir is None and download_missing:
        archive = download(HOME + binary.archive, place / binary.archive, verify=binary.check())
        found = _find(dataset, split, archive)
    if found is None:
        raise GluonAFFError(
            f"no {TITLES[dataset]} in {place}: expected {binary.archive} or {python.archive} from {HOME}, "
            f"packed or unpacked{', or leave `data_dir` out to download it' if data_dir else ': put one there'} "
            "(folders and zips of images: `dataset` folder)"
        )
    layout, source = found
    read = _read_pickled if layout.pickled else _read_binary
    parts = [read(source, name, layout) for name in layout.files[split]]
    for name, (_, part) in zip(layout.files[split], parts):
        _check_range(source.where(name), part, CLASS_NAMES[dataset])
    images = np.concatenate([pixels for pixels, _ in parts]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return ImageSet(
        images=np.ascontiguousarray(images),
        labels=np.concatenate([part[labels] for _, part in parts]).astype(np.int64),
        classes=_class_names(source, layout, labels, len(CLASS_NAMES[dataset][labels])),
        name=dataset,
        source=str(source.path),
    )


def default_place(dataset: str) -> Path:
    """Where Gluon keeps a data set too: ``$MXNET_HOME/datasets/<dataset>``."""
    return mxnet_home() / "datasets" / dataset


def _find(dataset: str, split: str, place: Path) -> Optional[Tuple[Layout, FileTree]]:
    """The layout found at a place and its files; None when there is nothing of this data set."""
    layouts = LAYOUTS[dataset]
    expected = [{*layout.files["train"], *layout.files["test"], *layout.names.values()} for layout in layouts]
    if place.is_file():
        if zipfile.is_zipfile(place):
            raise UsageError(
                f"{place} is a zip, expected {layouts[0].archive}: zips of images go with `dataset` folder"
            )
        candidates: List[FileTree] = [PackedTree(place, {name for names in expected for name in names})]
    else:
        places = [place, *(place / layout.folder for layout in layouts)]
        candidates = [FileTree(folder) for folder in places if folder.is_dir()]
    for source in candidates:
        for layout, names in zip(layouts, expected):
            missing = [name for name in layout.files[split] if not source.exists(name)]
            if not missing:
                return layout, source
            if names & set(source.files()):
                raise GluonAFFError(
                    f"{source.path} has no {', '.join(missing)}, the {split} images of {layout.archive}: "
                    "unpack or download it again"
                )
    for layout in layouts:
        if (place / layout.archive).is_file():
            return _find(dataset, split, place / layout.archive)
    if place.is_file():
        raise GluonAFFError(
            f"{place} is an archive without {layouts[0].files[split][0]} or {layouts[1].files[split][0]}: "
            f"it is not {TITLES[dataset]}, or incomplete"
        )
    return None


def _read_binary(source: FileTree, name: str, layout: Layout) -> Tuple[np.ndarray, Dict[str, np.ndarray]]:
    content = source.read(name)
    length = len(layout.keys) + _PIXELS
    if not content or len(content) % length:
        raise GluonAFFError(
            f"{source.where(name)} has {len(content)} bytes, expected whole records of {length}: "
            "it is cut short or of another data set, unpack or download it again"
        )
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, length)
    labels = {kind: records[:, column] for column, kind in enumerate(layout.keys)}
    return records[:, len(layout.keys) :], labels


def _read_pickled(source: FileTree, name: str, layout: Layout) -> Tuple[np.ndarray, Dict[str, np.ndarray]]:
    where = source.where(name)
    batch = _with_text_keys(load_pickle(source.read(name), where))
    pixels = batch.get("data")
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != _PIXELS:
        shown = f"{pixels.dtype} {pixels.shape}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise GluonAFFError(f"{where}: its data is {shown}, expected uint8 (N, {_PIXELS}): download it again")
    labels = {}
    for kind, key in layout.keys.items():
        numbers = batch.get(key)
        if not isinstance(numbers, list) or not all(isinstance(number, int) for number in numbers):
            raise GluonAFFError(f"{where} has no list of whole numbers {key!r}: it is not the official file")
        if len(numbers) != len(pixels):
            raise GluonAFFError(f"{where} has {len(numbers)} {key} for {len(pixels)} images: download it again")
        labels[kind] = np.array(numbers)  # of objects when a number is larger than int64
    return pixels, labels


def _check_range(where: str, labels: Mapping[str, np.ndarray], names: Mapping[str, Sequence[str]]) -> None:
    for kind, numbers in labels.items():
        wrong = np.flatnonzero((numbers < 0) | (numbers >= len(names[kind])))
        if len(wrong):
            raise GluonAFFError(
                f"{where}: image {wrong[0]} has {kind} label {numbers[wrong[0]]}, expected 0 to "
                f"{len(names[kind]) - 1}: the file is damaged or of another data set, download it again"
            )


def _class_names(source: FileTree, layout: Layout, labels: str, count: int) -> Tuple[str, ...]:
    """The names that come with the data; "0", "1", ... where they do not."""
    name = layout.names[labels]
    if not source.exists(name):
        return tuple(str(label) for label in range(count))
    content = source.read(name)
    if layout.pickled:
        key = "label_names" if len(layout.names) == 1 else f"{labels}_label_names"
        listed = _with_text_keys(load_pickle(content, source.where(name))).get(key, [])
    else:
        listed = content.decode("utf-8", "replace").split()
    if not isinstance(listed, list) or len(listed) != count:
        found = len(listed) if isinstance(listed, list) else f"{listed!r:.40} for"
        raise GluonAFFError(
            f"{source.where(name)} has {found} {labels} class names, expected {count}: unpack or download it again"
        )
    return tuple(_text(item) for item in listed)


def _with_text_keys(loaded: Any) -> Dict[str, Any]:
    return {_text(key): value for key, value in loaded.items()} if isinstance(loaded, dict) else {}


def _text(item: Any) -> str:
    return item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item)


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How protocol 2 carries bytes; other encodings than latin1 (compression among them) have no business here."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r}")
    return codecs.encode(text, encoding)


_reconstruct = np.empty(0).__reduce__()[0]  # its module's name differs between versions of NumPy

_ALLOWED: Dict[Tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    """A pickle names functions for the reader to call: any but the few that rebuild an array stops the reading."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which CIFAR's files do not need")
        return _ALLOWED[module, name]


def load_pickle(content: bytes, where: str) -> Any:
    """Return the object in a pickle, text of Python 2 as bytes. ``where`` names the file in messages.

    Raises GluonAFFError for anything that is not a whole, harmless pickle.
    """
    try:
        return _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a damaged pickle can raise nearly anything
        reason = " ".join(str(error).split())
        raise GluonAFFError(
            f"{where} is not a pickle of CIFAR's python version ({reason}): "
            "the file is damaged or not the official one, unpack or download it again"
        ) from error
