"""``gluon-aff records`` as it is typed."""

import json

import pytest
from image_files import WNIDS, write_folder

from gluon_aff.cli import main as cli
from gluon_aff.utils import console


def run(*arguments):
    return console.run(cli.main, ["records", *map(str, arguments)])


@pytest.fixture
def images(tmp_path):
    write_folder(tmp_path / "set" / "train", ["wasp", "ant"], 3)
    write_folder(tmp_path / "set" / "val", ["wasp", "ant"], 1)
    (tmp_path / "set" / "train" / "bee").mkdir()
    return tmp_path / "set"


def test_make_check_info(tmp_path, images, capsys):
    out = tmp_path / "train.rec"
    assert run("make", images, out, "--resize", 20, "--shuffle", "-j", 2) == 0
    done = capsys.readouterr()
    assert "train.rec: 6 records of 2 classes" in done.out
    assert f"warning: {images}/train/bee holds no image" in done.err
    assert run("check", out) == 0
    assert capsys.readouterr().out == "6 records, 2 classes, 0 faults\n"
    assert run("info", out) == 0
    text = capsys.readouterr().out
    assert "classes    2, numbers 0 to 2, 3 to 3 images each" in text
    assert "from set; resize 20, quality 95, shuffle 0; 0 images left out" in text
    assert run("info", out, "--json") == 0
    assert json.loads(capsys.readouterr().out)["manifest"]["classes"] == ["ant", "bee", "wasp"]
    assert run("make", images, out) == 1
    assert "exists" in capsys.readouterr().err


def test_check_ends_with_1_and_names_the_key(tmp_path, images, capsys):
    out = tmp_path / "val.rec"
    assert run("make", images, out, "--split", "val") == 0
    content = bytearray(out.read_bytes())
    content[40:90] = bytes(50)
    out.write_bytes(content)
    capsys.readouterr()
    assert run("check", out) == 1
    text = capsys.readouterr().out
    assert f"{out}, key 0 has other bytes than were packed" in text
    assert "2 records, 1 classes, 2 faults" in text  # the image and the file's checksum


def test_a_flat_val_needs_its_list(tmp_path, capsys):
    (write_folder(tmp_path, WNIDS[:1], 1) / WNIDS[0]).rename(tmp_path / "val")
    assert run("make", tmp_path, tmp_path / "a.rec", "--split", "val") == 2
    assert "--ground-truth" in capsys.readouterr().err
    (tmp_path / "val.txt").write_text(f"{WNIDS[0]}_0.JPEG 7\n")
    assert run("make", tmp_path, tmp_path / "a.rec", "--split", "val", "--ground-truth", tmp_path / "val.txt") == 0
    assert (tmp_path / "a.lst").read_text() == f"0\t7.000000\tval/{WNIDS[0]}_0.JPEG\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("make", "nowhere", "a.rec"), "no images at nowhere"),
        (("check", "nowhere.rec"), "no record file"),
        (("info", "."), "no record file"),
    ],
)
def test_wrong_places_are_named(arguments, message, capsys):
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err
