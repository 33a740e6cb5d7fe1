"""From image files to a .rec file with its .idx, .lst and manifest."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Iterable, List, Optional, Protocol, Sequence, Tuple, Union

import numpy as np
from PIL import Image

from ...errors import GluonAFFError, UsageError
from ...utils.files import atomic_write
from ...utils.prefetch import prefetch
from ..decoding import UnreadableImage, decode_image
from ..source import EncodedImage
from .manifest import Manifest, PackedFrom, write_manifest
from .writing import RecordWriter

Progress = Callable[[Iterable, int], Iterable]


class PackSource(Protocol):
    """What can be packed: encoded images by number. `TreeSource` is one."""

    path: Path
    classes: Tuple[str, ...]

    def __len__(self) -> int: ...

    def member(self, number: int) -> Tuple[str, int]:
        """Name and class number of an image."""

    def encoded(self, number: int) -> EncodedImage:
        """The image. Raises GluonAFFError when it cannot be read."""


@dataclass(frozen=True)
class PackOptions:
    """How images become records.

    Attributes
    ----------
    resize : int or None
        The short side of images that are larger, in pixels; they are shrunk with smoothing and encoded again. All
        others, and all without it, are packed as they are, byte for byte.
    quality : int
        Of JPEG that is encoded again, 1 to 100.
    shuffle : int or None
        The seed of the order in which images are packed; None for the order of classes and names.
    max_bad : int
        How many images that cannot be read may be left out.
    """

    resize: Optional[int] = None
    quality: int = 95
    shuffle: Optional[int] = None
    max_bad: int = 50

    def __post_init__(self) -> None:
        if (self.resize is not None and self.resize < 1) or not 1 <= self.quality <= 100 or self.max_bad < 0:
            raise UsageError(
                f"resize {self.resize}, quality {self.quality}, at most {self.max_bad} bad images: expected at least "
                "1, 1 to 100, and no negative number"
            )


def pack(
    source: PackSource,
    path: Path,
    options: PackOptions,
    *,
    workers: int = 1,
    progress: Progress = lambda items, done: items,
    on_bad: Callable[[str], None] = lambda message: None,
) -> Manifest:
    """Write ``path``, a .rec file, with .idx, .lst and .manifest.json beside it, and give the manifest.

    ``workers`` threads read, check and encode; no byte depends on their number. A stopped call is continued
    (see `RecordWriter`). ``progress(numbers, done)`` may wrap the numbers of the images to come.

    Every image is decoded: one that cannot be is left out and named to ``on_bad``. Raises GluonAFFError for more than
    ``max_bad`` of them and for what cannot be written, UsageError for a path without .rec.
    """
    if path.suffix != ".rec":
        raise UsageError(f"{path}: the name of a record file ends in .rec")
    members = [source.member(number) for number in range(len(source))]
    order = np.arange(len(members))
    if options.shuffle is not None:
        order = np.random.default_rng(options.shuffle).permutation(order)
    listed = "\n".join(f"{members[number][0]}\t{members[number][1]}" for number in order)
    made_from: PackedFrom = {
        "options": {"resize": options.resize, "quality": options.quality, "shuffle": options.shuffle},
        "images": len(members),
        "list_sha256": hashlib.sha256(listed.encode("utf-8", "surrogateescape")).hexdigest(),
    }
    with RecordWriter(path, {**made_from}) as writer:
        workers = max(1, workers)
        keys = progress(range(writer.position, len(order)), writer.position)
        contents = prefetch(
            lambda key: (key, _content(source, int(order[key]), options)), keys, workers, 4 * workers, "encode"
        )
        for key, result in contents:
            if isinstance(result, bytes):
                writer.add(key, members[order[key]][1], result)
                continue
            writer.skip(result)
            on_bad(result)
            if len(writer.bad) > options.max_bad:
                raise GluonAFFError(
                    f"{result}: image {len(writer.bad)} that cannot be read, more than --max-bad {options.max_bad}; "
                    "replace them, or allow more"
                )
        lists = _lists(writer, [members[number][0] for number in order])
        for suffix, content in lists.items():
            with atomic_write(path.with_suffix(suffix), "wb") as handle:
                handle.write(content)
        manifest = _manifest(source, path, writer, made_from, lists)
        write_manifest(path, manifest)
        writer.finish()
    return manifest


def _content(source: PackSource, number: int, options: PackOptions) -> Union[bytes, str]:
    """The record's image file, or the message about one that is left out."""
    try:
        encoded = source.encoded(number)
        return shrunk(encoded.content, encoded.where, options.resize, options.quality)
    except GluonAFFError as error:
        return error.fault if isinstance(error, UnreadableImage) else str(error)


def shrunk(content: bytes, where: str, short_side: Optional[int], quality: int) -> bytes:
    """An image file whose short side is larger than ``short_side`` as JPEG of that size, any other as it is.

    Raises UnreadableImage.
    """
    image = Image.fromarray(decode_image(content, where, opencv=True))
    if short_side is None or min(image.size) <= short_side:
        return content
    scale = short_side / min(image.size)
    width, height = (short_side if side == min(image.size) else round(side * scale) for side in image.size)
    buffer = io.BytesIO()
    image.resize((width, height), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return buffer.getvalue()


def _lists(writer: RecordWriter, names: Sequence[str]) -> Dict[str, bytes]:
    """The .idx file, which says where each key's record lies, and the .lst file, which says what it is."""
    index = "".join(f"{key}\t{place}\n" for key, _, place in writer.entries)
    listed = "".join(f"{key}\t{label:f}\t{names[key]}\n" for key, label, _ in writer.entries)
    return {".idx": index.encode(), ".lst": listed.encode("utf-8", "surrogateescape")}


def _manifest(
    source: PackSource, path: Path, writer: RecordWriter, made_from: PackedFrom, lists: Dict[str, bytes]
) -> Manifest:
    counts: List[int] = np.bincount([label for _, label, _ in writer.entries], minlength=len(source.classes)).tolist()
    sums = {path.with_suffix(suffix).name: hashlib.sha256(content).hexdigest() for suffix, content in lists.items()}
    return {
        "source": source.path.name,
        **made_from,
        "records": len(writer.entries),
        "bytes": writer.size,
        "sha256": {path.name: writer.sha256, **sums},
        "bad": writer.bad,
        "classes": list(source.classes),
        "counts": counts,
    }
