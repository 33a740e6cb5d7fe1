"""Every operation and level of the published AutoAugment against Pillow's own result, on photographs."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from sklearn.datasets import load_sample_images

from gluon_aff.data import autoaugment_policy
from gluon_aff.data.autoaugment.policy import AutoAugment
from gluon_aff.data.autoaugment.tables import POLICIES

AFFINE = getattr(Image, "Transform", Image).AFFINE
BICUBIC = getattr(Image, "Resampling", Image).BICUBIC
LEVELS = range(10)


def photographs(height=32, width=32):
    """Pieces of two photographs at several scales, uint8 (N, H, W, 3)."""
    pieces = []
    for photograph in load_sample_images().images:
        for scale in (1, 3, 9):
            for top, left in ((20, 100), (120, 30), (60, 300)):
                region = photograph[top : top + height * scale, left : left + width * scale]
                pieces.append(np.asarray(Image.fromarray(region).resize((width, height), BICUBIC)))
    return np.stack(pieces)


IMAGES = photographs()


def affine(image, matrix):
    return image.transform(image.size, AFFINE, matrix, BICUBIC, fillcolor=(0, 0, 0))


def enhanced(kind):
    return lambda image, level, sign: kind(image).enhance(0.1 + 1.8 * level / 10)


PILLOW = {  # (image, level, sign) -> image, by the closed forms
    "ShearX": lambda image, level, sign: affine(image, (1, sign * 0.3 * level / 10, 0, 0, 1, 0)),
    "ShearY": lambda image, level, sign: affine(image, (1, 0, 0, sign * 0.3 * level / 10, 1, 0)),
    "TranslateX": lambda image, level, sign: affine(image, (1, 0, sign * level, 0, 1, 0)),
    "TranslateY": lambda image, level, sign: affine(image, (1, 0, 0, 0, 1, sign * level)),
    "Rotate": lambda image, level, sign: image.rotate(sign * int(3 * level)),
    "Solarize": lambda image, level, sign: ImageOps.solarize(image, 256 - int(25.6 * level)),
    "Posterize": lambda image, level, sign: ImageOps.posterize(image, 4 - int(0.4 * level)),
    "Contrast": enhanced(ImageEnhance.Contrast),
    "Color": enhanced(ImageEnhance.Color),
    "Brightness": enhanced(ImageEnhance.Brightness),
    "Sharpness": enhanced(ImageEnhance.Sharpness),
    "AutoContrast": lambda image, level, sign: ImageOps.autocontrast(image),
    "Equalize": lambda image, level, sign: ImageOps.equalize(image),
    "Invert": lambda image, level, sign: ImageOps.invert(image),
}


def by_pillow(images, op, level, sign):
    return np.stack([np.asarray(PILLOW[op](Image.fromarray(image), level, sign)) for image in images])


@pytest.mark.parametrize("op", sorted(PILLOW))
def test_every_level_is_pillows_result(op):
    policy, before = autoaugment_policy("cifar10", variant="published"), IMAGES.copy()
    for level in LEVELS:
        for sign in (1, -1):
            result = policy.operation(op, level)(IMAGES, sign=sign)
            np.testing.assert_array_equal(result, by_pillow(IMAGES, op, level, sign), err_msg=f"{level}, {sign}")
            assert result.dtype == np.uint8 and np.array_equal(IMAGES, before)


@pytest.mark.parametrize("op", sorted(PILLOW))
@pytest.mark.parametrize("height, width", [(17, 40), (64, 25), (5, 4), (1, 1)])
def test_other_sizes_too(op, height, width):
    images = photographs(height, width)
    for level in (0, 3, 9):
        result = autoaugment_policy("imagenet").operation(op, level)(images, sign=-1)
        np.testing.assert_array_equal(result, by_pillow(images, op, level, -1), err_msg=f"level {level}")


def test_what_a_level_is_by_hand():
    """TranslateX moves pixels, not a share of the image; Posterize keeps few bits; a factor is by tenths."""
    policy = autoaugment_policy("cifar10")
    moved = policy.operation("TranslateX", 9)(IMAGES)
    assert np.array_equal(moved[:, :, :-9], IMAGES[:, :, 9:]) and not moved[:, :, -9:].any()
    wide = photographs(16, 200)
    assert np.array_equal(policy.operation("TranslateX", 9)(wide)[:, :, :-9], wide[:, :, 9:])
    assert set(np.unique(policy.operation("Posterize", 7)(IMAGES))) <= {0, 64, 128, 192}
    assert np.array_equal(policy.operation("Posterize", 0)(IMAGES), IMAGES & 0xF0)
    grey = np.full((1, 2, 2, 3), 101, dtype=np.uint8)
    assert policy.operation("Brightness", 6)(grey).ravel().tolist() == [119] * 12
    paper = autoaugment_policy("cifar10", "paper")
    assert paper.operation("Brightness", 6)(grey).ravel().tolist() == [131] * 12
    assert np.array_equal(paper.operation("Posterize", 7)(IMAGES), IMAGES & 0xF8)


def test_a_mixed_batch_is_its_images_one_by_one():
    """Shifts and shears of different amounts in one batch, as a policy makes them."""
    for first in ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"):
        pairs = [((first, 1.0, level), ("Invert", 0.0, 0)) for level in LEVELS]
        results = AutoAugment("test", pairs)(IMAGES, np.random.default_rng(0))
        known = {(level, sign): by_pillow(IMAGES, first, level, sign) for level in LEVELS for sign in (1, -1)}
        for number, result in enumerate(results):
            assert any(np.array_equal(result, images[number]) for images in known.values()), f"{first}: {number}"


def test_the_whole_policy_draws_what_the_table_says():
    """Means over many draws of one image are those of the 25 sub-policies, weighed by their probabilities."""
    image, count = IMAGES[:1], 40000
    drawn = autoaugment_policy("cifar10")(np.repeat(image, count, axis=0), np.random.default_rng(0))
    means = drawn.reshape(count, -1).mean(axis=1)
    expected, second = 0.0, 0.0
    for pair in POLICIES["published"]["cifar10"]:
        for share, result in outcomes(image, pair):
            expected += share / 25 * result.mean()
            second += share / 25 * result.mean() ** 2
    deviation = np.sqrt((second - expected**2) / count)
    assert abs(means.mean() - expected) < 4 * deviation


def outcomes(image, pair):
    """(probability, image) of all that a sub-policy may make of an image."""
    results = [(1.0, image)]
    for op, p, level in pair:
        done = [(s * p / 2, by_pillow(i, op, level, sign)) for s, i in results for sign in (1, -1) if p]
        results = [(s * (1 - p), i) for s, i in results] + done
    return results
