"""Each operation against arrays worked out by hand, and against Pillow's own arithmetic on real and random images."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from gluon_aff.data.autoaugment import operations as ops
from gluon_aff.data.images.digits import load_digits

AFFINE = getattr(Image, "Transform", Image).AFFINE
GREY = (128, 128, 128)


def one_row(*values):
    """A 1-pixel-high RGB image of grey pixels, as a batch of one."""
    return np.repeat(np.array(values, dtype=np.uint8)[None, None, :, None], 3, axis=3)


def row_of(images):
    assert (images == images[..., :1]).all(), "grey must stay grey"
    return images[0, 0, :, 0].tolist()


def value(*numbers):
    return np.array(numbers, dtype=np.float64)


# By hand -------------------------------------------------------------------------------------------------------------


def test_invert():
    assert row_of(ops.invert(one_row(0, 1, 100, 255))) == [255, 254, 155, 0]


def test_solarize_inverts_from_the_threshold_on():
    assert row_of(ops.solarize(one_row(0, 127, 128, 255), value(128))) == [0, 127, 127, 0]
    assert row_of(ops.solarize(one_row(0, 255), value(256))) == [0, 255]
    assert row_of(ops.solarize(one_row(0, 255), value(0))) == [255, 0]


def test_posterize_keeps_leading_bits():
    assert row_of(ops.posterize(one_row(0x0F, 0x10, 0xAB, 0xFF), value(4))) == [0x00, 0x10, 0xA0, 0xF0]
    assert row_of(ops.posterize(one_row(0xAB), value(8))) == [0xAB]


def test_autocontrast_stretches_each_channel_and_leaves_a_flat_one():
    images = np.zeros((1, 1, 3, 3), dtype=np.uint8)
    images[0, 0, :, 0] = [50, 100, 150]
    images[0, 0, :, 1] = [7, 7, 7]
    images[0, 0, :, 2] = [0, 51, 255]
    result = ops.autocontrast(images)
    assert result[0, 0, :, 0].tolist() == [0, 127, 255]
    assert result[0, 0, :, 1].tolist() == [7, 7, 7]
    assert result[0, 0, :, 2].tolist() == [0, 51, 255]


def test_equalize_spreads_equal_counts_evenly():
    # 256 pixels each: step (1024 - 256) // 255 = 3, so 1 // 3, 257 // 3, 513 // 3, and 769 // 3 cut to 255
    images = np.repeat(np.repeat(np.array([10, 20, 30, 40], dtype=np.uint8), 256).reshape(1, 32, 32, 1), 3, axis=3)
    assert np.unique(ops.equalize(images)).tolist() == [0, 85, 171, 255]


def test_equalize_leaves_what_has_too_few_pixels():
    assert row_of(ops.equalize(one_row(3, 9, 200))) == [3, 9, 200]


def test_brightness_blends_with_black():
    assert row_of(ops.brightness(one_row(0, 10, 101, 200), value(0.5))) == [0, 5, 50, 100]
    assert row_of(ops.brightness(one_row(0, 10, 101, 200), value(1.5))) == [0, 15, 151, 255]


def test_contrast_blends_with_mean_grey():
    # mean 60: 60 + 0.5 (v - 60), 60 + 1.5 (v - 60) cut at 0
    assert row_of(ops.contrast(one_row(0, 60, 120), value(0.5))) == [30, 60, 90]
    assert row_of(ops.contrast(one_row(0, 60, 120), value(1.5))) == [0, 60, 150]


def test_color_blends_with_luma():
    red = np.array([255, 0, 0], dtype=np.uint8).reshape(1, 1, 1, 3)
    assert ops.color(red, value(0)).ravel().tolist() == [76, 76, 76]  # 0.299 * 255 = 76.2
    assert ops.color(red, value(1)).ravel().tolist() == [255, 0, 0]
    assert ops.color(red, value(0.5)).ravel().tolist() == [165, 38, 38]


def test_sharpness_smooths_inside_and_keeps_the_border():
    images = np.zeros((1, 3, 3, 3), dtype=np.uint8)
    images[0, 1, 1] = 130
    smooth = ops.sharpness(images, value(0))
    assert smooth[0, 1, 1].tolist() == [50, 50, 50]  # 5 / 13 of 130
    assert smooth.sum() == 150
    assert ops.sharpness(images, value(1.5))[0, 1, 1].tolist() == [170, 170, 170]  # 50 + 1.5 * 80


def test_translate_moves_and_fills_with_grey():
    assert row_of(ops.translate_x(one_row(1, 2, 3, 4), value(0.25))) == [2, 3, 4, 128]
    assert row_of(ops.translate_x(one_row(1, 2, 3, 4), value(-0.5))) == [128, 128, 1, 2]
    column = one_row(1, 2, 3, 4).transpose(0, 2, 1, 3)
    assert ops.translate_y(column, value(0.25))[0, :, 0, 0].tolist() == [2, 3, 4, 128]


def test_shear_keeps_the_first_line_and_moves_later_ones_further():
    images = np.repeat(one_row(1, 2, 3, 4), 4, axis=1)
    # Row y shows what lies (y + 0.5) / 2 pixels further right, rounded down at pixel centres: 0, 1, 1, 2.
    expected = [[1, 2, 3, 4], [2, 3, 4, 128], [2, 3, 4, 128], [3, 4, 128, 128]]
    assert ops.shear_x(images, value(0.5))[0, :, :, 0].tolist() == expected
    turned = ops.shear_y(images.transpose(0, 2, 1, 3), value(0.5))
    assert turned[0, :, :, 0].T.tolist() == expected


def test_rotate_is_counter_clockwise_about_the_centre():
    images = np.arange(9, dtype=np.uint8).reshape(1, 3, 3, 1).repeat(3, axis=3)
    assert ops.rotate(images, value(90))[0, :, :, 0].tolist() == [[2, 5, 8], [1, 4, 7], [0, 3, 6]]
    assert np.array_equal(ops.rotate(images, value(0)), images)


# Against Pillow ------------------------------------------------------------------------------------------------------


def sample_images():
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)
    smooth = (np.cumsum(rng.integers(-9, 10, (30, 32, 32, 3)), axis=1) + rng.integers(0, 256, (30, 1, 1, 3))).clip(
        0, 255
    )
    flat = np.full((1, 32, 32, 3), 7)
    return np.concatenate([noise, smooth, flat, load_digits("test").images[:30]]).astype(np.uint8)


IMAGES = sample_images()
UNIFORM = np.random.default_rng(4).uniform(0, 1, len(IMAGES))


def enhancer(kind):
    return lambda image, factor: kind(image).enhance(factor)


def affine(matrix):
    return lambda image, amount: image.transform(image.size, AFFINE, matrix(amount), fillcolor=GREY)


PILLOW = {
    "invert": (lambda image, _: ImageOps.invert(image), None),
    "autocontrast": (lambda image, _: ImageOps.autocontrast(image), None),
    "equalize": (lambda image, _: ImageOps.equalize(image), None),
    "solarize": (ImageOps.solarize, 256 * UNIFORM),
    "posterize": (lambda image, bits: ImageOps.posterize(image, int(bits)), np.floor(1 + 8 * UNIFORM)),
    "brightness": (enhancer(ImageEnhance.Brightness), 2 * UNIFORM),
    "contrast": (enhancer(ImageEnhance.Contrast), 2 * UNIFORM),
    "color": (enhancer(ImageEnhance.Color), 2 * UNIFORM),
    "sharpness": (enhancer(ImageEnhance.Sharpness), 2 * UNIFORM),
    "shear_x": (affine(lambda amount: (1, amount, 0, 0, 1, 0)), 0.6 * UNIFORM - 0.3),
    "shear_y": (affine(lambda amount: (1, 0, 0, amount, 1, 0)), 0.6 * UNIFORM - 0.3),
    "translate_x": (affine(lambda amount: (1, 0, 32 * amount, 0, 1, 0)), UNIFORM - 0.5),
    "translate_y": (affine(lambda amount: (1, 0, 0, 0, 1, 32 * amount)), UNIFORM - 0.5),
    "rotate": (lambda image, angle: image.rotate(angle, fillcolor=GREY), 60 * UNIFORM - 30),
}


@pytest.mark.parametrize("name", sorted(PILLOW))
def test_equal_to_pillow(name):
    reference, values = PILLOW[name]
    operation = getattr(ops, name)
    result = operation(IMAGES) if values is None else operation(IMAGES, values)
    for i, image in enumerate(IMAGES):
        expected = np.asarray(reference(Image.fromarray(image), None if values is None else values[i]))
        np.testing.assert_array_equal(result[i], expected, err_msg=f"image {i}")


@pytest.mark.parametrize("name", sorted(PILLOW))
def test_arguments_are_left_as_they_were_and_a_batch_is_its_images(name):
    values = PILLOW[name][1]
    operation = getattr(ops, name)
    before = IMAGES.copy()
    whole = operation(IMAGES) if values is None else operation(IMAGES, values)
    assert np.array_equal(IMAGES, before)
    assert whole.dtype == np.uint8 and whole.shape == IMAGES.shape
    alone = operation(IMAGES[5:6]) if values is None else operation(IMAGES[5:6], values[5:6])
    np.testing.assert_array_equal(whole[5:6], alone)


def test_images_need_not_be_square():
    images = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)
    for name, (reference, values) in PILLOW.items():
        if name.startswith("translate"):
            continue  # the reference above is written for 32 pixels
        result = getattr(ops, name)(*((images,) if values is None else (images, values[:2])))
        expected = np.asarray(reference(Image.fromarray(images[1]), None if values is None else values[1]))
        np.testing.assert_array_equal(result[1], expected, err_msg=name)
