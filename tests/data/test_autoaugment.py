"""AutoAugment: every operation and level of both variants is Pillow's result, and the policies draw what they say."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from sklearn.datasets import load_sample_images

from gluon_aff.data import AutoAugment, autoaugment_policy
from gluon_aff.data.autoaugment import OPERATIONS, POLICIES, VALUES, VARIANTS
from gluon_aff.errors import UsageError

AFFINE, BICUBIC, NEAREST = Image.Transform.AFFINE, Image.Resampling.BICUBIC, Image.Resampling.NEAREST
FILL = {"published": (0, 0, 0), "paper": (128, 128, 128)}
FACTORS = {"Contrast", "Color", "Brightness", "Sharpness"}


def sample_images(height=32, width=32):
    """Pieces of two photographs at several scales, noise, and one colour: uint8 (N, H, W, 3)."""
    rng = np.random.default_rng(3)
    pieces = [rng.integers(0, 256, (height, width, 3), dtype=np.uint8), np.full((height, width, 3), 7, dtype=np.uint8)]
    for photograph in load_sample_images().images:
        for scale, top, left in ((1, 20, 100), (3, 120, 30), (9, 60, 300)):
            region = photograph[top : top + height * scale, left : left + width * scale]
            pieces.append(np.asarray(Image.fromarray(region).resize((width, height), BICUBIC)))
    return np.stack(pieces)


IMAGES = sample_images()


def by_pillow(image, variant, op, level, sign):
    """An operation by the closed form of its level."""
    published = variant == "published"
    share = level / 10 if published else level / 9
    width, height = image.size
    if op in FACTORS:
        return getattr(ImageEnhance, op)(image).enhance(0.1 + 1.8 * share)
    if op in ("AutoContrast", "Invert", "Equalize"):
        return getattr(ImageOps, op.lower())(image)
    if op == "Solarize":
        return ImageOps.solarize(image, 256 - int(25.6 * level) if published else 256 - 256 * share)
    if op == "Posterize":
        return ImageOps.posterize(image, 4 - int(0.4 * level) if published else round(8 - 4 * share))
    if op == "Rotate":
        return image.rotate(sign * (int(3 * level) if published else 30 * share), fillcolor=FILL[variant])
    shift = (level, level) if published else (width * share * 150 / 331, height * share * 150 / 331)
    matrix = {
        "ShearX": (1, sign * 0.3 * share, 0, 0, 1, 0),
        "ShearY": (1, 0, 0, sign * 0.3 * share, 1, 0),
        "TranslateX": (1, 0, sign * shift[0], 0, 1, 0),
        "TranslateY": (1, 0, 0, 0, 1, sign * shift[1]),
    }[op]
    return image.transform(image.size, AFFINE, matrix, BICUBIC if published else NEAREST, fillcolor=FILL[variant])


def all_by_pillow(images, variant, op, level, sign):
    return np.stack([np.asarray(by_pillow(Image.fromarray(image), variant, op, level, sign)) for image in images])


def cases(variant, op, levels=range(10)):
    """Levels and signs of an operation, where they make a difference."""
    signs = (1, -1) if op in ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate") else (1,)
    return [(level, sign) for level in (levels if op in VALUES[variant] else (0,)) for sign in signs]


@pytest.mark.parametrize("op", sorted(OPERATIONS["paper"]))
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_level_is_pillows_result(variant, op):
    policy, before = autoaugment_policy("cifar10", variant), IMAGES.copy()
    for level, sign in cases(variant, op):
        result = policy.operation(op, level)(IMAGES, sign=sign)
        expected = all_by_pillow(IMAGES, variant, op, level, sign)
        np.testing.assert_array_equal(result, expected, err_msg=f"{level}, {sign}")
        assert result.dtype == np.uint8 and np.array_equal(IMAGES, before)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("height, width", [(17, 40), (64, 25), (5, 4), (1, 1)])
def test_other_sizes_too(height, width, variant):
    images = sample_images(height, width)[1:5]
    for op in OPERATIONS[variant]:
        for level, sign in cases(variant, op, (3, 9)):
            result = autoaugment_policy("imagenet", variant).operation(op, level)(images, sign=sign)
            expected = all_by_pillow(images, variant, op, level, sign)
            np.testing.assert_array_equal(result, expected, err_msg=f"{op}, {level}, {sign}")


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("op", ["ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Color", "Brightness"])
def test_a_mixed_batch_is_its_images_one_by_one(op, variant):
    """Different amounts in one batch, as a policy makes them."""
    pairs = [((op, 1.0, level), ("Invert", 0.0, 0)) for level in range(10)]
    results = AutoAugment("test", pairs, variant)(IMAGES, np.random.default_rng(0))
    known = [all_by_pillow(IMAGES, variant, op, level, sign) for level in range(10) for sign in (1, -1)]
    for number, result in enumerate(results):
        assert any(np.array_equal(result, images[number]) for images in known), number


@pytest.mark.parametrize("name, place, paper, published", [("cifar10", 13, 8, 6), ("imagenet", 15, 2, 0)])
def test_the_published_policies_differ_in_one_level(name, place, paper, published):
    pairs = list(zip(POLICIES["paper"][name], POLICIES["published"][name]))
    assert len(pairs) == 25
    assert [number for number, (ours, theirs) in enumerate(pairs) if ours != theirs] == [place]
    (first, (operation, p, level)), (same, (again, q, other)) = pairs[place]
    assert (first, operation, p) == (same, again, q) and operation == "Color"
    assert (level, other) == (paper, published)


def test_both_operations_of_a_pair_happen_in_order():
    policy = AutoAugment("test", [(("Solarize", 1.0, 5), ("Invert", 1.0, 0))], "paper")
    threshold = VALUES["paper"]["Solarize"][5]
    expected = 255 - np.where(threshold <= IMAGES, 255 - IMAGES, IMAGES)
    np.testing.assert_array_equal(policy(IMAGES, np.random.default_rng(1)), expected)


def test_signs_are_drawn_for_geometric_operations_only():
    many = np.repeat(IMAGES[:1], 2000, axis=0)
    moved = AutoAugment("test", [(("TranslateX", 1.0, 9), ("Invert", 0.0, 0))], "paper")(many, np.random.default_rng(1))
    left, right = (np.all(moved[:, :, edge] == 128, axis=(1, 2)).mean() for edge in (0, -1))
    assert left + right == 1 and left == pytest.approx(0.5, abs=0.06)
    dark = AutoAugment("test", [(("Brightness", 1.0, 0), ("Invert", 0.0, 0))])(many, np.random.default_rng(1))
    assert (dark == all_by_pillow(IMAGES[:1], "published", "Brightness", 0, 1)).all()


def test_the_whole_policy_draws_what_the_table_says():
    """Means over many draws of one image are those of the 25 sub-policies, weighed by their probabilities."""
    image, count = IMAGES[2:3], 3000
    drawn = autoaugment_policy("cifar10")(np.repeat(image, count, axis=0), np.random.default_rng(0))
    expected, second = 0.0, 0.0
    for pair in POLICIES["published"]["cifar10"]:
        for share, result in outcomes(image, pair):
            expected += share / 25 * result.mean()
            second += share / 25 * result.mean() ** 2
    assert abs(drawn.mean() - expected) < 4 * np.sqrt((second - expected**2) / count)


def outcomes(image, pair):
    """(probability, image) of all that a sub-policy may make of an image."""
    results = [(1.0, image)]
    for op, p, level in pair:
        done = [(s * p / 2, all_by_pillow(i, "published", op, level, sign)) for s, i in results for sign in (1, -1)]
        results = [(s * (1 - p), i) for s, i in results] + done
    return results


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", ["cifar10", "imagenet"])
def test_depends_on_the_generator_alone_and_leaves_its_input(name, variant):
    policy, before = autoaugment_policy(name, variant), IMAGES.copy()
    first = policy(IMAGES, np.random.default_rng(7))
    assert np.array_equal(IMAGES, before)
    assert np.array_equal(first, policy(IMAGES, np.random.default_rng(7)))
    assert not np.array_equal(first, policy(IMAGES, np.random.default_rng(8)))
    assert first.dtype == np.uint8 and first.shape == IMAGES.shape


@pytest.mark.parametrize(
    "told, call",
    [
        ("no AutoAugment policy 'svhn': choose one of cifar10, imagenet", lambda _: autoaugment_policy("svhn")),
        ("no variant of AutoAugment 'fast': choose one of pub", lambda _: autoaugment_policy("cifar10", "fast")),
        ("no operation of AutoAugment 'Blur': choose one of AutoContrast, ", lambda own: own.operation("Blur", 1)),
        ("Rotate at level 11: expected a whole number of 0 to 10", lambda own: own.operation("Rotate", 11)),
        ("level 10: .* of 0 to 9", lambda _: autoaugment_policy("cifar10", "paper").operation("Rotate", 10)),
        ("sign 0: expected 1 or -1", lambda own: own.operation("Rotate", 1)(IMAGES, sign=0)),
        *(
            (r"expected uint8 \(N, H, W, 3\)", lambda own, wrong=wrong: own.operation("Rotate", 1)(wrong))
            for wrong in (IMAGES.astype(np.float32), IMAGES[0], IMAGES[..., :1], [1, 2])
        ),
    ],
)
def test_unknown_names_and_what_no_operation_can_do(told, call):
    policy = autoaugment_policy("cifar10")
    assert policy.variant == "published"
    with pytest.raises(UsageError, match=told):
        call(policy)
