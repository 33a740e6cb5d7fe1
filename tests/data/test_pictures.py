"""Which pictures a place means, in folders and in zips, and which mask belongs to one."""

import numpy as np
import pytest
from image_files import encoded, write, write_zip

from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.gradcam import find_pictures


def image(value=0):
    return encoded(np.full((4, 4, 3), value, np.uint8))


@pytest.fixture
def tree(tmp_path):
    names = ("train/cat/1", "test/cat/1", "test/cat/2", "test/dog/1", "test/dog/2", "test/.hidden/1")
    files = {"set/test/cat/note.txt": b"no picture", **{f"set/{name}.png": image() for name in names}}
    write_zip(tmp_path / "set.zip", files)
    return write(tmp_path, files)


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
    write(tmp_path, {"images/a.png": image(9), "masks/a_pixels0.png": image(255), "images/b.png": image(9)})
    a, b = find_pictures([str(tmp_path)]).chosen
    assert (a.name, b.name) == ("a", "b")
    assert a.mask().tolist() == [[1] * 4] * 4 and b.mask() is None
    (alone,) = find_pictures([str(tmp_path / "images/a.png")]).chosen
    assert alone.mask().all()


def test_all_pictures_are_taken_or_told(tmp_path, capsys):
    """Folders that are called like splits beside others hold pictures like these."""
    names = ("a", "test/b", "val/c", "images/d", "x/e", "train/f")
    flat = write(tmp_path / "flat", {f"{name}.png": image() for name in names})
    assert sorted(p.name for p in find_pictures([str(flat)]).chosen) == list("abcdef")
    assert capsys.readouterr().err == ""
    names = [
        "Train/cat/1.png",
        "testing/cat/in/2.GIF",
        "testing/dog/3.webp",
        "testing/dog/4.txt",
        "images/5.png",
        "masks/5.png",
    ]
    place = write(tmp_path / "set", dict.fromkeys(names, image()))
    assert found(place) == ["cat/2", "dog/3"]
    assert capsys.readouterr().err == (
        f"note: {place}: left out: files with other endings: 1 (testing/dog/4.txt); pictures of other splits, name "
        "their folder to take them: 3 (Train/cat/1.png, images/5.png, masks/5.png)\n"
    )
    names = ("images/a.png", "masks/a.png", "images/b/c.png", "masks/b/c.png")
    assert found(write(tmp_path / "pairs", dict.fromkeys(names, image()))) == ["images/a", "images/c"]
    assert "2 files below masks/ are taken as masks, not as pictures" in capsys.readouterr().err


def test_places_that_hold_nothing(tree):
    with pytest.raises(UsageError, match="no picture at .*nowhere: there is no such file"):
        find_pictures([str(tree / "nowhere")])
    with pytest.raises(UsageError, match="set.zip/set/other holds no pictures: expected files that end in .png, .jpg"):
        find_pictures([str(tree / "set.zip/set/other")])
    (tree / "broken.zip").write_bytes(b"PK")
    with pytest.raises(GluonAFFError, match="neither a folder nor a whole zip"):
        find_pictures([str(tree / "broken.zip")])
