"""Image folders and zips, and the cache of what was decoded from them."""

import os
import re
import time
import zipfile

import numpy as np
import pytest
from image_files import encoded, message_of, write_zip

from gluon_aff.data import folder, load_image_set
from gluon_aff.runtime import threads

RNG = np.random.default_rng(0)
PIXELS = {
    f"{split}/{name}/{i}.png": RNG.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    for split, count in (("train", 4), ("test", 2))
    for name in ("cat", "ant", "bee")
    for i in range(count)
}


def contents():
    return {name: encoded(pixels) for name, pixels in PIXELS.items()}


def renamed(files, prefix="", test="test"):
    return {prefix + name.replace("test/", f"{test}/"): content for name, content in files.items()}


@pytest.mark.parametrize("options", [{}, {"prefix": "top/"}, {"test": "val"}], ids=["plain", "top folder", "val"])
def test_images_in_alphabetical_order_of_class_and_file(place, options):
    path = place(renamed(contents(), **options))
    for split in ("train", "test"):
        got = load_image_set("folder", split, path)
        names = sorted(name for name in PIXELS if name.startswith(split))
        np.testing.assert_array_equal(got.images, np.stack([PIXELS[name] for name in names]))
        assert [got.classes[label] for label in got.labels] == [name.split("/")[1] for name in names]
        assert got.classes == ("ant", "bee", "cat") and got.labels.dtype == np.int64


def test_what_is_no_image_of_the_set_is_left_out(place):
    extra = dict.fromkeys((".DS_Store", "train/cat/.hidden.png", "train/cat/notes.txt", "README"), b"x")
    extra["__MACOSX/train/cat/0.png"] = b"x"
    extra.update(dict.fromkeys(("train/cat/4.PNG", "train/cat/5.jpeg", "train/cat/6.JPG"), GREY))  # these are
    extra.update({name.replace("test/", "val/"): GREY for name in PIXELS if "test" in name})  # beside test/
    path = place({**contents(), **extra})
    got = load_image_set("folder", "train", path)
    assert len(got) == 15 and (got.images[12:] == 100).all()
    got = load_image_set("folder", "test", path)
    assert len(got) == 6 and got.images.max() > 200


def test_resize_stretches_whatever_size(place):
    got = load_image_set("folder", "train", place({**contents(), "train/ant/9.png": OBLONG}), resize=16)
    assert got.images.shape == (13, 16, 16, 3)
    assert (got.images[4] == 0).all()


GREY = encoded(np.full((12, 12, 3), 100, np.uint8))
OBLONG = encoded(np.zeros((30, 20, 3), dtype=np.uint8))
DAMAGE = {
    "odd size": ({"train/bee/1.png": OBLONG}, "train/bee/1.png is 20x30, the images before it 12x12.*give `resize` N"),
    "oblong": (dict.fromkeys(PIXELS, OBLONG), "train/ant/0.png is 20x30, expected a square: give `resize` N"),
    "cut short": (
        {"train/bee/2.png": encoded(PIXELS["train/bee/2.png"])[:-40]},
        "train/bee/2.png cannot be read as an image.*replace or remove it",
    ),
    "no image": ({"train/bee/2.png": b"nothing of the kind"}, "train/bee/2.png cannot be read as an image"),
    "one more class": (
        {"train/dog/0.png": encoded(PIXELS["train/cat/0.png"])},
        "have different classes .dog in one only",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_wrong_with_a_set_is_named(place, damage):
    changed, told = DAMAGE[damage]
    assert re.search(told, message_of(load_image_set, "folder", "train", place({**contents(), **changed})))


def test_a_missing_split_is_named(place, tmp_path):
    (tmp_path / "mxnet-home").mkdir()
    message = message_of(
        load_image_set, "folder", "test", place({k: v for k, v in contents().items() if k.startswith("train")})
    )
    assert "has no test images: expected test/<class>/ or val/<class>/" in message and "found train/ with" in message
    assert "found no file that ends in .png" in message_of(load_image_set, "folder", "train", tmp_path / "mxnet-home")


def test_two_sets_in_one_zip_are_refused(tmp_path):
    files = {**renamed(contents(), prefix="one/"), **renamed(contents(), prefix="two/")}
    message = message_of(load_image_set, "folder", "train", write_zip(tmp_path / "images.zip", files))
    assert "holds several sets of images (one, two), expected one" in message


def test_threads_never_read_a_zip_at_once(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "images.zip", contents())
    reading, overlaps = [], []
    read = zipfile.ZipFile.read

    def slow_read(self, *args, **options):
        overlaps.extend(reading)
        reading.append(1)
        time.sleep(0.01)
        reading.pop()
        return read(self, *args, **options)

    monkeypatch.setattr(zipfile.ZipFile, "read", slow_read)
    monkeypatch.setattr(folder, "_BLOCK", 1)
    monkeypatch.setattr(threads, "usable_cores", lambda: 4)
    assert len(load_image_set("folder", "train", path)) == 12
    assert not overlaps


@pytest.mark.parametrize("test", ["test", "val"])
def test_a_class_without_images_is_left_out_and_said(place, test):
    files = {**renamed(contents(), test=test), "train/dog/notes.txt": b"x", f"{test}/dog/notes.txt": b"x"}
    path = place(files)
    for split, name in (("train", "train"), ("test", test)):
        found = load_image_set("folder", split, path)
        assert found.classes == ("ant", "bee", "cat")
        assert f"{path}/{name}/dog holds no images: its class is left out" in found.notes


def test_a_truncated_zip_and_a_damaged_member_are_named(tmp_path):
    path = write_zip(tmp_path / "images.zip", contents())
    content = bytearray(path.read_bytes())
    path.write_bytes(content[:-30])
    message = message_of(load_image_set, "folder", "train", path)
    assert f"{path} ({len(content) - 30} bytes) is neither a folder nor a whole zip archive" in message
    path.write_bytes(content)
    with zipfile.ZipFile(path) as archive:
        content[archive.getinfo("train/ant/3.png").header_offset + 100] ^= 255
    path.write_bytes(content)
    assert "train/ant/3.png: Bad CRC-32" in message_of(load_image_set, "folder", "train", path)


# The cache -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def decodings(monkeypatch):
    """Counts how often a split was decoded."""
    calls = []
    decode_all = folder._decode_all
    monkeypatch.setattr(folder, "_decode_all", lambda *args, **kw: calls.append(1) or decode_all(*args, **kw))
    return calls


def cached_files(home):
    return sorted((home / "datasets" / "cache").glob("*"))


def test_second_reading_comes_from_the_cache(place, decodings, own_mxnet_home):
    path = place(contents())
    first, second = (load_image_set("folder", "train", path) for _ in range(2))
    assert len(decodings) == 1 and len(cached_files(own_mxnet_home)) == 1
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(first.labels, second.labels)
    load_image_set("folder", "test", path)
    load_image_set("folder", "train", path, resize=8)
    assert len(decodings) == 3


def test_changed_images_are_decoded_anew(place, decodings, own_mxnet_home):
    path = place(contents())
    load_image_set("folder", "train", path)
    place({**contents(), "train/ant/0.png": encoded(PIXELS["train/cat/0.png"])})
    changed = path if path.is_file() else path / "train" / "ant" / "0.png"
    os.utime(changed, ns=(1, 1))
    got = load_image_set("folder", "train", path)
    np.testing.assert_array_equal(got.images[0], PIXELS["train/cat/0.png"])
    assert len(decodings) == 2 and len(cached_files(own_mxnet_home)) == 1, "the old file is replaced"


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_bit,
        lambda path: path.write_bytes(path.read_bytes()[:-200]),
        lambda path: path.write_bytes(b""),
        lambda path: np.savez(path, other=np.zeros(3)),
    ],
    ids=["bit", "short", "empty", "other content"],
)
def test_a_damaged_cache_is_rebuilt(place, decodings, own_mxnet_home, damage):
    path = place(contents())
    first = load_image_set("folder", "train", path)
    damage(cached_files(own_mxnet_home)[0])
    again = load_image_set("folder", "train", path)
    np.testing.assert_array_equal(again.images, first.images)
    assert len(decodings) == 2
    load_image_set("folder", "train", path)
    assert len(decodings) == 2


def test_a_cache_that_cannot_be_written_is_no_error(place, decodings, own_mxnet_home):
    own_mxnet_home.write_text("a file where the folder should be")
    path = place(contents())
    assert len(load_image_set("folder", "train", path)) == 12
    assert len(load_image_set("folder", "train", path)) == 12
    assert len(decodings) == 2
