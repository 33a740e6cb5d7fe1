"""One decoder: every mode an image may be saved in, and what is refused before a pixel is read."""

import struct
import warnings
import zlib

import cv2
import numpy as np
import pytest
from image_files import encoded, jpeg, photograph
from PIL import Image

from gluon_aff.data import decoding
from gluon_aff.data.decoding import IGNORED, MAX_PIXELS, UnreadableImage, decode_image, decode_mask
from gluon_aff.errors import GluonAFFError


def both(content):
    """What Pillow and OpenCV make of a file; they agree."""
    image = decode_image(content, "x")
    np.testing.assert_array_equal(image, decode_image(content, "x", opencv=True))
    return image


RAMP = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4


def test_modes():
    grey, colours = Image.fromarray(RAMP), photograph(2)
    sixteen = Image.fromarray(RAMP.astype(np.uint16) * 256)
    transparent = colours.convert("P")
    transparent.info["transparency"] = bytes(range(256))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for image in (grey, sixteen, grey.convert("P"), grey.convert("LA")):
            np.testing.assert_array_equal(both(encoded(image)), np.repeat(RAMP[..., None], 3, axis=2))
        for image in (colours.convert("1"), colours.convert("P"), colours.convert("RGBA")):
            np.testing.assert_array_equal(both(encoded(image)), np.asarray(image.convert("RGB")))
        np.testing.assert_array_equal(both(encoded(transparent)), np.asarray(colours.convert("P").convert("RGB")))
    assert np.abs(both(encoded(grey.convert("CMYK"), "TIFF"))[..., 0].astype(int) - RAMP).max() <= 1


GREYS = np.arange(256).reshape(16, 16)
COLOURS = np.stack([GREYS, GREYS[::-1], GREYS.T], axis=2)


def png_of(values):
    """Pillow writes no colours of 16 bits."""
    done, content = cv2.imencode(
        ".png", values if values.ndim == 2 else values[..., [2, 1, 0, *range(3, values.shape[2])]]
    )
    assert done
    return content.tobytes()


DEEP = {
    "float 0..1": encoded((GREYS / 255).astype(np.float32), "TIFF"),
    "float 0..1, resized by a bicubic": encoded((GREYS / 255 * 1.1 - 0.05).astype(np.float32), "TIFF"),
    "float 0..255": encoded(GREYS.astype(np.float32), "TIFF"),
    "float 0..65535": encoded((257 * GREYS).astype(np.float32), "TIFF"),
    "32 bits, 0..255": encoded(GREYS.astype(np.int32), "TIFF"),
    "31 bits": encoded((GREYS << 23).astype(np.int32), "TIFF"),
    **{f"{bits} of 16 bits": png_of((GREYS << bits - 8).astype(np.uint16)) for bits in (8, 10, 12, 14, 16)},
    "PGM": b"P5 %d %d 65535\n" % GREYS.shape[::-1] + (257 * GREYS).astype(">u2").tobytes(),
}
DEEP_COLOURS = {
    **{f"{bits} of 16 bits": png_of((COLOURS << bits - 8).astype(np.uint16)) for bits in (8, 12, 14, 16)},
    "TIFF": cv2.imencode(".tiff", COLOURS[..., ::-1].astype(np.uint16))[1].tobytes(),
    "alpha": png_of(np.dstack([COLOURS << 4, np.full_like(GREYS, 65535)]).astype(np.uint16)),
}


@pytest.mark.parametrize("kind", DEEP)
def test_deep_greys_become_the_range_that_the_file_has(kind):
    greys = np.clip(np.rint(GREYS * 1.1 - 12.75), 0, 255) if "bicubic" in kind else GREYS
    np.testing.assert_array_equal(both(DEEP[kind]), np.repeat(greys[..., None], 3, axis=2))


def test_ranges_that_differ_are_told_once(monkeypatch, capsys):
    monkeypatch.setattr(decoding, "_ranges", {})
    for name, kind in (("a", "16"), ("b", "16"), ("c", "14"), ("d", "12"), ("e", "14")):
        decode_image(DEEP[f"{kind} of 16 bits"], name)
    assert capsys.readouterr().err == (
        "note: deep pictures are scaled by each file's own range: a has 16 bits, c 14 bits; where they must share a "
        "scale, save them with 8 bits\n"
    )


@pytest.mark.parametrize("kind", DEEP_COLOURS)
def test_deep_colours_do_likewise(kind):
    np.testing.assert_array_equal(both(DEEP_COLOURS[kind]), COLOURS)


@pytest.mark.parametrize(
    "values", [GREYS - 100.0, GREYS - 100, np.where(GREYS, 1.0, np.nan)], ids=["-100.", "-100", "NaN"]
)
def test_deep_pictures_without_a_range_are_refused(values):
    content = encoded(values.astype(np.float32 if values.dtype == float else np.int32), "TIFF")
    for read in (decode_image, lambda *args: decode_mask(*args, threshold=128)):
        with pytest.raises(UnreadableImage, match=r"x.tif cannot be read .*its values are from .* expected 0 to 1, or"):
            read(content, "x.tif")


def test_deep_colours_cut_short_are_unreadable():
    with pytest.raises(UnreadableImage):
        decode_image(DEEP_COLOURS["12 of 16 bits"][:-200], "x")


MARKED = GREYS % 7 == 3
DEEP_MASKS = {
    "16 bits": png_of(255 * MARKED.astype(np.uint16)),
    "16 bits, full": png_of(65535 * MARKED.astype(np.uint16)),
    "32 bits": encoded(255 * MARKED.astype(np.int32), "TIFF"),
    "16 bits in colour": png_of(255 * np.repeat(MARKED[..., None], 3, axis=2).astype(np.uint16)),
    **{f"float {value}": encoded((value * MARKED).astype(np.float32), "TIFF") for value in (0.5, 1.0, 255.0)},
}


@pytest.mark.parametrize("kind", DEEP_MASKS)
def test_deep_masks(kind):
    np.testing.assert_array_equal(decode_mask(DEEP_MASKS[kind], "x"), MARKED)


def test_deep_masks_of_numbers_and_of_greys():
    numbers = np.where(GREYS % 5 == 4, 255, GREYS % 3)
    for kind in (np.int32, np.float32):
        np.testing.assert_array_equal(decode_mask(encoded(numbers.astype(kind), "TIFF"), "x", classes=3), numbers)
    with pytest.raises(GluonAFFError, match="x has the values 0, 0.5: expected class numbers"):
        decode_mask(DEEP_MASKS["float 0.5"], "x", classes=3)
    for content in (DEEP["float 0..1"], DEEP["12 of 16 bits"], DEEP["32 bits, 0..255"]):
        np.testing.assert_array_equal(decode_mask(content, "x", threshold=128), GREYS >= 128)


ADVICE = {
    (0, 1, 255): "`mask_ignore` 255 where these pixels are not to count$",
    (0, 128, 255): r"\(`mask_threshold` 128, or 255 for this alone\), or `mask_ignore` 128 where",
    (0, 1, 2): "`classes` 3, or `mask_threshold` 2 where 2 alone is foreground$",
    (0, 1, 2, 255): r"`classes` 3 \(255 does not count then\)$",
    (0, 200): r"\(`mask_threshold` 200\)$",
    (0, 3, 130, 240, 255): r"\(`mask_threshold` 128\)$",
}


@pytest.mark.parametrize("values", ADVICE, ids=str)
def test_what_to_do_with_a_mask_follows_from_its_values(values):
    with pytest.raises(GluonAFFError, match="or (give|for class numbers give) .*" + ADVICE[values]):
        decode_mask(encoded(np.resize(np.array(values, np.uint8), (9, 9))), "x")


def test_pixels_that_do_not_count():
    rim = np.resize(np.array([0, 1, 255, 128], np.uint8), (8, 8))
    content = encoded(rim)
    found = decode_mask(content, "x", threshold=1, ignore=255)
    np.testing.assert_array_equal(found, np.where(rim == 255, IGNORED, rim > 0))
    numbers = decode_mask(encoded(rim % 4), "x", classes=3, ignore=3)
    np.testing.assert_array_equal(numbers, np.where(rim % 4 == 3, IGNORED, rim % 4))
    with pytest.raises(GluonAFFError, match="JPEG, which does not keep a value of its own"):
        decode_mask(encoded(rim, "JPEG"), "x", ignore=255)


def test_jpeg_of_every_shape():
    for number in range(5):
        assert both(jpeg(number)).shape == both(jpeg(number, "L")).shape


def test_a_turned_photograph_is_read_as_it_is_stored():
    turned = Image.fromarray(np.repeat(RAMP[:4, :, None], 3, axis=2))
    exif = turned.getexif()
    exif[0x0112] = 6
    for kind in ("JPEG", "PNG"):
        assert both(encoded(turned, kind, exif=exif)).shape == (4, 8, 3)


def test_other_formats_start_no_program():
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    for opencv in (False, True):
        with pytest.raises(GluonAFFError, match=r"photo.jpg cannot be read as an image \(unknown format\)") as caught:
            decode_image(postscript, "photo.jpg", opencv=opencv)
        assert caught.value.fault == "photo.jpg cannot be read as an image (unknown format)"


def huge_png(side):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def huge_jpeg(side):
    """A real JPEG whose frame header claims ``side`` x ``side``."""
    content = bytearray(encoded(Image.fromarray(RAMP), "JPEG"))
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", side, side)
    return bytes(content)


@pytest.mark.parametrize("make", [huge_png, huge_jpeg])
def test_too_many_pixels_are_refused_before_they_are_decoded(make):
    assert MAX_PIXELS < 20000**2
    for opencv in (False, True):
        with pytest.raises(UnreadableImage, match="20000|400000000|400,000,000"):
            decode_image(make(20000), "x", opencv=opencv)
