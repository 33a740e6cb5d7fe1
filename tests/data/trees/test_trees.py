"""Folders, zips and tars: what is looked up, and what is too large to be read."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile

import pytest

from gluon_aff.data import load_image_set
from gluon_aff.data.trees import MAX_BYTES, PackedTree, TarTree, ZipTree, open_file_tree
from gluon_aff.errors import GluonAFFError


class Zeros(io.RawIOBase):
    def readinto(self, buffer):
        buffer[:] = bytes(len(buffer))
        return len(buffer)

    def readable(self):
        return True


def zeros(name, size, **entries):
    member = tarfile.TarInfo(name)
    member.size = size
    member.pax_headers.update(entries)
    return member, io.BufferedReader(Zeros(), 1 << 20)


def test_an_archive_that_unpacks_to_gigabytes_is_refused(tmp_path):
    path = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        archive.addfile(*zeros("cifar-10-batches-py/data_batch_1", MAX_BYTES + 1))
    with pytest.raises(GluonAFFError, match="unpacks to more than 1,073,741,824"):
        load_image_set("cifar10", "train", path)


def claiming(size, kind=tarfile.REGTYPE):
    """A tar's first block alone, of a member that claims a size: what follows is never to be reached."""
    member = tarfile.TarInfo("data_batch_1")
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_claimed_size_takes_no_memory(tmp_path, kind):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(claiming(MAX_BYTES + 1, kind) + bytes(1 << 20)))
    with pytest.raises(GluonAFFError, match="unpacks to more than"):
        PackedTree(path, {"data_batch_1"})


def test_what_follows_the_archive_counts_too(tmp_path, monkeypatch):
    monkeypatch.setattr("gluon_aff.data.trees.packed.MAX_BYTES", 1 << 22)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(content.getvalue() + bytes(1 << 23)))
    with pytest.raises(GluonAFFError, match="unpacks to more than"):
        PackedTree(tmp_path / "a.tar.gz", {"a"})


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_compressions(tmp_path, compress):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        member = tarfile.TarInfo("folder/a")
        member.size = 5
        archive.addfile(member, io.BytesIO(b"hello"))
    path = tmp_path / "a.tar"
    path.write_bytes(compress(content.getvalue()))
    tree = PackedTree(path, {"a"})
    assert tree.files() == ["a"] and tree.read("a") == b"hello"
    path.write_bytes(compress(content.getvalue())[:-600])
    with pytest.raises(GluonAFFError, match="cannot be read to its end|without"):
        PackedTree(path, {"a"}) if compress is not bytes else load_image_set("cifar10", "train", path)


def test_files_that_are_too_large_are_not_read(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    with open(folder / "a.png", "wb") as handle:
        handle.truncate(MAX_BYTES + 1)  # sparse: takes no room
    archive = zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with archive, archive.open("a.png", "w", force_zip64=True) as member:
        for _ in range(MAX_BYTES // (1 << 20) + 1):
            member.write(bytes(1 << 20))
    with open(tmp_path / "a.tar", "wb") as handle:
        handle.write(tarfile.TarInfo("x").tobuf() + claiming(MAX_BYTES + 1))
        handle.truncate(1024 + MAX_BYTES + 4 * 512)
    for tree in (open_file_tree(folder), open_file_tree(tmp_path / "a.zip"), TarTree(tmp_path / "a.tar")):
        name = tree.files()[0] if "data_batch_1" not in tree.files() else "data_batch_1"
        with pytest.raises(GluonAFFError, match=rf"{name} has 1,07\d,\d+,\d+ bytes, more than 1,073,741,824"):
            tree.read(name)


def test_a_member_is_looked_up_without_listing_its_folder(tmp_path, monkeypatch):
    """Lists of 30,000 images took minutes: every look-up sorted the whole folder."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("images/a.png", b"x")
    tree = ZipTree(tmp_path / "a.zip")
    monkeypatch.setattr(ZipTree, "files", lambda *_: pytest.fail("the folder was listed"))
    assert tree.exists("images/a.png")
    assert not tree.exists("images/b.png") and not tree.exists("images") and not tree.exists("other/a.png")


def test_folders_and_zips_list_alike(tmp_path):
    names = ["a.txt", "x/b.png", "x/y/c.JPG", "x/.hidden/d.png", "__MACOSX/e.png"]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in names:
            place = tmp_path / "folder" / name
            os.makedirs(place.parent, exist_ok=True)
            place.write_bytes(b"1")
            archive.writestr(name, b"1")
    for tree in (open_file_tree(tmp_path / "folder"), open_file_tree(tmp_path / "a.zip")):
        assert tree.folders() == ["x"] and tree.files() == ["a.txt"]
        assert list(tree.below("", (".png", ".jpg"))) == ["x/b.png", "x/y/c.JPG"]
        assert tree.exists("x/y/c.JPG") and not tree.exists("x/y")
