import numpy as np
import pytest

from gluon_aff.data import autoaugment_policy
from gluon_aff.data.autoaugment import operations as ops
from gluon_aff.data.autoaugment.levels import OPERATIONS, VARIANTS
from gluon_aff.data.autoaugment.policy import AutoAugment
from gluon_aff.data.autoaugment.tables import POLICIES
from gluon_aff.errors import UsageError


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["cifar10", "imagenet"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_policies_have_25_pairs_of_known_operations(name, variant):
    assert len(POLICIES[variant][name]) == 25
    for pair in POLICIES[variant][name]:
        assert len(pair) == 2
        for operation, probability, level in pair:
            assert operation in OPERATIONS[variant] and 0 <= probability <= 1 and level in range(10)


@pytest.mark.parametrize("name, place, paper, published", [("cifar10", 13, 8, 6), ("imagenet", 15, 2, 0)])
def test_the_published_policies_differ_in_one_level(name, place, paper, published):
    pairs = list(zip(POLICIES["paper"][name], POLICIES["published"][name]))
    assert [number for number, (ours, theirs) in enumerate(pairs) if ours != theirs] == [place]
    (first, (operation, p, level)), (same, (again, q, other)) = pairs[place]
    assert (first, operation, p) == (same, again, q) and operation == "Color"
    assert (level, other) == (paper, published)


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
    values = OPERATIONS["paper"][operation].values
    assert len(values) == 10
    assert values[0] == pytest.approx(first) and values[9] == pytest.approx(last)


def test_both_operations_of_a_pair_happen_in_order(images):
    policy = AutoAugment("test", [(("Solarize", 1.0, 5), ("Invert", 1.0, 0))], "paper")
    threshold = np.full(len(images), OPERATIONS["paper"]["Solarize"].values[5])
    expected = ops.invert(ops.solarize(images, threshold))
    np.testing.assert_array_equal(policy(images, np.random.default_rng(1)), expected)


def test_probability_and_choice_of_pair(images):
    many = np.repeat(images, 100, axis=0)
    policy = AutoAugment("test", [(("Invert", 0.3, 0), ("Invert", 0.0, 0)), (("Invert", 0.0, 0), ("Solarize", 0.8, 9))])
    changed = (policy(many, np.random.default_rng(1)) != many).any(axis=(1, 2, 3)).mean()
    assert changed == pytest.approx((0.3 + 0.8) / 2, abs=0.03)  # five standard deviations of 6400 draws


def test_signs_are_drawn_for_geometric_operations_only(images):
    many = np.repeat(images[:1], 2000, axis=0)
    moved = AutoAugment("test", [(("TranslateX", 1.0, 9), ("Invert", 0.0, 0))], "paper")(many, np.random.default_rng(1))
    left, right = (np.all(moved[:, :, edge] == 128, axis=(1, 2)).mean() for edge in (0, -1))
    assert left + right == 1 and left == pytest.approx(0.5, abs=0.06)
    dark = AutoAugment("test", [(("Brightness", 1.0, 0), ("Invert", 0.0, 0))])(many, np.random.default_rng(1))
    np.testing.assert_array_equal(dark, ops.brightness(many, np.full(2000, 0.1)))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", ["cifar10", "imagenet"])
def test_depends_on_the_generator_alone_and_leaves_its_input(images, name, variant):
    policy, before = autoaugment_policy(name, variant), images.copy()
    first = policy(images, np.random.default_rng(7))
    assert np.array_equal(images, before)
    assert np.array_equal(first, policy(images, np.random.default_rng(7)))
    assert not np.array_equal(first, policy(images, np.random.default_rng(8)))
    assert first.dtype == np.uint8 and first.shape == images.shape


def test_unknown_policy():
    with pytest.raises(UsageError, match="no AutoAugment policy 'svhn': choose one of cifar10, imagenet"):
        autoaugment_policy("svhn")
    with pytest.raises(UsageError, match="no variant of AutoAugment 'fast': choose one of published, paper"):
        autoaugment_policy("cifar10", "fast")


def test_the_published_variant_is_the_default():
    assert autoaugment_policy("cifar10").variant == "published"


def test_what_no_operation_can_do_is_refused(images):
    policy = autoaugment_policy("cifar10")
    with pytest.raises(UsageError, match="no operation of AutoAugment 'Blur': choose one of AutoContrast, "):
        policy.operation("Blur", 1)
    with pytest.raises(UsageError, match="Rotate at level 11: expected a whole number of 0 to 10"):
        policy.operation("Rotate", 11)
    with pytest.raises(UsageError, match="Rotate at level 10: expected a whole number of 0 to 9"):
        autoaugment_policy("cifar10", "paper").operation("Rotate", 10)
    for wrong in (images.astype(np.float32), images[0], images[..., :1], [1, 2]):
        with pytest.raises(UsageError, match=r"expected uint8 \(N, H, W, 3\)"):
            policy.operation("Rotate", 1)(wrong)
    with pytest.raises(UsageError, match="sign 0: expected 1 or -1"):
        policy.operation("Rotate", 1)(images, sign=0)
