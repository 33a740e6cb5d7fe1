"""ImageNet's images as a network's input: normalisation, crops, augmentation, and batches of files that threads read.

A transform draws what it draws from ``rng``, a NumPy Generator, alone, and keeps no state: threads may share it.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any, Callable, Deque, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..errors import GluonAFFError, UsageError
from ..runtime.threads import prefetch
from .decoding import MAX_PIXELS, UnreadableImage, decode_image, resizing
from .imagenet import ImageNetSource
from .loader import Batch, Batches
from .transform import EvalTransform, ImagePolicy

#: Mean and standard deviation of pixels in 0..255, as the authors gave them to an image folder and to a record file.
#: They differ in the third digit; all published ImageNet weights were trained and scored with "records".
NORMALISATIONS: Dict[str, Tuple[Tuple[float, ...], Tuple[float, ...]]] = {
    "folder": ((0.485 * 255, 0.456 * 255, 0.406 * 255), (0.229 * 255, 0.224 * 255, 0.225 * 255)),
    "records": ((123.68, 116.779, 103.939), (58.393, 57.12, 57.375)),
}


def mean_and_std(name: str) -> Tuple[Tuple[float, ...], Tuple[float, ...]]:
    """Of a normalisation by name, for pixels in 0..1. Raises UsageError for an unknown one."""
    if name not in NORMALISATIONS:
        raise UsageError(f"no normalisation {name!r}: choose one of {', '.join(NORMALISATIONS)}")
    mean, std = NORMALISATIONS[name]
    return tuple(value / 255 for value in mean), tuple(value / 255 for value in std)


def normalisation(name: str) -> EvalTransform:
    """The transform of a normalisation by name. Raises UsageError for an unknown one."""
    return EvalTransform(*mean_and_std(name))


# Crops and augmentation -----------------------------------------------------------------------------------------------

CROP_RATIO = 0.875
EFFICIENTNET_SIZE = 320  # from here on crops are EfficientNet's
EFFICIENTNET_MARGIN = 32  # pixels of the resized image that its centre crop leaves out


def resized_side(size: int, crop_ratio: float = CROP_RATIO) -> int:
    """The short side from which a centre of ``size`` is cut: 256 for 224."""
    return math.ceil(size / crop_ratio)


class CentreRule(NamedTuple):
    """What `centre` does, in facts: of ``resized_side`` pixels of the short side ``crop_ratio`` is left.

    With ``crop_first`` the square is cut out before, and only it is resized.
    """

    crop_ratio: float
    resized_side: int
    crop_first: bool
    interpolation: str

    def steps(self, size: int) -> List[str]:
        """What is done, in words, with every rounding."""
        how = f"{self.interpolation} without antialias as OpenCV's"
        if self.crop_first:
            cut = f"side = short side * {size} // {self.resized_side}"
            corner = "left = (width - side + 1) // 2, top = (height - side + 1) // 2"
            return [f"cut out a square of {cut} at {corner}", f"resize it to {size} x {size}, {how} (a = -0.75)"]
        short = f"{self.resized_side} = ceil({size} / {self.crop_ratio})"
        corner = f"left = (width - {size}) // 2, top = (height - {size}) // 2"
        return [
            f"resize the short side to {short} and the long side in proportion, rounded down, {how}",
            f"cut out {size} x {size} at {corner}",
        ]


def centre_rule(size: int, crop_ratio: Optional[float] = None) -> CentreRule:
    """How `centre` cuts out ``size``.

    With a crop ratio, and below 320 pixels (0.875), the short side is resized to size / crop_ratio, bilinearly, and the
    centre cut out. From 320 pixels on EfficientNet's: a square of size / (size + 32) of the short side is cut out and
    resized to size, bicubically.
    """
    if crop_ratio is None and size >= EFFICIENTNET_SIZE:
        side = size + EFFICIENTNET_MARGIN
        return CentreRule(size / side, side, True, "bicubic")
    ratio = crop_ratio or CROP_RATIO
    return CentreRule(ratio, resized_side(size, ratio), False, "bilinear")


def centre(image: np.ndarray, size: int, crop_ratio: Optional[float] = None) -> np.ndarray:
    """The centre of an image, (H, W, 3) to (size, size, 3), by which networks are validated, see `centre_rule`.

    The resizing is OpenCV's, without smoothing, as in Gluon's transforms and in the record iterator; Pillow's own
    smooths, which would be another protocol.
    """
    import cv2

    height, width = image.shape[:2]
    rule = centre_rule(size, crop_ratio)
    interpolation = cv2.INTER_CUBIC if rule.interpolation == "bicubic" else cv2.INTER_LINEAR
    if rule.crop_first:
        side = max(1, min(height, width) * size // rule.resized_side)
        top, left = (height - side + 1) // 2, (width - side + 1) // 2
        return cv2.resize(image[top : top + side, left : left + side], (size, size), interpolation=interpolation)
    short = rule.resized_side
    new = (short, short * height // width) if height > width else (short * width // height, short)
    if new[0] * new[1] > MAX_PIXELS // 8:
        image, new = _middle(image, new, size)
    if image.shape[1::-1] != new:
        image = cv2.resize(image, new, interpolation=interpolation)
    top, left = (new[1] - size) // 2, (new[0] - size) // 2
    return image[top : top + size, left : left + size]


def _middle(image: np.ndarray, new: Tuple[int, int], size: int) -> Tuple[np.ndarray, Tuple[int, int]]:
    """The part of a very long image from which its centre is resized, and the size to which that is to be resized.

    Where the scale is a whole number the centre has the pixels that it has in the whole image, else to half a pixel.
    """
    long = int(new[0] < new[1])  # which side: 0 for the width
    length = image.shape[1 - long]
    half = min(length // 2, math.ceil(size * length / new[long] / 2) + 2)
    kept = slice(length // 2 - half, length // 2 + half + length % 2)
    part = image[kept] if long else image[:, kept]
    side = round(part.shape[1 - long] * new[long] / length)
    return part, (new[0], side) if long else (side, new[1])


def _resized(image: np.ndarray, size: int) -> np.ndarray:
    """To (size, size, 3): bilinear, from 320 pixels on bicubic as EfficientNet's."""
    import cv2

    interpolation = cv2.INTER_CUBIC if size >= EFFICIENTNET_SIZE else cv2.INTER_LINEAR
    return cv2.resize(image, (size, size), interpolation=interpolation)


LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601

# Principal components of ImageNet's RGB values in 0..255 (Krizhevsky et al., NIPS 2012): standard deviations along
# them, and in the columns the components.
PCA_DEVIATIONS = np.array([55.46, 4.794, 1.148])
PCA_COMPONENTS = np.array(
    [
        [-0.5675, 0.7192, 0.4009],
        [-0.5808, -0.0045, -0.8140],
        [-0.5836, -0.6948, 0.4203],
    ]
)

_LEVELS = np.arange(256.0)
_ATTEMPTS = 10


@dataclass(frozen=True)
class ImageNetTransform:
    """The published augmentation.

    Parameters
    ----------
    size
        Of the result, in pixels. Resized bilinearly, from 320 on bicubically as EfficientNet's.
    area, aspect
        The rectangle cut out has a share of the image's area drawn uniformly, and a ratio of width to height drawn
        uniformly in its logarithm. When ten draws do not fit, it is the largest centred one.
    mirror
        Turn half of the images left to right.
    autoaugment
        A policy of `autoaugment_policy`, applied to the mirrored crop.
    jitter
        Brightness, contrast and saturation, in random order, are each multiplied by 1 - jitter to 1 + jitter.
    lighting
        Standard deviation of the shift along each principal component of ImageNet's colours, in units of the
        colours' own.
    """

    size: int = 224
    area: Tuple[float, float] = (0.08, 1.0)
    aspect: Tuple[float, float] = (3 / 4, 4 / 3)
    mirror: bool = True
    autoaugment: Optional[ImagePolicy] = None
    jitter: float = 0.4
    lighting: float = 0.1

    def __post_init__(self) -> None:
        size, area, aspect = self.size, self.area, self.aspect
        if size < 1 or not 0 < area[0] <= area[1] <= 1 or not 0 < aspect[0] <= aspect[1]:
            raise UsageError(f"size {size}, area {area}, aspect {aspect}: expected at least 1, 0 to 1, and above 0")
        if not 0 <= self.jitter <= 1 or self.lighting < 0:
            raise UsageError(f"jitter {self.jitter}, lighting {self.lighting}: expected 0 to 1, and at least 0")

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        import cv2

        left, top, width, height = self.rectangle(image.shape[1], image.shape[0], rng)
        image = _resized(image[top : top + height, left : left + width], self.size)
        if self.mirror and rng.random() < 0.5:
            image = cv2.flip(image, 1)
        if self.autoaugment is not None:
            image = self.autoaugment(image[None], rng)[0]
        if self.jitter:
            for name in rng.permutation(list(_JITTERS)):
                image = _JITTERS[name](image, 1 + rng.uniform(-self.jitter, self.jitter))
        return lighting(image, rng.normal(0, self.lighting, 3)) if self.lighting else image

    def rectangle(self, width: int, height: int, rng: np.random.Generator) -> Tuple[int, int, int, int]:
        """Left, top, width and height of what is cut from an image of a width and height."""
        for _ in range(_ATTEMPTS):
            area = width * height * rng.uniform(*self.area)
            ratio = math.exp(rng.uniform(math.log(self.aspect[0]), math.log(self.aspect[1])))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                return int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1)), w, h
        ratio = min(max(width / height, self.aspect[0]), self.aspect[1])
        w = max(1, min(width, round(height * ratio)))
        h = max(1, min(height, round(width / ratio)))
        return (width - w) // 2, (height - h) // 2, w, h


def brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Every pixel times ``factor``."""
    return _look_up(image, _LEVELS * factor)


def contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Away from the image's mean grey, by ``factor``."""
    import cv2

    return _look_up(image, _LEVELS * factor + (1 - factor) * (LUMA @ cv2.mean(image)[:3]))


def saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Away from every pixel's own grey, by ``factor``."""
    import cv2

    return cv2.transform(image, factor * np.eye(3) + (1 - factor) * LUMA)


def lighting(image: np.ndarray, amounts: np.ndarray) -> np.ndarray:
    """AlexNet's lighting: shifted along each principal component by ``amounts`` (3,) times its standard deviation."""
    return _look_up(image, _LEVELS[:, None] + PCA_COMPONENTS @ (PCA_DEVIATIONS * amounts))


def _look_up(image: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Map values through a table, (256,) or, of each channel its own, (256, 3)."""
    import cv2

    return cv2.LUT(image, np.clip(np.rint(table), 0, 255).astype(np.uint8).reshape(1, 256, *table.shape[1:]))


_JITTERS: Dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "brightness": brightness,
    "contrast": contrast,
    "saturation": saturation,
}


# Batches of image files -----------------------------------------------------------------------------------------------


class ImageFileBatches(Batches):
    """Batches of image files: x, float32 (B, 3, size, size), and y, int64 (B,). Both of ImageNet's loaders are these.

    ``workers`` threads share the images of a few batches, however many they are, so that memory does not grow with
    them. Every image of the source is asked for once per epoch; batch sizes differ by one at most, and by the images
    that cannot be read. Such an image is named once to ``on_bad``, in whichever thread, and kept in ``bad``; with more
    than ``max_bad`` of them (None: no limit, 0: not one) a pass ends with a GluonAFFError.
    """

    def __init__(
        self,
        source: ImageNetSource,
        batch_size: int,
        normalise: EvalTransform,
        *,
        size: int,
        max_bad: Optional[int],
        on_bad: Optional[Callable[[str], None]] = None,
        **options: Any,
    ) -> None:
        if size < 1 or (max_bad is not None and max_bad < 0):
            raise UsageError(f"size {size}, at most {max_bad} bad images: expected at least 1, and no negative number")
        super().__init__(len(source), batch_size, last="even", name=str(source.path), **options)
        self.source = source
        self.size = size
        self.max_bad = max_bad
        self._normalise = normalise
        self._on_bad = on_bad or (lambda message: None)
        self._bad: Dict[int, str] = {}
        self._lock = threading.Lock()
        for place, message in enumerate(source.damage):
            self._note(-1 - place, message)

    def pixels(self, image: np.ndarray, epoch: int, number: int) -> np.ndarray:
        """What becomes of image ``number`` of the source, uint8 (H, W, 3), in an epoch: uint8 (size, size, 3)."""
        raise NotImplementedError

    @property
    def bad(self) -> List[str]:
        """The images that could not be read so far, in any epoch, and why."""
        return [self._bad[number] for number in sorted(self._bad)]

    def make(self, chosen: np.ndarray, epoch: int, index: int) -> Batch:
        x = self._room(chosen)
        return self._batch_of(x, [self._fill(x[place], epoch, number) for place, number in enumerate(chosen)])

    def _prefetched(self, order: np.ndarray, epoch: int, indices: range) -> Iterator[Batch]:
        rooms: Deque[np.ndarray] = deque()  # of batches whose images are being read

        def places() -> Iterator[Tuple[np.ndarray, int]]:
            for index in indices:
                chosen = self._part(order, index)
                rooms.append(self._room(chosen))
                yield from zip(rooms[-1], chosen)

        ahead = self.batch_size + 2 * self.workers
        made = prefetch(lambda place: self._fill(place[0], epoch, place[1]), places(), "image", self.workers, ahead)
        for index in indices:
            labels = [next(made) for _ in self._part(order, index)]
            yield self._batch_of(rooms.popleft() if labels else self._room(np.empty(0)), labels)

    def _room(self, chosen: np.ndarray) -> np.ndarray:
        return np.empty((len(chosen), 3, self.size, self.size), dtype=np.float32)

    def _fill(self, place: np.ndarray, epoch: int, number: int) -> Optional[int]:
        """Put an image where it belongs in a batch and give its label; None when it cannot be read."""
        number = int(number)
        try:
            encoded = self.source.encoded(number)
            with resizing(encoded.where):
                image = decode_image(encoded.content, encoded.where, opencv=True)
                image = self.pixels(image, epoch, number)
        except GluonAFFError as error:
            self._note(number, error.fault if isinstance(error, UnreadableImage) else str(error))
            return None
        place[...] = self._normalise(image[None])[0]
        return encoded.label

    def _batch_of(self, x: np.ndarray, labels: Sequence[Optional[int]]) -> Batch:
        good = [place for place, label in enumerate(labels) if label is not None]
        y = np.array([labels[place] for place in good], dtype=np.int64)
        return (x if len(good) == len(x) else x[good]), y

    def _note(self, number: int, message: str) -> None:
        with self._lock:
            if number in self._bad:
                return
            self._bad[number] = message
            count = len(self._bad)
        if self.max_bad is not None and count > self.max_bad:
            many = f", the {count}th one, more than `max_bad` {self.max_bad}" if self.max_bad else ""
            raise GluonAFFError(
                f"{message}{many}: replace it, or leave such images out (evaluate `skip_bad`, in training `max_bad`)"
            )
        self._on_bad(message)


class ImageNetLoader(ImageFileBatches):
    """The images of a source in its order, as networks are validated on them (see `centre`, also for ``crop_ratio``).

    Arguments otherwise as in `ImageFileBatches`; without ``max_bad`` the first image that cannot be read ends the pass.
    """

    def __init__(
        self,
        source: ImageNetSource,
        batch_size: int,
        transform: EvalTransform,
        *,
        size: int = 224,
        crop_ratio: Optional[float] = None,
        max_bad: Optional[int] = 0,
        **options: Any,
    ) -> None:
        if crop_ratio is not None and not 0 < crop_ratio <= 1:
            raise UsageError(f"crop ratio {crop_ratio}: expected a number above 0 and at most 1, such as 0.875")
        self.crop_ratio = crop_ratio
        super().__init__(source, batch_size, transform, size=size, shuffle=False, max_bad=max_bad, **options)

    def batches(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """One pass, the same in every epoch; a batch of bad images only is left out."""
        return (batch for batch in super().batches(epoch, start) if len(batch[1]))

    def pixels(self, image: np.ndarray, epoch: int, number: int) -> np.ndarray:
        return centre(image, self.size, self.crop_ratio)


class ImageNetTrainLoader(ImageFileBatches):
    """The images of a source, shuffled and augmented by ``transform``, which has the size.

    The order depends on seed and epoch, an image's augmentation on seed, epoch and its number in the source, and on
    nothing else: not on workers, shards or where a pass begins. Arguments otherwise as in `ImageFileBatches`.
    """

    def __init__(
        self,
        source: ImageNetSource,
        batch_size: int,
        transform: ImageNetTransform,
        normalise: EvalTransform,
        *,
        max_bad: Optional[int] = 50,
        **options: Any,
    ) -> None:
        self.transform = transform
        super().__init__(source, batch_size, normalise, size=transform.size, shuffle=True, max_bad=max_bad, **options)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """See `Batches.batches`. Raises GluonAFFError for a batch of bad images only, besides too many of them."""
        for x, y in super().batches(epoch, start):
            if not len(y):
                raise GluonAFFError(
                    f"a whole batch of {self.source.path} cannot be read, such as {self.bad[-1]}: use larger batches "
                    "or replace these images"
                )
            yield x, y

    def pixels(self, image: np.ndarray, epoch: int, number: int) -> np.ndarray:
        return self.transform(image, self.random(epoch, number))
