"""Folders, zips and tars: what is looked up, and what is too large to be read."""

import bz2
import gzip
import lzma
import os
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from image_files import WNIDS, encoded, tar_of, write, write_folder, write_zip

from gluon_aff.data import load_image_set, load_pair_set, open_imagenet, trees
from gluon_aff.data.folder import folder_classes
from gluon_aff.data.imagenet import TreeSource
from gluon_aff.data.picture_files import find_pictures
from gluon_aff.data.records import pack
from gluon_aff.data.trees import PackedTree, TarTree, ZipTree, open_file_tree
from gluon_aff.errors import GluonAFFError

MOST = 1 << 20


@pytest.fixture(autouse=True)
def small_limit(monkeypatch):
    assert trees.MAX_BYTES == 1 << 30
    monkeypatch.setattr(trees, "MAX_BYTES", MOST)


@pytest.mark.parametrize("behind", [False, True], ids=["in the archive", "behind it"])
def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, behind):
    path, zeros = tmp_path / "cifar-10-python.tar.gz", bytes(MOST + 1)
    name = "cifar-10-batches-py/data_batch_1"
    path.write_bytes(gzip.compress(tar_of({name: b""}) + zeros if behind else tar_of({name: zeros})))
    with pytest.raises(GluonAFFError, match="unpacks to more than 1,048,576"):
        load_image_set("cifar10", "train", path)


def claiming(size, kind=tarfile.REGTYPE):
    """A tar's first block alone, of a member that claims a size: what follows is never to be reached."""
    member = tarfile.TarInfo("data_batch_1")
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_claimed_size_takes_no_memory(tmp_path, kind):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(claiming(1 << 33, kind) + bytes(1 << 16)))
    with pytest.raises(GluonAFFError, match="cannot be read to its end"):
        PackedTree(path, {"data_batch_1"})


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_compressions(tmp_path, compress):
    path, content = tmp_path / "a.tar", tar_of({"folder/a": b"hello"})
    path.write_bytes(compress(content))
    tree = PackedTree(path, {"a"})
    assert tree.files() == ["a"] and tree.read("a") == b"hello"
    path.write_bytes(compress(content)[:-600])
    with pytest.raises(GluonAFFError, match="cannot be read to its end|without"):
        PackedTree(path, {"a"}) if compress is not bytes else load_image_set("cifar10", "train", path)


def test_files_that_are_too_large_are_not_read(tmp_path):
    files = {"a.png": bytes(MOST + 1)}
    folder, archive = write(tmp_path / "folder", files), write_zip(tmp_path / "a.zip", files)
    tar = write(tmp_path, {"a.tar": tar_of(files)}) / "a.tar"
    for tree in (open_file_tree(folder), open_file_tree(archive), TarTree(tar)):
        with pytest.raises(GluonAFFError, match="a.png has 1,048,577 bytes, more than 1,048,576: it is not read"):
            tree.read("a.png")


def test_links_and_paths_outside_lead_nowhere(tmp_path):
    (tmp_path / "secret").write_text("secret")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        link = tarfile.TarInfo("data_batch_1")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
        archive.addfile(link)
    assert PackedTree(tmp_path / "a.tar.gz", {"data_batch_1"}).files() == []
    assert list(ZipTree(write_zip(tmp_path / "a.zip", {"../secret": b"x"})).below("", ("secret",))) == []


@pytest.mark.parametrize("written", ["/x/a.png", "//x//a.png", "./x/a.png", "x\\a.png", "x/./a.png"])
def test_members_under_odd_names_are_files_like_others(tmp_path, written):
    tree = ZipTree(write_zip(tmp_path / "a.zip", {"/": b"", written: b"1"}))
    assert (tree.folders(), tree.files(), tree.files("x")) == (["x"], [], ["a.png"])
    assert list(tree.below("", (".png",))) == ["x/a.png"]
    assert tree.read("x/a.png") == b"1" and tree.state("x/a.png")[0] == 1


def test_a_member_is_looked_up_without_listing_its_folder(tmp_path, monkeypatch):
    """Lists of 30,000 images took minutes: every look-up sorted the whole folder."""
    tree = ZipTree(write_zip(tmp_path / "a.zip", {"images/a.png": b"x"}))
    monkeypatch.setattr(ZipTree, "files", lambda *_: pytest.fail("the folder was listed"))
    assert tree.exists("images/a.png")
    assert not tree.exists("images/b.png") and not tree.exists("images") and not tree.exists("other/a.png")


def test_folders_and_zips_list_alike(place):
    names = ["a.txt", "x/b.png", "x/y/c.JPG", "x/.hidden/d.png", "__MACOSX/e.png"]
    tree = open_file_tree(place(dict.fromkeys(names, b"1")))
    assert tree.folders() == ["x"] and tree.files() == ["a.txt"]
    assert list(tree.below("", (".png", ".jpg"))) == ["x/b.png", "x/y/c.JPG"]
    assert tree.exists("x/y/c.JPG") and not tree.exists("x/y")


def test_a_forked_process_opens_a_zip_anew(tmp_path, monkeypatch):
    """As the workers of Gluon's DataLoader do: the position in an open file is shared by parent and children."""
    tree = ZipTree(write_zip(tmp_path / "a.zip", {"a": b"x"}))
    before = tree._zip
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert tree.read("a") == b"x" and tree._zip is not before


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        ([str(number) for number in range(12)], [str(number) for number in range(12)]),  # ImageNetV2's are 0 ... 999
        (["08", "9", "10", "010"], ["08", "9", "010", "10"]),
        (["10", "9", "background"], ["9", "10", "background"]),
        (["b2", "b10", "a"], ["a", "b10", "b2"]),
        (["n02", "n01", "n10"], ["n01", "n02", "n10"]),
    ],
)
@pytest.mark.parametrize("kind", ["folder", "zip", "plain"])
def test_class_folders_are_numbered_alike_by_every_reader(tmp_path, names, ordered, kind):
    """Integers as integers, all others by the alphabet; the label of an image is its folder's number."""
    above = [""] if kind == "plain" else ["train/", "test/", "val/"]
    shades = {name: 10 * number for number, name in enumerate(names)}
    files = {
        f"{split}{name}/{i}.png": encoded(np.full((4, 4, 3), shade + i, np.uint8))
        for split in above
        for name, shade in shades.items()
        for i in range(2)
    }
    place = write_zip(tmp_path / "set.zip", files) if kind == "zip" else write(tmp_path / "set", files)
    fraction = 0.5 if kind == "plain" else None
    small = load_image_set("folder", "train", place, val_fraction=fraction)
    large = open_imagenet(place, WNIDS, split="train", val_fraction=fraction)
    assert small.classes == large.classes == folder_classes(place) == find_pictures([str(place)]).folders
    assert list(small.classes) == ordered
    for label, pixel in zip(small.labels, small.images[:, 0, 0, 0]):
        assert shades[small.classes[label]] == pixel // 10 * 10
    for number in range(len(large)):
        label, where = large.encoded(number).label, large.encoded(number).where
        assert where.split("/")[-2] == ordered[label]
    if kind == "folder":
        made = pack(TreeSource(place, WNIDS, split="train"), tmp_path / "set.rec")
        assert made["classes"] == ordered


def digests_of(tmp_path, form, sets):
    """Of class folders as both readers have them, and of images with masks."""
    folders, pairs = (
        write_zip(tmp_path / form / f"{number}.zip", files)
        if form == "zip"
        else write(tmp_path / form / str(number), files)
        for number, files in enumerate(sets)
    )
    return (
        load_image_set("folder", "train", folders, resize=8).digest,
        open_imagenet(folders, WNIDS, split="train").digest(),
        load_pair_set("folder", "train", pairs).digest,
    )


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, (True, True, True)),
        ({"train/a/0.png": 40}, (False, False, True)),  # of another size
        ({"train/a/2.png": 8}, (False, False, True)),
        ({"masks/1.png": 40}, (True, True, False)),
    ],
)
def test_a_digest_is_of_names_and_sizes_wherever_the_files_lie(tmp_path, change, same):
    folders = {f"{split}/{name}/{i}.png": square(8) for split in ("train", "test") for name in "ab" for i in range(2)}
    pairs = {f"{kind}/{i}.png": square(8) for kind in ("images", "masks") for i in range(2)}
    pairs["train.txt"] = b"0\n1\n"
    first = digests_of(tmp_path, "folder", (folders, pairs))
    for name, side in change.items():
        (pairs if name in pairs else folders)[name] = square(side)
    for form in ("moved", "zip"):
        found = digests_of(tmp_path, form, (folders, pairs))
        assert tuple(a == b for a, b in zip(first, found)) == same


def square(side):
    return encoded(np.random.RandomState(0).randint(0, 2, (side, side), dtype=np.uint8) * 255)


def test_records_and_arrays_have_digests(tmp_path):
    source = TreeSource(write_folder(tmp_path / "set", WNIDS), WNIDS, split="train")
    pack(source, tmp_path / "a.rec")
    pack(source, tmp_path / "b.rec", shuffle=1)
    first, again, other = (open_imagenet(tmp_path / f"{name}.rec", WNIDS).digest() for name in "aab")
    assert first == again != other
    digits = load_image_set("digits", "train")
    changed = digits.images.copy()
    changed[0, 0, 0] += 1
    assert (
        digits.digest == load_image_set("digits", "train").subset(5, 1).digest != replace(digits, images=changed).digest
    )
