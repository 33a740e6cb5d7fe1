"""What becomes of an image and its mask, alone and in batches."""

import numpy as np
import pytest

from gluon_aff.data import EvalPairs, PairLoader, PairSet, TrainPairs
from gluon_aff.data.pairs import IMAGENET_MEAN, IMAGENET_STD
from gluon_aff.errors import UsageError

BLACK = -np.array(IMAGENET_MEAN) / IMAGENET_STD
HEIGHT, WIDTH = 24, 40


def pixels(x):
    """Normalised (3, h, w) back to 0..255, (h, w, 3)."""
    return (x.transpose(1, 2, 0) * IMAGENET_STD + IMAGENET_MEAN) * 255


def split_image(height=HEIGHT, width=WIDTH):
    """White where the mask is 1, a rectangle off centre, and grey elsewhere."""
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[height // 6 : height // 2, width // 10 : width // 2] = 1
    return np.where(mask[..., None], 255, 100).astype(np.uint8).repeat(3, axis=2), mask


def drawn(transform, count=200, pair=None):
    image, mask = split_image() if pair is None else pair
    return [transform(image, mask, np.random.default_rng(i)) for i in range(count)]


def test_evaluation_normalises_and_keeps_the_size():
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    x, y = EvalPairs(None)(image, np.ones((5, 7), dtype=np.uint8))
    assert x.shape == (3, 5, 7) and y.shape == (1, 5, 7) and x.dtype == y.dtype == np.float32 and y.min() == 1
    np.testing.assert_allclose(x[1], (image[..., 1] / 255 - 0.456) / 0.224, rtol=0, atol=1e-5)


def test_evaluation_stretches_to_a_square():
    image, mask = split_image(30, 60)
    x, y = EvalPairs(20)(image, mask)
    assert x.shape == (3, 20, 20)
    assert set(np.unique(y)) == {0, 1}  # nearest, nothing in between
    inside = np.zeros((20, 20), dtype=bool)
    inside[4:9, 3:9] = True
    assert (y[0][inside] == 1).all() and y.mean() == pytest.approx(mask.mean(), abs=0.02)
    np.testing.assert_allclose(pixels(x)[inside], 255, atol=1)


def test_image_and_mask_move_together_into_crops_of_one_size():
    """White stays where the mask says, up to the smoothing of edges."""
    wrong, marked = [], []
    for x, y in drawn(TrainPairs(32, 28)):
        assert x.shape == (3, 28, 28) and y.shape == (1, 28, 28) and x.dtype == y.dtype == np.float32
        assert set(np.unique(y)) <= {0, 1}
        wrong.append((pixels(x).mean(axis=2) > 178) != (y[0] > 0))
        marked.append(y.mean())
    assert np.mean(wrong) < 0.02 and np.mean(marked) > 0.05  # there was something to be wrong about


def test_half_are_mirrored():
    """The rectangle lies left of the centre; at these sizes the crop holds the whole image, at its upper left."""
    left = []
    for x, y in drawn(TrainPairs(10, 20), 400):
        width = (np.abs(x - BLACK[:, None, None]) > 0.1).any(axis=(0, 1)).sum()
        left.append(np.flatnonzero(y[0].any(axis=0)).mean() < (width - 1) / 2)
    assert np.mean(left) == pytest.approx(0.5, abs=0.1)  # four standard deviations


def test_long_side_is_drawn_from_half_to_twice_the_base_and_padded_right_and_below():
    sides, ratios = [], []
    everywhere = split_image()[0], np.ones((HEIGHT, WIDTH), dtype=np.uint8)
    for x, y in drawn(TrainPairs(20, 41), 400, everywhere):
        inside = y[0] > 0
        height, width = inside.any(axis=1).sum(), inside.any(axis=0).sum()
        assert inside[:height, :width].all() and not inside[height:].any() and not inside[:, width:].any()
        np.testing.assert_allclose(x[:, -1, -1], BLACK, rtol=1e-5)  # black before normalisation
        sides.append(width)
        ratios.append(height / width)
    assert min(sides) == 10 and max(sides) == 40
    quarters = np.histogram(sides, bins=[10, 17.5, 25, 32.5, 40.5])[0]
    assert quarters.min() > 0.17 * 400 and quarters.max() < 0.33 * 400  # uniform
    assert np.mean(ratios) == pytest.approx(HEIGHT / WIDTH, abs=0.01)


def test_every_place_of_the_crop_occurs():
    """An image whose values tell the column; upscaled to 40 to 80 columns, crops of 20 begin anywhere."""
    ramp = np.tile(np.arange(0, 240, 6, dtype=np.uint8)[None, :, None], (40, 1, 3))
    starts = [pixels(x)[10].min() for x, _ in drawn(TrainPairs(40, 20), 300, (ramp, np.zeros((40, 40), np.uint8)))]
    assert min(starts) < 10 and max(starts) > 150


def test_half_are_blurred_by_less_than_a_pixel_or_so():
    """A single edge, upscaled without loss of sharpness: how wide it is after all tells the blur."""
    image, mask = np.zeros((64, 64, 3), dtype=np.uint8), np.zeros((64, 64), dtype=np.uint8)
    image[:, 32:] = 255

    class Unscaled(np.random.Generator):
        """Draws what would be drawn, but the long side stays 64."""

        def integers(self, *_, **__):
            return 64

    rows = [pixels(TrainPairs(64, 64)(image, mask, Unscaled(np.random.PCG64(i)))[0])[30, :, 0] for i in range(300)]
    grey = np.array([((row > 5) & (row < 250)).sum() for row in rows])
    assert np.mean(grey > 0) == pytest.approx(0.45, abs=0.12)  # blurs near 0 do not show
    assert max(grey) <= 8


def test_input_is_left_alone_and_the_generator_decides():
    image, mask = split_image()
    before = image.copy(), mask.copy()
    first, again, other = (TrainPairs(32, 28)(image, mask, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])
    assert np.array_equal(image, before[0]) and np.array_equal(mask, before[1])


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (479, 2)])
def test_extreme_shapes(shape):
    image, mask = np.full((*shape, 3), 9, dtype=np.uint8), np.ones(shape, dtype=np.uint8)
    for x, y in drawn(TrainPairs(32, 24), 20, (image, mask)):
        assert x.shape == (3, 24, 24) and y.max() == 1
    assert EvalPairs(32)(image, mask)[0].shape == (3, 32, 32)


@pytest.mark.parametrize("make", [lambda: TrainPairs(0, 480), lambda: TrainPairs(512, 0), lambda: EvalPairs(0)])
def test_sizes_that_cannot_be(make):
    with pytest.raises(UsageError, match="expected at least"):
        make()


# Batches -------------------------------------------------------------------------------------------------------------


def numbered(count=21):
    """Images whose grey is their number, all of other sizes."""

    def read(name):
        shape = (20 + int(name), 30)
        return np.full((*shape, 3), 5 * int(name) + 50, dtype=np.uint8), np.ones(shape, dtype=np.uint8)

    return PairSet("made-up", "memory", [str(i) for i in range(count)], read)


def by_image(batch_size=4, epoch=2, **options):
    """What became of each image, by its number."""
    loader = PairLoader(numbered(), batch_size, TrainPairs(32, 16), **{"shuffle": True, "seed": 3, **options})
    found = {}
    for xs, ys in loader.batches(epoch):
        assert xs.shape == (len(ys), 3, 16, 16) and ys.shape[1:] == (1, 16, 16) and xs.dtype == ys.dtype == np.float32
        assert xs.flags.c_contiguous and ys.flags.c_contiguous
        found.update({round((float(pixels(x)[0, 0, 0]) - 50) / 5): (x, y) for x, y in zip(xs, ys)})
    return found


def same(left, right):
    return sorted(left) == sorted(right) and all(np.array_equal(a, b) for n in left for a, b in zip(left[n], right[n]))


def test_what_becomes_of_an_image_depends_on_seed_epoch_and_its_place_only():
    reference = by_image()
    assert sorted(reference) == list(range(21)) and list(reference) == list(by_image(workers=3)) != sorted(reference)
    for options in ({"workers": 3}, {"batch_size": 7}, {"shuffle": False}):
        assert same(reference, by_image(**options))
    parts = [by_image(shard=(rank, 2), last="even") for rank in (0, 1)]
    assert not set(parts[0]) & set(parts[1]) and same(reference, {**parts[0], **parts[1]})
    assert not same(reference, by_image(epoch=3)) and not same(reference, by_image(seed=4))


def test_images_of_different_sizes_go_one_by_one():
    one_by_one = PairLoader(numbered(3), 1, EvalPairs(None), shuffle=False)
    assert [y.shape for _, y in one_by_one.batches(0)] == [(1, 1, 20, 30), (1, 1, 21, 30), (1, 1, 22, 30)]
    with pytest.raises(UsageError, match="made-up differ in size .30x20 and 30x21.: evaluate them one by one"):
        list(PairLoader(numbered(3), 2, EvalPairs(None), shuffle=False).batches(0))
