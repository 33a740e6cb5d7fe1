"""Stop signs of very different sizes, drawn: a segmentation set that needs no download.

Red octagons with a white rim, turned a little, under different light, from 5 to 90 % of the image's side, over textured
backgrounds and among other shapes and colours. 400 images of 96x96 to train on, 100 others to validate on.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Dict, NamedTuple, Tuple

import numpy as np

from ..errors import UsageError
from .pairs import Pair, PairSet

SIZE = 96
COUNTS = {"train": 400, "val": 100}
SMALLEST, LARGEST = 0.05, 0.9  # width of a sign, of the image's side

_OTHER_COLOURS = ((30, 70, 190), (240, 200, 20), (20, 140, 60), (235, 235, 235), (240, 120, 20), (60, 60, 60))
_RED = (190, 20, 30)
_WHITE = (240, 240, 240)


def load_shapes(split: str) -> PairSet:
    """The pairs of 'train' or 'val', the same on every machine to within rounding. Raises UsageError for another."""
    if split not in COUNTS:
        raise UsageError(f"shapes has no split {split!r}: choose one of {', '.join(COUNTS)}")
    drawn = _drawn(split)
    foreground = 100 * np.mean([mask.mean() for _, mask in drawn.values()])
    note = f"shapes {split}: {len(drawn)} images, {foreground:.2g} % foreground"
    return PairSet("shapes", "gluon_aff.data.shapes", list(drawn), drawn.__getitem__, note)


@lru_cache(maxsize=None)
def _drawn(split: str) -> Dict[str, Pair]:
    """All pairs of a split by name, drawn once in a process: it takes seconds."""
    streams = [np.random.SeedSequence(list(COUNTS).index(split), spawn_key=(i,)) for i in range(COUNTS[split])]
    return {f"{split}_{i:03d}": draw(np.random.default_rng(stream)) for i, stream in enumerate(streams)}


def draw(rng: np.random.Generator, size: int = SIZE) -> Tuple[np.ndarray, np.ndarray]:
    """An image, uint8 (size, size, 3), and the mask of its stop signs, uint8 (size, size) of 0 and 1.

    Every fifth image has a second sign. The rim belongs to a sign, what stands in front of it does not.
    """
    canvas = _Canvas(_background(rng, size))
    for _ in range(rng.integers(2, 7)):
        _distractor(canvas, rng)
    for _ in range(1 + int(rng.random() < 0.2)):
        _stop_sign(canvas, rng)
    if rng.random() < 0.3:
        _pole(canvas, rng)
    return canvas.illuminated(rng), canvas.mask


class _Place(NamedTuple):
    """A window of the canvas, and its pixels' coordinates as seen from a shape in it."""

    window: Tuple[slice, slice]
    x: np.ndarray
    y: np.ndarray


class _Canvas:
    """An image being painted, its pixels in 0..255 as float32 (size, size, 3), and the mask of the signs on it."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels
        self.size = len(pixels)
        self.mask = np.zeros(pixels.shape[:2], dtype=np.uint8)
        self._y, self._x = np.mgrid[: self.size, : self.size].astype(np.float32) + np.float32(0.5)

    def place(self, centre: np.ndarray, reach: float, angle: float, narrowing: float = 1.0) -> _Place:
        """Where a shape of that reach stands, turned by an angle and seen from the side."""
        left, top = (max(0, int(value - reach)) for value in centre)
        right, bottom = (int(value + reach) + 1 for value in centre)
        window = slice(top, bottom + 1), slice(left, right + 1)
        x, y = (self._x[window] - float(centre[0])) / narrowing, self._y[window] - float(centre[1])
        cos, sin = math.cos(angle), math.sin(angle)
        return _Place(window, x * cos + y * sin, y * cos - x * sin)

    def paint(self, place: _Place, distance: np.ndarray, colour: np.ndarray, is_sign: bool = False) -> None:
        """Paint where the distance from a shape's edge, in pixels, is below 0; edges are smooth."""
        share = np.maximum(np.minimum(0.5 - distance, 1), 0)[..., None]  # np.clip takes twice as long
        pixels = self.pixels[place.window]
        pixels += share * (colour.astype(np.float32) - pixels)
        self.mask[place.window][distance < 0] = is_sign

    def illuminated(self, rng: np.random.Generator) -> np.ndarray:
        """The image under light that falls off to one side, with a cast of colour and some noise."""
        angle = rng.uniform(0, 2 * math.pi)
        slope = (math.cos(angle) * self._x + math.sin(angle) * self._y) / self.size - 0.5
        light = rng.uniform(0.6, 1.15) * (1 + rng.uniform(0, 0.5) * slope)
        cast = rng.uniform(0.85, 1.1, 3)
        noise = rng.uniform(1, 8) * rng.standard_normal(self.pixels.shape, dtype=np.float32)
        return np.clip(self.pixels * light[..., None] * cast.astype(np.float32) + noise, 0, 255).astype(np.uint8)


def _polygon(place: _Place, sides: int, radius: float) -> np.ndarray:
    """Distance from the edge of a regular polygon that stands on a side; ``radius`` is its inner circle's."""
    angles = [math.pi / 2 + 2 * math.pi * side / sides for side in range(sides)]
    return np.max([place.x * math.cos(angle) + place.y * math.sin(angle) for angle in angles], axis=0) - radius


def _background(rng: np.random.Generator, size: int) -> np.ndarray:
    """Two or three colours blended by noise of several wavelengths."""
    pixels = np.empty((size, size, 3), dtype=np.float32)
    pixels[:] = rng.uniform(20, 230, 3)
    for _ in range(rng.integers(1, 3)):
        noise = sum(_smooth_noise(rng, cells, size) / weight for cells, weight in ((3, 1), (8, 2), (24, 3)))
        share = np.clip(0.5 + rng.uniform(0.3, 1.0) * noise, 0, 1)[..., None].astype(np.float32)
        pixels += share * (rng.uniform(20, 230, 3).astype(np.float32) - pixels)
    return pixels


def _smooth_noise(rng: np.random.Generator, cells: int, size: int) -> np.ndarray:
    """Normal values on a grid of ``cells`` x ``cells``, interpolated linearly to (size, size)."""
    grid = np.arange(cells)
    at = np.linspace(0, cells - 1, size)[:, None]
    weights = np.clip(1 - np.abs(at - grid), 0, 1)
    return weights @ rng.normal(0, 1, (cells, cells)) @ weights.T


def _colour(rng: np.random.Generator, colour: Tuple[int, int, int]) -> np.ndarray:
    return np.clip(np.array(colour) + rng.uniform(-20, 20, 3), 0, 255)


def _extent(rng: np.random.Generator, smallest: float, largest: float) -> float:
    """A width of which every magnitude is as likely as another."""
    return float(np.exp(rng.uniform(np.log(smallest), np.log(largest))))


def _distractor(canvas: _Canvas, rng: np.random.Generator) -> None:
    """A circle or polygon of any colour, red ones too; an octagon only of another colour."""
    sides = int(rng.choice([0, 3, 4, 8]))
    red = sides != 8 and rng.random() < 0.25
    colour = _colour(rng, _RED if red else _OTHER_COLOURS[rng.integers(len(_OTHER_COLOURS))])
    radius = canvas.size * _extent(rng, 0.05, 0.4) / 2
    centre = rng.uniform(0, canvas.size, 2)
    place = canvas.place(centre, 2 * radius, rng.uniform(-math.pi, math.pi), rng.uniform(0.7, 1))
    rim = rng.uniform(0.75, 0.9) if rng.random() < 0.5 else 1.0
    for part, paint in ((1.0, _colour(rng, _WHITE)), (rim, colour)):
        distance = _polygon(place, sides, part * radius) if sides else np.hypot(place.x, place.y) - part * radius
        canvas.paint(place, distance, paint)


def _stop_sign(canvas: _Canvas, rng: np.random.Generator) -> None:
    """Wholly within the image. Larger ones carry a white band in place of the word."""
    width = canvas.size * (SMALLEST + (LARGEST - SMALLEST) * rng.random() ** 1.5)  # half of them below 35 %
    radius = width / 2
    reach = 1.1 * radius  # of a corner from the centre
    centre = rng.uniform(min(reach, canvas.size / 2), max(canvas.size - reach, canvas.size / 2), 2)
    place = canvas.place(centre, reach, rng.uniform(-0.3, 0.3), rng.uniform(0.8, 1))
    white = _colour(rng, _WHITE)
    canvas.paint(place, _polygon(place, 8, radius), white, is_sign=True)
    canvas.paint(place, _polygon(place, 8, rng.uniform(0.8, 0.9) * radius), _colour(rng, _RED), is_sign=True)
    if width > 12:
        letters = np.maximum(np.abs(place.x) - 0.6 * radius, np.abs(place.y) - 0.2 * radius)
        gaps = 0.08 * radius - np.abs((place.x / radius + 0.6) % 0.3 - 0.15) * radius
        canvas.paint(place, np.maximum(letters, gaps), white, is_sign=True)


def _pole(canvas: _Canvas, rng: np.random.Generator) -> None:
    """A thin bar through the whole image, in front of everything."""
    place = canvas.place(rng.uniform(0, canvas.size, 2), 2 * canvas.size, rng.uniform(-0.5, 0.5))
    canvas.paint(place, np.abs(place.x) - rng.uniform(0.5, 2.5), _colour(rng, _OTHER_COLOURS[-1]))
