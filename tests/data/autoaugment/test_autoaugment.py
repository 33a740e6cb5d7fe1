import numpy as np
import pytest

from gluon_aff.data import autoaugment_policy
from gluon_aff.data.autoaugment import operations as ops
from gluon_aff.data.autoaugment.policy import OPERATIONS, AutoAugment
from gluon_aff.errors import UsageError


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["cifar10", "imagenet"])
def test_policies_have_25_pairs_of_known_operations(name):
    from gluon_aff.data.autoaugment.tables import POLICIES

    assert len(POLICIES[name]) == 25
    for pair in POLICIES[name]:
        assert len(pair) == 2
        for operation, probability, level in pair:
            assert operation in OPERATIONS and 0 <= probability <= 1 and level in range(10)


@pytest.mark.parametrize(
    "operation, first, last",
    [
        ("ShearX", 0, 0.3),
        ("TranslateY", 0, 150 / 331),
        ("Rotate", 0, 30),
        ("Posterize", 8, 4),
        ("Solarize", 256, 0),
        ("Color", 0.1, 1.9),
        ("Sharpness", 0.1, 1.9),
    ],
)
def test_levels_span_the_papers_ranges(operation, first, last):
    values = OPERATIONS[operation].values
    assert len(values) == 10
    assert values[0] == pytest.approx(first) and values[9] == pytest.approx(last)


def test_both_operations_of_a_pair_happen_in_order(images):
    policy = AutoAugment("test", [(("Solarize", 1.0, 5), ("Invert", 1.0, 0))])
    threshold = np.full(len(images), OPERATIONS["Solarize"].values[5])
    expected = ops.invert(ops.solarize(images, threshold))
    np.testing.assert_array_equal(policy(images, np.random.default_rng(1)), expected)


def test_probability_and_choice_of_pair(images):
    many = np.repeat(images, 100, axis=0)
    policy = AutoAugment("test", [(("Invert", 0.3, 0), ("Invert", 0.0, 0)), (("Invert", 0.0, 0), ("Solarize", 0.8, 9))])
    changed = (policy(many, np.random.default_rng(1)) != many).any(axis=(1, 2, 3)).mean()
    assert changed == pytest.approx((0.3 + 0.8) / 2, abs=0.03)  # five standard deviations of 6400 draws


def test_signs_are_drawn_for_geometric_operations_only(images):
    many = np.repeat(images[:1], 2000, axis=0)
    moved = AutoAugment("test", [(("TranslateX", 1.0, 9), ("Invert", 0.0, 0))])(many, np.random.default_rng(1))
    left, right = (np.all(moved[:, :, edge] == 128, axis=(1, 2)).mean() for edge in (0, -1))
    assert left + right == 1 and left == pytest.approx(0.5, abs=0.06)
    dark = AutoAugment("test", [(("Brightness", 1.0, 0), ("Invert", 0.0, 0))])(many, np.random.default_rng(1))
    np.testing.assert_array_equal(dark, ops.brightness(many, np.full(2000, 0.1)))


@pytest.mark.parametrize("name", ["cifar10", "imagenet"])
def test_depends_on_the_generator_alone_and_leaves_its_input(images, name):
    policy, before = autoaugment_policy(name), images.copy()
    first = policy(images, np.random.default_rng(7))
    assert np.array_equal(images, before)
    assert np.array_equal(first, policy(images, np.random.default_rng(7)))
    assert not np.array_equal(first, policy(images, np.random.default_rng(8)))
    assert first.dtype == np.uint8 and first.shape == images.shape


def test_unknown_policy():
    with pytest.raises(UsageError, match="no AutoAugment policy 'svhn': choose one of cifar10, imagenet"):
        autoaugment_policy("svhn")
