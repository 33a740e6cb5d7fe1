import numpy as np
import pytest

from gluon_aff.data import CIFAR_MEAN, CIFAR_STD, EvalTransform, TrainTransform, autoaugment_policy
from gluon_aff.errors import UsageError

PLAIN = {"mean": (0, 0, 0), "std": (1, 1, 1)}


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(1, 256, (200, 16, 12, 3), dtype=np.uint8)


def pixels(x):
    """Back from PLAIN normalisation to uint8 (B, H, W, 3)."""
    return np.round(x * 255).astype(np.uint8).transpose(0, 2, 3, 1)


def test_evaluation_normalises_and_reorders(images):
    x = EvalTransform(CIFAR_MEAN, CIFAR_STD)(images, np.random.default_rng(0))
    expected = ((images / 255 - CIFAR_MEAN) / CIFAR_STD).transpose(0, 3, 1, 2)
    assert x.dtype == np.float32 and x.flags.c_contiguous
    np.testing.assert_allclose(x, expected, rtol=0, atol=1e-6)


def test_crop_is_a_window_of_the_black_padded_image_and_every_place_occurs(images):
    cropped = pixels(TrainTransform(**PLAIN, pad=2, mirror=False)(images, np.random.default_rng(1)))
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    places = set()
    for i, image in enumerate(cropped):
        fits = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if np.array_equal(image, padded[i, top : top + 16, left : left + 12])
        ]
        assert len(fits) == 1, f"image {i} is no window of its padded original"
        places.update(fits)
    assert len(places) == 25  # 200 draws of 25 places miss one with probability below 0.8 %; the seed is fixed


def test_mirror_turns_half_of_the_images(images):
    result = pixels(TrainTransform(**PLAIN, pad=0, mirror=True)(images, np.random.default_rng(1)))
    same = (result == images).all(axis=(1, 2, 3))
    turned = (result == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same ^ turned).all()
    assert turned.mean() == pytest.approx(0.5, abs=0.15)


def test_padding_is_black_before_normalisation():
    white = np.full((50, 8, 8, 3), 255, dtype=np.uint8)
    x = TrainTransform(pad=4)(white, np.random.default_rng(0))
    black = [-mean / std for mean, std in zip(CIFAR_MEAN, CIFAR_STD)]
    np.testing.assert_allclose(x.min(axis=(0, 2, 3)), black, rtol=1e-6)


def test_autoaugment_comes_before_crop_and_mirror(images):
    def mark(batch, rng):
        return np.full_like(batch, 255)

    x = pixels(TrainTransform(**PLAIN, pad=4, autoaugment=mark)(images, np.random.default_rng(0)))
    assert set(np.unique(x)) == {0, 255}  # the padding was added to what the policy returned


@pytest.mark.parametrize("policy", [None, "cifar10"])
def test_same_generator_same_batch_and_input_untouched(images, policy):
    transform = TrainTransform(autoaugment=policy and autoaugment_policy(policy))
    before = images.copy()
    first = transform(images, np.random.default_rng(5))
    assert first.shape == (200, 3, 16, 12) and first.dtype == np.float32 and first.flags.c_contiguous
    assert np.array_equal(first, transform(images, np.random.default_rng(5)))
    assert not np.array_equal(first, transform(images, np.random.default_rng(6)))
    assert np.array_equal(images, before)


def test_mean_and_std_are_checked():
    with pytest.raises(UsageError, match="expected three numbers"):
        EvalTransform((0.5,), (0.5,))
    with pytest.raises(UsageError, match="above 0"):
        TrainTransform(std=(0.2, 0, 0.2))
