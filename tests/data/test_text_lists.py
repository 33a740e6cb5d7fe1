"""Lists of ids, ground truth and standard input, in the encodings and forms in which people have them."""

import io
import os

import numpy as np
import pytest
from image_files import WNIDS, encoded, images_of, jpeg, write

from gluon_aff.data import load_pair_set, open_imagenet
from gluon_aff.data.text_lists import lines_of
from gluon_aff.errors import UsageError
from gluon_aff.tasks.predicting import pictures_of_lines

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"]
NAMES = ["a/0.jpg", "b/0.jpg", "b/my, cat 1.jpg", "b/x.y.jpg", "caf\u00e9.jpg"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_whatever_their_encoding_and_end(encoding, end):
    text = f"a b{end}{end}\tcaf\u00e9\u2028x"
    assert list(lines_of(io.BytesIO(text.encode(encoding)))) == ["a b", "", "\tcaf\u00e9\u2028x"]


def test_lines_are_there_before_the_stream_ends():
    reading, writing = os.pipe()
    with open(reading, "rb") as stream:
        lines = lines_of(stream)
        os.write(writing, b"first\nsec")
        assert next(lines) == "first"
        os.write(writing, b"ond")
        os.close(writing)
        assert list(lines) == ["second"] and not stream.closed


@pytest.fixture
def flat(tmp_path):
    return write(tmp_path / "set" / "val", {name: jpeg(number) for number, name in enumerate(NAMES)})


def truth_of(flat, lines, encoding="utf-8"):
    path = flat.parent.parent / "truth.txt"
    path.write_bytes("\n".join(lines).encode(encoding))
    source = open_imagenet(flat, WNIDS, path)
    return {source.member(number)[0]: image.label for number, image in enumerate(images_of(source))}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "form",
    [
        "{} {}",
        "{}\t{}",
        "{};{}",
        "{} ,  {}\r",
        '"{}",{}',
        "{},n0000000{} 1 2 3 4 n00000005 5 6 7 8",
        "./val/{} {}",
        "C:\\set\\val\\{}\t{}",
        "/home/me/set/val/{};{};more",
    ],
)
def test_ground_truth_in_any_form(flat, form, encoding):
    """Names with folders stay apart; blanks, commas and dots may be of a name."""
    lines = [form.format(name.replace("/", "\\") if "C:" in form else name, n) for n, name in enumerate(NAMES)]
    expected = {name: number for number, name in enumerate(NAMES)}
    assert truth_of(flat, ["image,class", "", *lines], encoding) == expected
    if '"' not in form and "n0" not in form:  # without suffixes, where no comma is part of the name
        bare = [line.replace(".jpg", "") for line, name in zip(lines, NAMES) if "," not in name]
        assert truth_of(flat, [*bare, '"b/my, cat 1.jpg" 2'], encoding) == expected


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["a/0.jpg 0", "b/0.jpg 1", "a/0.jpg 2"], "truth.txt, line 3: a/0.jpg is of class 2, further up of 0"),
        (
            ["0.jpg 0", *(f"{name}\t1" for name in NAMES[2:])],
            "does not tell which image b/0.jpg is .a/0.jpg is one, too",
        ),
        (["a/0.jpg 0", "c/0.jpg 1"], "no label for 4 of 5 images, such as 0.jpg"),
        (["a/0.jpg 10"], "truth.txt, line 1: 'a/0.jpg 10' is not an image's name with its class"),
    ],
)
def test_ground_truth_that_contradicts_itself(flat, lines, told):
    with pytest.raises(UsageError, match=told):
        truth_of(flat, lines)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "form",
    ["{0}", "{0}.png", "images/{0}.png masks/{0}.png", "{0},{0}_mask", "D:\\set\\images\\{0}.png;x", '"{0}"', "{0}\t1"],
)
def test_lists_of_ids(tmp_path, form, encoding):
    names, grey = ["7", "my cat", "caf\u00e9"], encoded(np.full((8, 8), 255, np.uint8))
    files = {f"{kind}/{name}.png": grey for name in names for kind in ("images", "masks")}
    listed = "\r\n".join(["image;mask", *(form.format(name) for name in names), ""]).encode(encoding)
    assert load_pair_set("folder", "train", write(tmp_path / "set", {**files, "train.txt": listed})).names == tuple(
        names
    )


def test_places_on_standard_input(tmp_path):
    """A line that is no place, but begins with one, means that; never a whole folder."""
    names = ["a.png", "my cat.png", "x,y.png"]
    write(tmp_path, {f"set/{name}": encoded(np.zeros((4, 4, 3), np.uint8)) for name in names})
    forms = ["{}", '"{}"', "{}\t3", "{};3", "{} 3"]
    lines = [form.format(tmp_path / "set" / name) for name in names for form in forms]
    found = list(pictures_of_lines(lines))
    assert [each.where for each in found] == [f"{tmp_path}/set/{name}" for name in names for _ in forms]
    missing = [f"{tmp_path}/set missing.png", f"{tmp_path}/set/no.png"]
    assert [f"no picture at {line}" in str(each) for line, each in zip(missing, pictures_of_lines(missing))] == [
        True
    ] * 2
