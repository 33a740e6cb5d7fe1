"""One decoder: every mode an image may be saved in, and what is refused before a pixel is read."""

import struct
import warnings
import zlib

import numpy as np
import pytest
from image_files import encoded, jpeg, photograph
from PIL import Image

from gluon_aff.data.decoding import MAX_PIXELS, UnreadableImage, decode_image
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
