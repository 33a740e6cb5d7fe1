"""Which pictures a place means, in folders and in zips, and which mask belongs to one."""

import zipfile

import numpy as np
import pytest
from PIL import Image

from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.gradcam import find_pictures


def image(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4, 3), value, np.uint8)).save(path)


@pytest.fixture
def tree(tmp_path):
    for name in ("train/cat/1", "test/cat/1", "test/cat/2", "test/dog/1", "test/dog/2", "test/.hidden/1"):
        image(tmp_path / "set" / f"{name}.png")
    (tmp_path / "set/test/cat/note.txt").write_text("no picture")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in sorted((tmp_path / "set").rglob("*.*")):
            archive.write(file, file.relative_to(tmp_path).as_posix())
    return tmp_path


def found(*places, count=None):
    return [f"{p.folder}/{p.name}" for p in find_pictures(list(map(str, places)), count).chosen]


@pytest.mark.parametrize("place", ["set", "set.zip"])
def test_of_a_set_with_splits_the_test_images(tree, place):
    assert found(tree / place) == ["cat/1", "cat/2", "dog/1", "dog/2"]
    assert find_pictures([str(tree / place)]).folders == ("cat", "dog")


def test_parts_of_a_zip(tree):
    assert found(tree / "set.zip/set/test/dog") == ["dog/1", "dog/2"]
    assert found(tree / "set.zip/set/train/cat/1.png", tree / "set/test/dog/2.png") == ["cat/1", "dog/2"]


def test_count_spreads_evenly(tree):
    assert found(tree / "set", count=2) == ["cat/1", "dog/2"]
    assert found(tree / "set", count=3) == ["cat/1", "dog/1", "dog/2"]
    assert len(found(tree / "set", count=9)) == 4
    assert find_pictures([str(tree / "set")], 1).folders == ("cat", "dog")


def test_masks_are_no_pictures_but_belong_to_them(tmp_path):
    image(tmp_path / "images/a.png", 9)
    image(tmp_path / "masks/a_pixels0.png", 255)
    image(tmp_path / "images/b.png", 9)
    a, b = find_pictures([str(tmp_path)]).chosen
    assert (a.name, b.name) == ("a", "b")
    assert a.mask().tolist() == [[1] * 4] * 4 and b.mask() is None
    (alone,) = find_pictures([str(tmp_path / "images/a.png")]).chosen
    assert alone.mask().all()


def test_places_that_hold_nothing(tree):
    with pytest.raises(UsageError, match="no picture at .*nowhere: there is no such file"):
        find_pictures([str(tree / "nowhere")])
    with pytest.raises(UsageError, match="set.zip/set/other holds no pictures: expected files that end in .png, .jpg"):
        find_pictures([str(tree / "set.zip/set/other")])
    (tree / "broken.zip").write_bytes(b"PK")
    with pytest.raises(GluonAFFError, match="neither a folder nor a whole zip"):
        find_pictures([str(tree / "broken.zip")])
