"""Validation images held out of class folders: drawn by the seed, alike for every reader, copies never parted."""

from io import BytesIO

import numpy as np
import pytest
from image_files import encoded, images_of, write, write_zip
from PIL import Image

from gluon_aff.data import load_image_set, open_imagenet
from gluon_aff.data.trees import open_file_tree
from gluon_aff.data.validation_split import split_off
from gluon_aff.errors import GluonAFFError, UsageError


def png(shade):
    return encoded(Image.new("RGB", (8, 8), (shade, 255 - shade, 7)))


@pytest.fixture
def plain(tmp_path):
    """Class folders with 10, 6 and 1 images; two of cat's are alike, and one of cat's is one of dog's, too."""
    classes = (("cat", 0, 10), ("dog", 20, 6), ("eel", 40, 1))
    files = {f"{name}/{i}.png": png(first + i) for name, first, count in classes for i in range(count)}
    return write(tmp_path / "pets", {**files, "cat/9.png": files["cat/3.png"], "dog/0.png": files["cat/5.png"]})


def members(place, fraction, seed):
    tree = open_file_tree(place)
    return split_off(tree, {name: [f"{name}/{f}" for f in tree.files(name)] for name in tree.folders()}, fraction, seed)


def test_every_class_is_split_and_copies_stay_together(plain):
    seen = set()
    for seed in range(20):
        parts = members(plain, 0.3, seed)
        for name, count in (("cat", 10), ("dog", 6), ("eel", 1)):
            assert len(parts.train[name]) + len(parts.val[name]) == count and parts.train[name]
        assert len(parts.val["cat"]) in (2, 3) and len(parts.val["dog"]) in (1, 2, 3) and not parts.val["eel"]
        train, val = (
            {(plain / file).read_bytes() for files in part.values() for file in files}
            for part in (parts.train, parts.val)
        )
        assert not train & val
        seen.add(tuple(parts.val["cat"]))
    assert len(seen) > 10
    copies, alone = parts.notes
    assert copies.startswith("2 of 17 images are copies of another one, by their content")
    assert alone == "1 of 3 classes have no image for validation (eel): too few differ"
    assert members(plain, 0.3, 19) == parts


def test_nothing_to_hold_out(plain, tmp_path):
    for fraction in (0, 1, -0.5, 1.5):
        with pytest.raises(UsageError, match="expected a share between 0 and 1"):
            members(plain, fraction, 0)
    write(tmp_path / "same", {f"one/{i}.png": png(0) for i in range(3)})
    with pytest.raises(UsageError, match="no class has two different images"):
        members(tmp_path / "same", 0.5, 0)


@pytest.mark.parametrize("kind", ["plain", "train", "zip"])
def test_both_readers_split_alike(plain, tmp_path, kind):
    place = plain
    if kind == "train":
        (tmp_path / "set").mkdir()
        place = plain.rename(tmp_path / "set" / "train").parent
    if kind == "zip":
        files = {str(file.relative_to(plain.parent)): file.read_bytes() for file in sorted(plain.rglob("*.png"))}
        place = write_zip(tmp_path / "pets.zip", files)
    for small, large in (("train", "train"), ("test", "val")):
        images = load_image_set("folder", small, place, val_fraction=0.3, seed=5)
        source = open_imagenet(place, ["n1"], split=large, val_fraction=0.3, seed=5)
        assert images.classes == source.classes == ("cat", "dog", "eel") and len(images) == len(source)
        decoded = [np.asarray(Image.open(f)) for f in (BytesIO(e.content) for e in images_of(source))]
        assert np.array_equal(images.images, np.stack(decoded))
        assert images.labels.tolist() == [each.label for each in images_of(source)]
    assert any("copies" in note for note in open_imagenet(place, ["n1"], split="train", val_fraction=0.3, seed=5).notes)


def test_what_has_a_validation_part_is_not_split_again(plain, tmp_path):
    write(tmp_path / "set", {f"{split}/a/{i}.png": png(i) for split in ("train", "val") for i in range(2)})
    with pytest.raises(UsageError, match="has val images of its own .val/., leave it out"):
        load_image_set("folder", "train", tmp_path / "set", val_fraction=0.5)
    with pytest.raises(UsageError, match="has val images of its own .val/., leave it out"):
        open_imagenet(tmp_path / "set", ["n1"], val_fraction=0.5)
    with pytest.raises(UsageError, match="digits has test images of its own, leave it out"):
        load_image_set("digits", "train", val_fraction=0.5)


def test_a_folder_without_splits_offers_to_make_them(plain, tmp_path):
    with pytest.raises(GluonAFFError, match="found class folders .cat, dog, eel.; or `val_fraction` 0.1 holds out"):
        load_image_set("folder", "train", plain)
    (tmp_path / "set").mkdir()
    plain.rename(tmp_path / "set" / "train")
    with pytest.raises(GluonAFFError, match="has no test images.*found train/ with class folders.*; or `val_fraction`"):
        load_image_set("folder", "test", tmp_path / "set")
    with pytest.raises(GluonAFFError, match="expected val/<class>.*or `val_fraction`"):
        open_imagenet(tmp_path / "set", ["n1"])
