"""A share of a set's files kept for validation, which never parts files of equal content."""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Set

import numpy as np

from ..errors import GluonAFFError, UsageError
from ..runtime.threads import prefetch
from ..utils import console
from .decoding import open_image, some
from .trees import FileTree

OFFER = "`val_fraction` 0.1 holds out a tenth of the images, drawn by `seed`"

COMPARED = 200_000  # files, at most, that are compared with each other at a run's start


class SplitFiles(NamedTuple):
    """Both parts, class by class and in each in the given order, and remarks for the user."""

    train: Dict[str, List[str]]
    val: Dict[str, List[str]]
    notes: List[str]


def split_off(tree: FileTree, classes: Mapping[str, Sequence[str]], fraction: float, seed: int) -> SplitFiles:
    """Take the share ``fraction`` of the files of each class, ``classes[name]``, for validation.

    The draw depends on the seed, the names of the classes and the order of each class's files, so one folder is split
    alike by whatever reads it. Files of equal content, also of different classes, are kept in one part. Every class
    keeps a file for training. Raises UsageError unless 0 < fraction < 1, and when nothing can be held out.
    """
    if not 0 < fraction < 1:
        raise UsageError(f"`val_fraction` {fraction:g}: expected a share between 0 and 1, such as 0.1")
    group_of = _groups(tree, [file for files in classes.values() for file in files])
    sizes = Counter(group_of.values())
    held: Set[str] = set()
    seen: Set[str] = set()
    for name, files in sorted(classes.items()):
        groups = list(dict.fromkeys(group_of[file] for file in files if group_of[file] not in seen))
        seen.update(groups)
        wanted = max(1, round(fraction * sum(sizes[group] for group in groups)))
        random = np.random.default_rng([seed, zlib.crc32(name.encode("utf-8", "surrogateescape"))])
        taken = 0
        for place in random.permutation(len(groups))[:-1]:  # one stays for training, whatever the fraction
            group = groups[place]
            if taken == 0 or taken + sizes[group] <= wanted:
                held.add(group)
                taken += sizes[group]
            if taken >= wanted:
                break
    if not held:
        raise UsageError(f"{tree.path}: no class has two different images, so none can be held out for validation")
    train, val = (
        {name: [file for file in files if (group_of[file] in held) == chosen] for name, files in classes.items()}
        for chosen in (False, True)
    )
    return SplitFiles(train, val, _notes(sizes, val))


def copies_between(
    first: FileTree, firsts: Sequence[str], second: FileTree, seconds: Sequence[str]
) -> Optional[Dict[str, str]]:
    """Return which of the second files are copies of which of the first, by their content.

    Only files whose size is among both are read. None for more files than `COMPARED`, as ImageNet has.
    """
    if len(firsts) + len(seconds) > COMPARED:
        return None
    sizes = [{file: tree.state(file)[0] for file in files} for tree, files in ((first, firsts), (second, seconds))]
    both = set(sizes[0].values()) & set(sizes[1].values())
    named = [(number, file) for number, of in enumerate(sizes) for file, size in of.items() if size in both]
    trees = first, second
    digests = prefetch(lambda each: hashlib.sha256(trees[each[0]].read(each[1])).digest(), named, "compare")
    found = list(console.progress(digests, total=len(named), label="comparing", unit="image"))
    known = {digest: file for (number, file), digest in zip(named, found) if number == 0}
    copies = {file: known[digest] for (number, file), digest in zip(named, found) if number == 1 and digest in known}
    return {file: copy for file, copy in copies.items() if _is_image(second, file)}


def _is_image(tree: FileTree, file: str) -> bool:
    """Whether it can be opened; what cannot, a page of an error for one, is often alike."""
    try:
        open_image(tree.read(file), file)
    except GluonAFFError:
        return False
    return True


def told_shared(copies: Mapping[str, str], images: int, split: str, other: str) -> str:
    """Return the remark on images of a split that are in another one, too; empty without any."""
    if not copies:
        return ""
    copy = min(copies)
    same = copies[copy]
    which = f"{copy}" + ("" if copy == same else f", which is {same}")
    return f"{len(copies)} of {images} {split} images are in {other} as well, by their content, such as {which}"


def _notes(sizes: Mapping[str, int], val: Mapping[str, Sequence[str]]) -> List[str]:
    notes = []
    again = sum(size - 1 for size in sizes.values())
    if again:
        notes.append(
            f"{again} of {sum(sizes.values())} images are copies of another one, by their content: equal images are "
            "kept together, in training or in validation"
        )
    alone = sorted(name for name, files in val.items() if not files)
    if alone:
        notes.append(f"{len(alone)} of {len(val)} classes have no image for validation ({some(alone)}): too few differ")
    return notes


def _groups(tree: FileTree, files: Sequence[str]) -> Dict[str, str]:
    """File -> the first file of equal content. Only files that share their size with another are read."""
    sizes = {file: tree.state(file)[0] for file in files}
    shared = Counter(sizes.values())
    candidates = [file for file in files if shared[sizes[file]] > 1]
    digests = prefetch(lambda file: hashlib.sha256(tree.read(file)).digest(), candidates, "compare")
    found = console.progress(digests, total=len(candidates), label="comparing", unit="image")
    first: Dict[bytes, str] = {}
    group_of = {file: file for file in files}
    for file, digest in zip(candidates, found):
        group_of[file] = first.setdefault(digest, file)
    return group_of
