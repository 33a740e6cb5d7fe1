"""Index, manifest, journal and labels of record files that are damaged: an error that names the file."""

import json
import struct

import pytest
from image_files import WNIDS, write_folder

from gluon_aff.cli import main
from gluon_aff.data import open_imagenet
from gluon_aff.data.imagenet.sources import TreeSource
from gluon_aff.data.records.checking import check_records, record_info
from gluon_aff.data.records.packing import PackOptions, pack
from gluon_aff.data.records.reading import HEAD, RecordFile, class_number
from gluon_aff.data.records.writing import RecordWriter
from gluon_aff.errors import GluonAFFError


@pytest.fixture
def records(tmp_path):
    images = TreeSource(write_folder(tmp_path / "images", WNIDS), WNIDS, split="train")
    pack(images, tmp_path / "a.rec", PackOptions())
    return tmp_path / "a.rec"


@pytest.mark.parametrize("line", ["1\t" + "9" * 20, "9" * 30 + "\t8", "1\t-" + "9" * 20])
def test_numbers_of_an_index_that_no_file_can_have(records, line):
    records.with_suffix(".idx").write_text(f"0\t0\n{line}\n")
    with pytest.raises(GluonAFFError, match=r"a.idx is not the index of a record file"):
        RecordFile(records)
    assert any("a.idx is not the index" in fault for fault in check_records(records).faults)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"classes": [1, 2]}, "'classes' holds 1"),
        ({"classes": "ab"}, "'classes' is 'ab'"),
        ({"sha256": ["x"]}, r"'sha256' is \['x'\]"),
        ({"sha256": {"a.rec": 5}}, "'sha256' holds 5"),
        ({"sha256": {"../../etc/passwd": "0"}}, "is not the name of a file"),
        ({"records": "20"}, "'records' is '20'"),
        ({"options": None}, "'options' is None"),
        ({"bad": [[]]}, r"'bad' holds \[\]"),
        ({"counts": ["x"]}, "'counts' holds 'x'"),
    ],
)
def test_a_manifest_with_entries_of_other_types(records, entry, told):
    path = records.with_suffix(".manifest.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **entry}))
    for use in (check_records, lambda place: open_imagenet(place, WNIDS)):
        with pytest.raises(GluonAFFError, match=rf"a.manifest.json is not a manifest of records: .*{told}"):
            use(records)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "\udcff".encode("utf-8", "surrogateescape")])
def test_a_manifest_that_no_one_can_parse(records, text):
    records.with_suffix(".manifest.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(GluonAFFError, match=r"cannot read .*a.manifest.json"):
        check_records(records)


@pytest.mark.parametrize("label", [float("nan"), float("inf"), -1.0, 0.5, 10.0])
def test_labels_that_are_no_class_numbers(records, label):
    records.with_suffix(".manifest.json").unlink()
    content = bytearray(records.read_bytes())
    content[HEAD.size + 4 : HEAD.size + 8] = struct.pack("<f", label)
    records.write_bytes(content)
    told = f"a.rec, key 0 has the label {label:g}: expected a class number below 10"
    with pytest.raises(GluonAFFError, match=told):
        open_imagenet(records, WNIDS).encoded(0)
    assert any(told in fault for fault in check_records(records, classes=10).faults)
    if label != 10:
        with pytest.raises(GluonAFFError, match="key 0 has the label"):
            record_info(records)


def test_a_label_is_a_class_number():
    assert class_number(3.0, "x") == 3 and class_number(3.0, "x", 4) == 3
    with pytest.raises(GluonAFFError, match="x has the label 4: expected a class number below 4"):
        class_number(4.0, "x", 4)


def test_info_counts_images_that_cannot_be_read(tmp_path):
    with RecordWriter(tmp_path / "a.rec", {}) as writer:
        writer.add(0, 1, b"no image")
        writer.finish()
    assert record_info(tmp_path / "a.rec").formats == {"unreadable": 1}


def test_check_says_what_it_cannot_see_without_a_manifest(records, capsys):
    assert main.main(["records", "check", str(records)]) == 0
    assert "note:" not in capsys.readouterr().err
    records.with_suffix(".manifest.json").unlink()
    assert main.main(["records", "check", str(records)]) == 0
    assert "a.manifest.json is missing: without its checksums a changed label is not noticed" in capsys.readouterr().err


BAD_LINES = [
    b"{\n",
    b"5\n",
    b"[]\n",
    b'{"bytes": 9}\n',
    b'{"bytes": "x", "sha256": 5, "entries": [], "bad": []}\n',
    b'{"bytes": 999999, "sha256": "x", "entries": [5], "bad": []}\n',
    b'{"bytes": 1, "sha256": "x", "entries": [], "bad": []}\n',
    b"[" * 100_000 + b"\n",
    b"\xff\xfe\n",
]


@pytest.mark.parametrize("line", BAD_LINES, ids=range(len(BAD_LINES)))
def test_a_bad_line_of_the_journal_counts_as_the_end(tmp_path, line):
    whole, path = tmp_path / "whole.rec", tmp_path / "a.rec"
    for target in (whole, path):
        with RecordWriter(target, {"seed": 1}) as writer:
            for key in range(4):
                writer.add(key, 1, b"content %d" % key)
            writer.sync()
            if target == path:
                continue
            writer.add(4, 1, b"more")
            writer.finish()
    with open(tmp_path / "a.rec.journal", "ab") as handle:
        handle.write(line)
    with RecordWriter(path, {"seed": 1}) as writer:
        assert writer.position == 4
        writer.add(4, 1, b"more")
        writer.finish()
    assert path.read_bytes() == whole.read_bytes()
