"""What a split, a class and an image of it are: one rule, in every reader of class folders."""

import os

import pytest
from image_files import encoded, message_of, photograph, write, write_zip

from gluon_aff.data import load_image_set, open_imagenet
from gluon_aff.data.class_folders import ClassFolders
from gluon_aff.data.trees import open_file_tree
from gluon_aff.errors import GluonAFFError

KINDS = {"bmp": "BMP", "gif": "GIF", "jpg": "JPEG", "pgm": "PPM", "ppm": "PPM", "tif": "TIFF", "webp": "WEBP"}


def files_of(*names):
    """An image of its own for each name; ``train/{a,b}/x`` are two, as in a shell."""
    found = []
    for name in names:
        names_here = [name]
        while any("{" in each for each in names_here):
            names_here = [
                each[: each.index("{")] + choice + each[each.index("}") + 1 :]
                for each in names_here
                for choice in each[each.index("{") + 1 : each.index("}")].split(",")
            ]
        found += names_here
    made = {}
    for number, name in enumerate(found):
        ending = name.rsplit(".", 1)[-1].lower()
        image = photograph(number, (12, 12)).convert("L" if ending == "pgm" else "RGB")
        made[name] = b"text" if ending == "txt" else encoded(image, KINDS.get(ending, "PNG"))
    return made


AB = {"a": 2, "b": 2}
RIGHT = {
    "train and val": (["{train,val}/{a,b}/{0,1}.png"], {"train": AB, "val": AB}),
    "train, valid and test": (["{train,valid,test}/{a,b}/{0,1}.png"], {"train": AB, "val": AB, "test": AB}),
    "any case": (["{Train,VALIDATION,Testing}/{a,b}/{0,1}.png"], {"train": AB, "val": AB, "test": AB}),
    "training and a folder around": (["x/y/{training,test}/{a,b}/{0,1}.png"], {"train": AB, "test": AB}),
    "no splits": (["{a,b}/{0,1}.png"], {"": AB}),
    "images/ in each class": (["{train,val}/{a,b}/images/{0,1}.png"], {"train": AB, "val": AB}),
    "parts of classes": (["{a,b}/{young,old}/0.png"], {"": AB}),
    "systems' folders": (["{a,b}/{0,1}.png", "{a,@eaDir,__MACOSX,.git}/@eaDir/0.png/s.jpg"], {"": AB}),
    "a class called train": (["{train,a,test}/{0,1}.png"], {"": {"a": 2, "test": 2, "train": 2}}),
    "in each split, too": (["{train,val}/{train,a}/{0,1}.png"], dict.fromkeys(("train", "val"), {"a": 2, "train": 2})),
    "a folder beside": (["{train,test}/{a,b}/{0,1}.png", "more/c/0.png", "x.png"], {"train": AB, "test": AB}),
    "a test without classes": (["train/{a,b}/{0,1}.png", "test/{0,1}.png"], {"train": AB, "test": {}}),
    "Tiny ImageNet": (["train/{a,b}/images/{0,1}.png", "val/images/0.png"], {"train": AB, "val": {}}),
    "numbers": (["{10,9,2}/0.png"], {"": {"2": 1, "9": 1, "10": 1}}),
    "other endings": (["{a,b}/0.{bmp,gif,jpg,pgm,ppm,tif,webp,PNG}"], {"": {"a": 8, "b": 8}}),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_splits_and_classes(place, kind):
    names, expected = RIGHT[kind]
    path = place(files_of(*names))
    found = ClassFolders(open_file_tree(path)).splits
    counts = {role: {name: len(images) for name, images in split.classes.items()} for role, split in found.items()}
    assert counts == expected
    assert [list(counts[role]) for role in expected] == [list(classes) for classes in expected.values()], "their order"
    for role in ("train", "val"):
        want = expected.get(role) or expected.get("test" if role == "val" else "") or (expected.get("") or {})
        if want and (role in expected or "" not in expected):
            assert_read(path, role, want)


def assert_read(path, role, want):
    """By both readers alike."""
    for found in (
        load_image_set("folder", "train" if role == "train" else "val", path),
        open_imagenet(path, (), split=role),
    ):
        assert (len(found), found.classes) == (sum(want.values()), tuple(want))


REFUSED = {
    "two of one split": (["train/{a,b}/0.png", "{val,valid}/{a,b}/0.png"], "has val/ and valid/, and both are for val"),
    "several sets": (["{one,two}/{train,test}/{a,b}/0.png"], r"several sets of images \(one, two\)"),
    "split or class": (["{train,more}/{a,b}/0.png"], "has train/ and more/.*is train a split or a class"),
    "one class": (["{train,test}/a/{0,1}.png"], r"has one class to train on \(a\)"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_told_is_refused(place, kind):
    names, told = REFUSED[kind]
    path = place(files_of(*names))
    for read in (lambda: load_image_set("folder", "train", path), lambda: open_imagenet(path, (), split="train")):
        with pytest.raises(GluonAFFError, match=told):
            read()


@pytest.mark.parametrize("test", ["val", "Valid", "test", "testing"])
def test_a_set_with_a_split_to_validate_on_is_not_split_again(tmp_path, test):
    path = write(tmp_path / "set", files_of(f"{{train,{test}}}/{{a,b}}/{{0,1}}.png"))
    for read in (load_image_set, lambda _, split, *place, **options: open_imagenet(*place, (), split=split, **options)):
        message = message_of(read, "folder", "train", path, val_fraction=0.5)
        assert f"images of its own ({test}/), leave it out" in message
    only = write(tmp_path / "only", files_of(f"{test}/{{a,b}}/{{0,1}}.png"))
    assert "has no train images: expected train/<class>/" in message_of(open_imagenet, only, (), split="train")


def test_class_folders_alone_are_scored_and_not_trained_on(place):
    path = place(files_of("{a,b}/{0,1}.png"))
    assert len(load_image_set("folder", "test", path)) == len(open_imagenet(path, ())) == 4
    assert "or `val_fraction` 0.1 holds out" in message_of(load_image_set, "folder", "train", path)


def test_what_was_taken_and_left_out_is_said(tmp_path):
    path = write(tmp_path / "set", files_of("Train/{a,b}/{0,1}.png", "valid/{a,b}/in/0.png", "Train/b/x.txt", "0.png"))
    os.symlink("nowhere", path / "valid/a/gone.png")
    os.symlink("..", path / "Train/a/up")
    os.symlink("a", path / "Train/c")
    train, val = (
        (load_image_set("folder", split, path), open_imagenet(path, (), split=split)) for split in ("train", "val")
    )
    assert train[0].notes == train[1].notes and train[0].classes == ("a", "b") and len(train[0]) == 4
    assert train[0].notes == (
        "for train the images in Train/ are taken; there are also valid/",
        "left out: files with other endings: 1 (Train/b/x.txt); images beside the splits: 1 (0.png); links to a folder "
        "above: 1 (Train/a/up); links to folders that are read already: 1 (Train/c)",
    )
    assert (
        val[0].notes
        == val[1].notes
        == (
            "for val the images in valid/ are taken; there are also Train/",
            "2 images in folders below class folders are of these classes, such as valid/a/in/0.png",
            "left out: links that lead nowhere: 1 (valid/a/gone.png)",
        )
    )


def test_a_folder_that_is_closed_is_no_empty_class(tmp_path, monkeypatch):
    path = write(tmp_path / "set", files_of("{train,test}/{a,b}/{0,1}.png"))
    scandir = os.scandir

    def closed(folder):
        if str(folder).endswith("train/b"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", closed)
    for read in (lambda: load_image_set("folder", "train", path), lambda: open_imagenet(path, (), split="train")):
        with pytest.raises(GluonAFFError, match="cannot read .*train/b: permit it"):
            read()


def test_a_list_gives_classes_to_what_lies_anywhere(tmp_path):
    truth = tmp_path / "val.txt"
    truth.write_text("".join(f"{number}.png {number}\n" for number in range(3)))
    write_zip(tmp_path / "a.zip", files_of("val/images/{0,1,2}.png"))
    source = open_imagenet(tmp_path / "a.zip", ("x", "y", "z"), truth)
    assert [source.encoded(number).label for number in range(3)] == [0, 1, 2]
    assert "not in class folders: give a file" in message_of(open_imagenet, tmp_path / "a.zip", ("x", "y", "z"))


def test_images_in_two_splits_are_told(tmp_path):
    """By their content, whatever they are called, and in both readers; within one split they are no matter."""
    files = files_of("train/{a,b}/{0,1,2}.png", "{val,test}/{a,b}/{0,1}.png")
    files["train/a/1.png"] = files["train/a/0.png"]
    path = write(tmp_path / "set", files)
    assert load_image_set("folder", "test", path).shared == load_image_set("folder", "val", path).shared == ""
    files.update(dict.fromkeys(("train/a/broken.png", "val/a/broken.png"), b"404"))
    write(path, files)
    assert open_imagenet(path, (), split="val").shared_with(open_imagenet(path, (), split="train")) == ""
    for broken in ("train/a/broken.png", "val/a/broken.png"):
        (path / broken).unlink()
        del files[broken]
    files.update({"val/a/1.png": files["train/b/2.png"], "test/b/0.png": files["val/b/0.png"]})
    write(path, files)
    told = "1 of 4 {} images are in {} as well, by their content, such as {}"
    val = load_image_set("folder", "val", path)
    assert val.shared == told.format("val", "other splits", "val/a/1.png, which is train/b/2.png") == val.notes[-1]
    test = load_image_set("folder", "test", path)
    assert test.shared == told.format("test", "other splits", "test/b/0.png, which is val/b/0.png")
    train, val = (open_imagenet(path, (), split=split) for split in ("train", "val"))
    assert val.shared_with(train) == told.format("validation", "training", "val/a/1.png, which is train/b/2.png")
    assert f"{path}/test is not read: `gluon-aff evaluate` scores it, given as its data" in val.notes
