"""Images with masks: the set in memory, folders and zips of them, training's augmentation, and batches.

A folder or zip of pairs:

    <root>/<split>.txt      one id, or file name, a line
    <root>/images/<id>.*    of any usual kind, in any mode; an id may begin with folders
    <root>/masks/<id>.*     grey, 0 and 1 or 0 and 255; where it may not lie on its image, that is told
    <root>/classes.txt      with masks of several classes: their names in the order of their numbers, if they have any

SIRST, single-frame infrared small targets (Dai et al., "Asymmetric Contextual Modulation", WACV 2021), calls its
masks ``<id>_pixels0.png`` and keeps its lists in ``idx_427/``; NUDT-SIRST and IRSTD-1k have theirs in ``img_idx/``,
some as ``train_<set>.txt``. A split is the name of a list, ``folder/name`` inside the set or beside it, or the path of
any text file of ids. A folder without any list has the splits that its folders are called, images/train or
train/images, or else can hold out a share of its images as "val".
"""

from __future__ import annotations

import hashlib
import sys
import threading
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from PIL import Image, ImageFilter

from ..errors import GluonAFFError, UsageError
from ..runtime.threads import prefetch
from ..utils import console
from ..utils.console import tell_once
from .class_folders import role_of, stand_ins
from .decoding import IGNORED, decode_image, decode_mask, open_image, orientation
from .image_set import Sampled
from .loader import Batch, Batches
from .text_lists import HEADINGS, lines_in, names_in, tails_of
from .transform import EvalTransform
from .trees import IMAGE_SUFFIXES, FileTree, LeftOut, digest_of, joined, open_file_tree
from .validation_split import OFFER, split_off, told_shared

CACHE_BYTES = 256 << 20
IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of pixels in 0..1, per channel
IMAGENET_STD = (0.229, 0.224, 0.225)

Pair = Tuple[np.ndarray, np.ndarray]
PairTransform = Callable[[np.ndarray, np.ndarray, np.random.Generator], Pair]


class PairSet(Sampled):
    """Images and masks, read when asked for; threads may share it.

    Parameters
    ----------
    name, source : str
        The data set's name and place, for messages and run records.
    names : sequence of str
        The images' ids, which also name what is predicted from them.
    read : callable
        From an id to its pair: the image, uint8 (H, W, 3), RGB, and its mask, uint8 (H, W) of 0 and 1.
    note : str
        One line that tells how much was found.
    cache_bytes : int
        Decoded pairs stay in memory until they fill this many bytes.
    classes : int
        1: masks hold 0 and 1. K: they hold class numbers, 0 to K - 1, and `IGNORED`.
    ignores : bool
        Whether masks of 0 and 1 hold `IGNORED`, too, where a pixel does not count.
    class_names : sequence of str, optional
        Names of the K classes, the background's first.
    foreground : sequence of float, optional
        Share of each image that its mask marks, where it is known.
    own_sizes : bool
        Whether a mask may have another size than its image.
    contents : mapping, optional
        Of each id the SHA-256 of its image's file, where there are files.
    listed : mapping, optional
        Of a list of ids that lies outside the data set, its "path" and "sha256".
    digest : str
        Changes when the files do that it, or the set that it was chosen from, is read from (default: of the names).
    """

    def __init__(
        self,
        name: str,
        source: str,
        names: Sequence[str],
        read: Callable[[str], Pair],
        note: str = "",
        cache_bytes: int = CACHE_BYTES,
        classes: int = 1,
        class_names: Optional[Sequence[str]] = None,
        foreground: Optional[Sequence[float]] = None,
        own_sizes: bool = False,
        listed: Optional[Mapping[str, str]] = None,
        ignores: bool = False,
        contents: Optional[Mapping[str, str]] = None,
        digest: str = "",
    ) -> None:
        self.name = name
        self.source = source
        self.names = tuple(names)
        self.note = note
        self.read = read
        self.classes = classes
        self.class_names = None if class_names is None else tuple(class_names)
        self.foreground = None if foreground is None else tuple(foreground)
        self.own_sizes = own_sizes
        self.listed = None if listed is None else dict(listed)
        self.ignores = ignores or classes > 1
        self.contents = contents or {}
        self.digest = digest or hashlib.sha256("\n".join(self.names).encode("utf-8", "surrogateescape")).hexdigest()
        self._lock = threading.Lock()
        self._cache: Dict[int, Pair] = {}
        self._cache_bytes, self._cached_bytes = cache_bytes, 0

    def __len__(self) -> int:
        return len(self.names)

    def shared_with(self, train: PairSet) -> str:
        """Return the remark on those of these images that are among ``train``, too; empty without any."""
        known = {train.contents[name]: name for name in train.names if name in train.contents}
        copies = {name: known[self.contents[name]] for name in self.names if self.contents.get(name) in known}
        return told_shared(copies, len(self), "validation", "training")

    def pair(self, i: int, aligned: bool = True) -> Pair:
        """Return the image, uint8 (H, W, 3), and its mask, uint8 (H, W); neither can be written to.

        A mask of another size is resized to the image (nearest) unless ``aligned`` is False.

        Raises GluonAFFError naming the file at fault, UsageError when ``read`` returned something else.
        """
        image, mask = self._cache[i] if i in self._cache else self._read(i)
        return align(image, mask) if aligned else (image, mask)

    def _read(self, i: int) -> Pair:
        image, mask = self.read(self.names[i])
        self._check(self.names[i], image, mask)
        image.setflags(write=False)
        mask.setflags(write=False)
        with self._lock:
            if i not in self._cache and self._cached_bytes + image.nbytes + mask.nbytes <= self._cache_bytes:
                self._cache[i] = image, mask
                self._cached_bytes += image.nbytes + mask.nbytes
        return image, mask

    def _check(self, name: str, image: np.ndarray, mask: np.ndarray) -> None:
        where = f"{name} of {self.name} ({self.source})"
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise UsageError(f"{where}: the image is {image.dtype} {image.shape}, expected uint8 (H, W, 3)")
        fits = mask.ndim == 2 if self.own_sizes else mask.shape == image.shape[:2]
        if mask.dtype != np.uint8 or not fits:
            raise UsageError(f"{where}: the mask is {mask.dtype} {mask.shape}, expected uint8 {image.shape[:2]}")
        most = max(self.classes - 1, 1)
        wrong = mask[(mask > most) & ((mask != IGNORED) | (not self.ignores))]
        if wrong.size:
            expected = f"0 to {most} and {IGNORED}" if self.ignores else "0 and 1 only"
            raise UsageError(f"{where}: the mask holds {wrong.max()}, expected {expected}")

    def _chosen(self, places: np.ndarray, how: str) -> PairSet:
        chosen = places.tolist()
        return PairSet(
            self.name,
            self.source,
            [self.names[i] for i in chosen],
            self.read,
            f"{len(chosen)} of these, {how}: {self.note}",
            classes=self.classes,
            class_names=self.class_names,
            foreground=None if self.foreground is None else [self.foreground[i] for i in chosen],
            own_sizes=self.own_sizes,
            listed=self.listed,
            ignores=self.ignores,
            contents=self.contents,
            digest=self.digest,
        )


def align(image: np.ndarray, mask: np.ndarray) -> Pair:
    """Return both, the mask in the image's size (nearest)."""
    height, width = image.shape[:2]
    return image, _resize(mask, height, width, Image.Resampling.NEAREST)


# Folders and zips ----------------------------------------------------------------------------------------------------

_CLASSES = "classes.txt"


class PairLayout(NamedTuple):
    """How a set names its files: what stands behind a mask's id, and the folders of its lists, the likelier first.

    ``more_lists``: where lists that are not in the set come from.
    """

    name: str
    title: str
    mask_endings: Tuple[str, ...] = ("", "_pixels0")
    lists: Tuple[str, ...] = ("", "img_idx")
    more_lists: str = ""


FOLDER = PairLayout("folder", "an image and mask folder")
SIRST = PairLayout(
    "sirst",
    "SIRST",
    mask_endings=("_pixels0", ""),
    lists=("", "idx_427", "img_idx"),
    more_lists="idx_427 and idx_320 come with https://github.com/YimianDai/sirst",
)
ALL = "all"  # the split of every image, where there is no list of that name
_NAMED_LISTS = "img_idx"  # the folder whose lists have the set's name behind the split's


def load_pair_folder(
    path: Path,
    split: str,
    layout: PairLayout = FOLDER,
    mask_threshold: Optional[int] = None,
    val_fraction: Optional[float] = None,
    seed: int = 0,
    classes: int = 1,
    mask_ignore: Optional[int] = None,
) -> PairSet:
    """Return the pairs that a split lists; a folder around everything is skipped.

    ``split`` is the name of a list in the root or in one of the layout's folders, ``folder/name`` in the set or beside
    it (which is told), the path of a text file of ids, or "all", every image.

    With ``val_fraction`` a folder without lists has the splits "train" and "val": all its images, of which that share
    is "val", drawn by ``seed`` (see `split_off`).

    With ``classes`` above 1 masks hold class numbers, for ``mask_ignore`` see `decode_mask`.

    Masks and image sizes are checked before this returns, so that nothing is wrong only later. Images without
    foreground are counted, masks of another size than their image and photographs with a note on orientation are named,
    on standard error. Raises GluonAFFError naming the file at fault, and for masks of nothing but background and pixels
    that do not count; UsageError for a split without list, or a fraction of a folder with lists.
    """
    files = _PairFiles(open_file_tree(path), layout, mask_threshold, classes, mask_ignore)
    if val_fraction is None or split == ALL:
        files.take_listed(split)
    else:
        files.take_share(split, val_fraction, seed)
    names = list(files.pairs)
    checks = prefetch(files.check, names, "check")
    checked = list(console.progress(checks, total=len(names), label=f"checking {split}", unit="mask"))
    foreground = [each.foreground for each in checked]
    if not any(foreground) and any(each.ignored for each in checked):
        raise GluonAFFError(files.nothing_marked(f"{layout.name} {split}"))
    others = [each.size for each in checked if each.size]
    if others:
        more = f"; so have {len(others) - 1} others" if len(others) > 1 else ""
        tell_once(
            f"note: {others[0]}; the mask is resized to the image in training, and each by itself to the base size in "
            f"evaluation{more}"
        )
    turned = [each.turned for each in checked if each.turned]
    if turned:
        more = f", and so have {len(turned) - 1} others" if len(turned) > 1 else ""
        tell_once(
            f"note: {turned[0]}{more}: pixels are read as they are stored, so a mask of the upright picture does not "
            "lie on them; save such pictures upright (mogrify -auto-orient)"
        )
    without = sum(share == 0 for share in foreground)
    if without:
        print(f"note: {without} of {len(names)} masks of {layout.name} {split} hold no foreground", file=sys.stderr)
    note = f"{layout.name} {split}: {len(names)} images, {100 * float(np.mean(foreground)):.2g} % foreground"
    return PairSet(
        layout.name,
        str(path),
        names,
        files.read,
        note,
        classes=classes,
        class_names=files.class_names(),
        foreground=foreground,
        own_sizes=True,
        listed=files.listed,
        digest=files.digest(),
        ignores=mask_ignore is not None,
        contents={name: each.content for name, each in zip(names, checked)},
    )


def holds_pairs(path: Path) -> bool:
    """Whether a folder or zip holds images/ and masks/, or such folders for each split."""
    try:
        _PairFiles(open_file_tree(path), FOLDER, None, 1)
    except GluonAFFError:
        return False
    return True


def is_undivided(path: Path) -> bool:
    """Whether a folder or zip of pairs has neither lists nor folders of splits. Raises GluonAFFError for another."""
    return not _PairFiles(open_file_tree(path), FOLDER, None, 1).splits()


def images_of_split(path: Path, split: str) -> Tuple[FileTree, List[str]]:
    """Return the tree of a folder or zip of pairs and the names of the images that a split lists.

    Raises as `load_pair_folder` does.
    """
    tree = open_file_tree(path)
    files = _PairFiles(tree, SIRST._replace(name=path.name, title="a set with lists"), None, 1, None)
    files.take_listed(split)
    return tree, [image for image, _ in files.pairs.values()]


class _Checked(NamedTuple):
    """Of a pair: the mask's share of foreground, whether pixels do not count, remarks on size and orientation, and the
    SHA-256 of the image's file.
    """

    foreground: float
    ignored: bool
    size: str
    turned: str
    content: str


class _PairFiles:
    """``pairs`` are the names of image and mask of each id that was taken; ``listed`` is as in `PairSet`."""

    def __init__(
        self,
        tree: FileTree,
        layout: PairLayout,
        mask_threshold: Optional[int],
        classes: int,
        mask_ignore: Optional[int] = None,
    ) -> None:
        self._tree = tree
        self._layout = layout
        self._threshold = mask_threshold
        self._classes = classes
        self._ignore = mask_ignore
        self._split_folders: List[str] = []  # of those that hold images/ and masks/ of their own
        self._root = self._find_root()
        self._files = {folder: self._by_stem(folder) for folder in ("images", "masks")}
        self.pairs: Dict[str, Tuple[str, str]] = {}
        self.listed: Optional[Dict[str, str]] = None

    def _find_root(self) -> str:
        """The folder that holds images/ and masks/, or such folders for each split."""
        tree = self._tree
        places = [place for place in ("", *tree.folders()) if self._holds_pairs(place)]
        if "" in places:
            return ""
        for top in ("", *tree.folders()):
            self._split_folders = [
                name for name in tree.folders(top) if role_of(name) and self._holds_pairs(joined(top, name))
            ]
            if self._split_folders:
                return top
        if len(places) != 1:
            found = f"several: {', '.join(places)}" if places else ", ".join(tree.folders() + tree.files()) or "nothing"
            raise GluonAFFError(
                f"{tree.path} is not {self._layout.title}: expected images/, masks/ and <split>.txt in it, found "
                f"{found[:200]}: give the folder or zip that holds them"
            )
        return places[0]

    def _holds_pairs(self, place: str) -> bool:
        return {"images", "masks"} <= set(self._tree.folders(place))

    def _by_stem(self, folder: str) -> Dict[str, List[str]]:
        """The files of each id, which begins with the folders that they lie in."""
        files: Dict[str, List[str]] = {}
        left_out = LeftOut()
        for part in self._split_folders or [""]:
            place = joined(self._root, part, folder)
            for file in self._tree.below(place, IMAGE_SUFFIXES, left_out):
                files.setdefault(joined(part, file[len(place) + 1 :].rpartition(".")[0]), []).append(file)
        for note in left_out.note():
            tell_once(f"note: {self._tree.path}: {note}")
        return files

    def _by_folder(self) -> Dict[str, List[str]]:
        """The ids of each split, "train", "val" and "test", where all images lie in folders that are called so."""
        found: Dict[str, List[str]] = {}
        for each in sorted(self._files["images"]):
            name, inside, _ = each.partition("/")
            role = role_of(name) if inside else None
            if role is None:
                return {}
            found.setdefault(role, []).append(each)
        return found

    def take_listed(self, split: str) -> None:
        """Take the ids of a split, in the order of its list, or else those in the folder that is called so."""
        if split == ALL and not self._list_of(ALL):
            self._take(sorted(self._files["images"]), self._tree.where(joined(self._root, "images")))
            return
        by_folder = {} if self._lists() else self._by_folder()
        role = next((role for role in stand_ins(role_of(split)) if role in by_folder), None)
        if role is not None:
            ids = by_folder[role]
            folders, where = {each.partition("/")[0] for each in ids}, self._tree.where(self._root)
            if folders != {split}:
                tell_once(f"note: {where}: for {split} the images in {' and '.join(sorted(folders))} are taken")
            self._take(ids, where)
            return
        where, content = self._find_list(split)
        try:
            lines = lines_in(content)
        except UnicodeDecodeError as error:
            raise GluonAFFError(f"{where} is not text: expected one id per line") from error
        first = [name.lower() for line in lines[:1] for name in names_in(line)]
        headed = set(first) & set(HEADINGS) and self._id(lines[0]) not in self._files["images"]
        ids = [self._id(line) for line in (lines[1:] if headed else lines)]
        if not ids:
            raise GluonAFFError(f"{where} is empty: expected one id per line")
        twice = min((each for each, count in Counter(ids).items() if count > 1), default=None)
        if twice is not None:
            raise GluonAFFError(f"{where} lists {twice} more than once: every image counts once")
        self._take(ids, where)

    def _find_list(self, split: str) -> Tuple[str, bytes]:
        """The place, for messages, and the content of a split's list. Raises UsageError where there is none."""
        tree, name = self._tree, split[:-4] if split.lower().endswith(".txt") else split
        own, parts = Path(f"{name}.txt" if name == split else split).expanduser(), PurePosixPath(name).parts
        leaves = own.is_absolute() or ".." in parts
        if (leaves or name != split) and own.is_file():
            return self._outside(own)
        found = None if leaves else self._list_of(name)
        if found is None and name == "trainval" and not self._list_of("val"):
            found = self._list_of("train")
            if found:
                tell_once(f"note: {tree.where(self._root)} has no lists trainval and val: all of train is taken")
        if found is not None:
            return tree.where(found), tree.read(found)
        for folder in (Path(tree.where(self._root)), tree.path) if len(parts) > 1 and not leaves else ():
            beside = folder.absolute().parent / f"{name}.txt"
            if beside.is_file():
                tell_once(f"note: {tree.path} has no {name}.txt, the one beside it is taken: {beside}")
                return self._outside(beside)
        missing = [] if leaves else [f"{tree.where(self._root)} has no {' or '.join(self._places(name))}"]
        missing += [f"there is no file {own}"] if leaves or name != split else []
        raise UsageError(f"{self._layout.name} has no split {split!r}: {' and '.join(missing)}, {self._choices()}")

    def _outside(self, path: Path) -> Tuple[str, bytes]:
        content = FileTree(path.parent).read(path.name)
        self.listed = {"path": str(path.absolute()), "sha256": hashlib.sha256(content).hexdigest()}
        return str(path), content

    def _places(self, name: str) -> List[str]:
        """Where the list of a split may be; * stands for the set's name."""
        if "/" in name:
            return [f"{name}.txt"]
        return [*(joined(folder, f"{name}.txt") for folder in self._layout.lists), f"{_NAMED_LISTS}/{name}_*.txt"]

    def _list_of(self, name: str) -> Optional[str]:
        """The list of that name in the set. Raises UsageError where it could be several."""
        for place in self._places(name):
            folder, _, pattern = joined(self._root, place).rpartition("/")
            if not pattern.endswith("*.txt"):
                if self._tree.exists(joined(folder, pattern)):
                    return joined(folder, pattern)
                continue
            files = [file for file in self._tree.files(folder) if file.startswith(f"{name}_") and file.endswith(".txt")]
            if len(files) > 1:
                names = " or ".join(f"{_NAMED_LISTS}/{file[:-4]}" for file in files)
                raise UsageError(f"the split {name!r} has several lists in {self._tree.where(folder)}: give {names}")
            if files:
                return joined(folder, files[0])
        return None

    def splits(self) -> List[str]:
        """Names of the lists in the set, or else of the folders that are called like splits."""
        in_folders = [
            f"{folder}/{file[:-4]}"
            for folder in self._tree.folders(self._root)
            if folder not in self._layout.lists
            for file in self._tree.files(joined(self._root, folder))
            if file.endswith(".txt") and self._names_images(joined(self._root, folder, file))
        ]
        return [*self._lists(), *in_folders] or list(self._by_folder())

    def _choices(self) -> str:
        """What splits there are, and how to get others."""
        found, more = self.splits(), self._layout.more_lists
        offer = f"; or {OFFER}" if self._layout is FOLDER else ""
        there = f"choose one of {', '.join(found)}" if found else f"write one with one id per line{offer}"
        more = f" ({more}: put such a folder beside {self._tree.path.name})" if more else ""
        return f"{there}, or give the path of a list of your own{more}"

    def take_share(self, split: str, fraction: float, seed: int) -> None:
        """Take one part of all images, sorted. Raises UsageError where there are lists."""
        if self._lists():
            raise UsageError(
                f"`val_fraction` {fraction:g}: {self._tree.where(self._root)} has lists ({', '.join(self._lists())}), "
                "leave it out"
            )
        by_folder = self._by_folder()
        if len(by_folder) > 1 or (by_folder and "train" not in by_folder):
            raise UsageError(
                f"`val_fraction` {fraction:g}: {self._tree.where(self._root)} has images for {', '.join(by_folder)}, "
                "leave it out"
            )
        if split not in ("train", "val"):
            raise UsageError(f"no split {split!r}: with `val_fraction` there are train and val")
        self._take(sorted(self._files["images"]), self._tree.where(joined(self._root, "images")))
        ids = {image: each for each, (image, _) in self.pairs.items()}
        parts = split_off(self._tree, {"": list(ids)}, fraction, seed)
        for note in parts.notes if split == "train" else ():
            print(f"note: {note}", file=sys.stderr)
        chosen = parts.train if split == "train" else parts.val
        self.pairs = {ids[image]: self.pairs[ids[image]] for image in chosen[""]}

    def _lists(self) -> List[str]:
        """Names of the splits that have a list: a text called like a split, or that names images in most lines."""
        return [
            file[:-4]
            for folder in self._layout.lists
            for file in self._tree.files(joined(self._root, folder))
            if file.endswith(".txt") and file != _CLASSES
            if role_of(file[:-4]) or self._names_images(joined(self._root, folder, file))
        ]

    def _names_images(self, text: str) -> bool:
        try:
            lines = lines_in(self._tree.read(text))
        except UnicodeDecodeError:
            return False
        return 0 < len(lines) <= 2 * sum(self._id(line) in self._files["images"] for line in lines)

    def _id(self, line: str) -> str:
        """Lists of file names and paths are understood, too, and tables that begin with them."""
        for name in names_in(line):
            for tail in tails_of(name):
                if tail in self._files["images"]:
                    return tail
        return line.rsplit(".", 1)[0] if line.lower().endswith(IMAGE_SUFFIXES) else line

    def _take(self, ids: Sequence[str], listed_in: str) -> None:
        for each in ids:
            image = self._file("images", each, listed_in)
            self.pairs[each] = image, self._file("masks", each, listed_in, self._layout.mask_endings)

    def _file(self, folder: str, each: str, listed_in: str, endings: Sequence[str] = ("",)) -> str:
        """The one file in a folder that has the stem of an id, with the first of the endings that there is."""
        stems = [each + ending for ending in endings]
        found = next(filter(None, (self._files[folder].get(stem) for stem in stems)), [])
        place = joined(self._root, folder)
        if not found:
            raise GluonAFFError(
                f"{listed_in} lists {each}, but {self._tree.where(place)} has no "
                f"{' or '.join(f'{stem}.png' for stem in stems)} (or jpg, bmp, tif)"
            )
        if len(found) > 1:
            names = " and ".join(file[len(place) + 1 :] if file.startswith(f"{place}/") else file for file in found)
            raise GluonAFFError(f"{self._tree.where(place)} has {names}: which is it? Keep one")
        return found[0]

    def class_names(self) -> Optional[List[str]]:
        """What classes.txt says, where there are several classes. Raises GluonAFFError for another number of names."""
        name = joined(self._root, _CLASSES)
        if self._classes == 1 or not self._tree.exists(name):
            return None
        try:
            found = lines_in(self._tree.read(name))
        except UnicodeDecodeError as error:
            raise GluonAFFError(f"{self._tree.where(name)} is not text: expected a class's name per line") from error
        if len(found) != self._classes:
            raise GluonAFFError(
                f"{self._tree.where(name)} has {len(found)} names for {self._classes} classes: expected one a line, in "
                "the order of their numbers, the background's first"
            )
        return found

    def digest(self) -> str:
        """Of the images and masks that were taken."""
        return digest_of(self._tree, [file for pair in self.pairs.values() for file in pair])

    def read(self, name: str) -> Pair:
        """Decode a pair, each in its own size."""
        image, mask = self.pairs[name]
        return decode_image(self._tree.read(image), self._tree.where(image)), self._mask(mask)

    def check(self, name: str) -> _Checked:
        """Look at a mask and at its image's header, not at the image's pixels."""
        image, mask = self.pairs[name]
        where = self._tree.where(image)
        content = self._tree.read(image)
        picture = open_image(content, where)
        (width, height), turn = picture.size, 1 if picture.format == "TIFF" else orientation(picture)
        labels, size = self._mask(mask), ""
        if labels.shape != (height, width):
            size = f"{where} is {width}x{height}, but its mask {mask.rsplit('/', 1)[-1]} "
            size += f"{labels.shape[1]}x{labels.shape[0]}" + (", turned" if labels.shape == (width, height) else "")
        ignored = labels == IGNORED
        foreground = float(((labels > 0) & ~ignored).mean())
        turned = f"{where} has a camera's note on orientation (EXIF, {turn})" if turn in range(2, 9) else ""
        return _Checked(foreground, bool(ignored.any()), size, turned, hashlib.sha256(content).hexdigest())

    def nothing_marked(self, part: str) -> str:
        """The message for masks that hold nothing but background and pixels that do not count."""
        value, by = (IGNORED, f"`classes` {self._classes}") if self._ignore is None else (self._ignore, "`mask_ignore`")
        return (
            f"no mask of {part} ({self._tree.path}) marks anything: they hold 0 and {value} alone, and with {by} "
            f"{value} does not count; leave it out for masks of foreground and background"
            + (f", or save class numbers, 0 to {self._classes - 1}" if self._classes > 1 else "")
        )

    def _mask(self, name: str) -> np.ndarray:
        where = self._tree.where(name)
        return decode_mask(self._tree.read(name), where, self._threshold, self._classes, self._ignore)


# Augmentation --------------------------------------------------------------------------------------------------------
#
# A transform is ``transform(image, mask, rng)`` with uint8 (H, W, 3) and (H, W); it returns x, float32 (3, h, w),
# normalised with ImageNet's mean and standard deviation, and y, float32 (1, h, w), the mask's numbers. What it draws
# comes from ``rng``, a NumPy Generator, alone. It keeps no state between calls, so threads may share it. One that has
# ``aligned = False`` gets masks of the size that they have.

_normalise = EvalTransform(IMAGENET_MEAN, IMAGENET_STD)


class TrainPairs:
    """Mirror, scale, crop and blur at random; x and y are ``crop_size`` high and wide.

    Half of the pairs are mirrored left to right. The long side becomes a length drawn uniformly from half to twice
    ``base_size`` (image bilinear, mask nearest). Black is added on the right and at the bottom where that is smaller
    than the crop, whose place is then drawn uniformly. Half of the images get a Gaussian blur, its radius drawn
    uniformly from 0 to 1 pixel. ``beyond`` is what the mask says of the black: background, or `IGNORED`.
    """

    def __init__(self, base_size: int = 512, crop_size: int = 480, beyond: int = 0) -> None:
        if base_size < 2 or crop_size < 1:
            raise UsageError(f"base size {base_size}, crop size {crop_size}: expected at least 2 and 1 pixels")
        self.base_size = base_size
        self.crop_size = crop_size
        self.beyond = beyond

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Pair:
        # Everything is drawn at once, so that one step's draws never move another's.
        mirrored, blurred = (rng.random(2) < 0.5).tolist()
        long_side = int(rng.integers(self.base_size // 2, 2 * self.base_size, endpoint=True))
        down, right, radius = rng.random(3).tolist()

        if mirrored:
            image, mask = image[:, ::-1], mask[:, ::-1]
        scale = long_side / max(mask.shape)
        height, width = (max(1, round(side * scale)) for side in mask.shape)
        image, mask = _resized(image, mask, height, width)

        crop = self.crop_size
        missing = ((0, max(0, crop - height)), (0, max(0, crop - width)))
        image, mask = np.pad(image, (*missing, (0, 0))), np.pad(mask, missing, constant_values=self.beyond)
        top, left = (int(place * (side - crop + 1)) for place, side in zip((down, right), mask.shape))
        image, mask = (pixels[top : top + crop, left : left + crop] for pixels in (image, mask))
        if blurred:
            image = np.asarray(_picture(image).filter(ImageFilter.GaussianBlur(radius)))
        return _network_input(image, mask)


class EvalPairs:
    """Stretch to ``base_size`` x ``base_size`` (image bilinear, mask nearest), or keep the size (None).

    A mask of another size than its image is stretched by itself, as the authors score.
    """

    def __init__(self, base_size: Optional[int] = 512) -> None:
        if base_size is not None and base_size < 1:
            raise UsageError(f"base size {base_size}: expected at least 1 pixel")
        self.base_size = base_size
        self.aligned = base_size is None

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: Optional[np.random.Generator] = None) -> Pair:
        if self.base_size is not None:
            image, mask = _resized(image, mask, self.base_size, self.base_size)
        return _network_input(image, mask)


def _resized(image: np.ndarray, mask: np.ndarray, height: int, width: int) -> Pair:
    image = _resize(image, height, width, Image.Resampling.BILINEAR)
    return image, _resize(mask, height, width, Image.Resampling.NEAREST)


def _resize(pixels: np.ndarray, height: int, width: int, how: Image.Resampling) -> np.ndarray:
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(_picture(pixels).resize((width, height), how))


def _picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels))


def _network_input(image: np.ndarray, mask: np.ndarray) -> Pair:
    return _normalise(image[None])[0], mask[None].astype(np.float32)


class PairLoader(Batches):
    """Yields (x, y): images, float32 (B, 3, h, w), and masks, float32 (B, 1, h, w), their numbers.

    An image's random draws depend on seed, epoch and its place in the set, so neither the number of workers nor that
    of processes nor the batch size changes what becomes of it. Other arguments are those of `Batches`. Raises
    UsageError when the transform leaves the images of a batch different sizes.
    """

    def __init__(self, pairs: PairSet, batch_size: int, transform: PairTransform, **options: Any) -> None:
        super().__init__(len(pairs), batch_size, name=pairs.name, **options)
        self.pairs = pairs
        self.transform = transform

    def make(self, chosen: np.ndarray, epoch: int, index: int) -> Batch:
        aligned = getattr(self.transform, "aligned", True)
        made = [self.transform(*self.pairs.pair(i, aligned), self.random(epoch, i)) for i in chosen.tolist()]
        sizes = {y.shape[1:] for _, y in made}
        if len(sizes) > 1:
            shown = " and ".join(f"{width}x{height}" for height, width in sorted(sizes)[:2])
            raise UsageError(
                f"images of {self.pairs.name} differ in size ({shown}): evaluate them one by one, or give a base size"
            )
        return np.stack([x for x, _ in made]), np.stack([y for _, y in made])
