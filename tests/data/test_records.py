"""Making record files, a killed build, readers of other libraries, damage of every kind, and the commands."""

import io
import json
import shutil
import struct
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
from image_files import WNIDS, images_of, jpeg, photograph, tar_of, write_folder
from PIL import Image
from scipy.io import savemat

from gluon_aff.cli import main as cli
from gluon_aff.data import ImageNetTrainLoader, ImageNetTransform, open_imagenet
from gluon_aff.data.imagenet import EncodedImage, TreeSource
from gluon_aff.data.imagenet_batches import normalisation
from gluon_aff.data.records import RecordFile, check_records, pack, read_manifest, record_info
from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.utils import console

MAGIC = struct.pack("<I", 0xCED7230A)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A folder of 20 images of 10 classes, and beside it what is packed of them."""
    root = tmp_path_factory.mktemp("packed")
    pack(TreeSource(write_folder(root / "images", WNIDS), WNIDS, split="train"), root / "a.rec")
    return root


@pytest.fixture
def images(tmp_path, packed):
    return TreeSource(shutil.copytree(packed / "images", tmp_path / "images"), WNIDS, split="train")


@pytest.fixture
def records(tmp_path, packed):
    for file in packed.glob("a.*"):
        shutil.copy(file, tmp_path)
    return tmp_path / "a.rec"


def files_of(path):
    return {file.suffix: file.read_bytes() for file in sorted(path.parent.glob(f"{path.stem}.*"))}


class Contents(list):
    """What `pack` reads, of any contents."""

    path, classes = Path("images"), tuple(WNIDS)

    def member(self, number):
        return f"{number}.jpg", number

    def encoded(self, number):
        return EncodedImage(f"{number}.jpg", number, self[number])


def test_records_are_framed_as_mxnet_frames_them(tmp_path):
    """Also where the magic number lies in an image, at a multiple of four or not."""
    contents = [
        jpeg(1)[:-2] + extra + b"\xff\xd9"
        for extra in (b"", b"x", *(b"abcd"[:n] + MAGIC * m for n in range(4) for m in (1, 2)))
    ]
    pack(Contents(contents), tmp_path / "a.rec")
    reader = mx.recordio.MXIndexedRecordIO(str(tmp_path / "a.idx"), str(tmp_path / "a.rec"), "r")
    writer = mx.recordio.MXIndexedRecordIO(str(tmp_path / "b.idx"), str(tmp_path / "b.rec"), "w")
    for number, content in enumerate(contents):
        record = reader.read_idx(number)
        assert mx.recordio.unpack(record)[1] == content
        writer.write_idx(number, record)
    writer.close()
    for suffix in (".rec", ".idx"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_images_are_packed_byte_for_byte(images, records):
    found = open_imagenet(records, WNIDS)
    assert [image[1:] for image in images_of(found)] == [image[1:] for image in images_of(images)]
    lines = [line.split("\t") for line in records.with_suffix(".lst").read_text().splitlines()]
    assert [(int(key), float(label)) for key, label, _ in lines] == [(n, n // 2) for n in range(20)]
    assert lines[3][2] == images.member(3)[0]


def test_mxnets_readers_read_them(images, records):
    data = mx.gluon.data.vision.ImageRecordDataset(str(records))
    assert len(data) == 20
    for number, expected in enumerate(images_of(images)):
        pixels, label = data[number]
        assert label == expected.label
        assert np.array_equal(pixels.asnumpy(), np.asarray(Image.open(io.BytesIO(expected.content))))
    options = {"path_imgrec": str(records), "data_shape": (3, 8, 8), "batch_size": 5, "verbose": False}
    for more in ({}, {"path_imgidx": str(records.with_suffix(".idx")), "shuffle": True, "seed": 3}):
        labels = [batch.label[0].asnumpy() for batch in mx.io.ImageRecordIter(**options, **more)]
        assert sorted(np.concatenate(labels)) == sorted(number // 2 for number in range(20))


def test_nothing_depends_on_the_number_of_workers(tmp_path, images):
    for name, workers in (("one", 1), ("four", 4)):
        (tmp_path / name).mkdir()
        pack(images, tmp_path / name / "a.rec", workers=workers, resize=20, quality=80, shuffle=4)
    assert files_of(tmp_path / "one" / "a.rec") == files_of(tmp_path / "four" / "a.rec")


def test_shuffling_is_by_seed_and_only_larger_images_are_shrunk(tmp_path, images):
    labels = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        pack(images, tmp_path / f"{name}.rec", shuffle=seed)
        labels.append([image.label for image in images_of(open_imagenet(tmp_path / f"{name}.rec", WNIDS))])
    assert labels[0] == labels[1] != labels[2] and sorted(labels[0]) == sorted(labels[2])
    pack(images, tmp_path / "small.rec", resize=30)
    for before, after in zip(images_of(images), images_of(open_imagenet(tmp_path / "small.rec", WNIDS))):
        size, new = (Image.open(io.BytesIO(image.content)).size for image in (before, after))
        if min(size) <= 30:
            assert after.content == before.content
        else:
            assert (min(new), max(new)) == (30, round(30 * max(size) / min(size)))


def test_the_manifest_counts_and_keeps_names_of_classes(tmp_path, records):
    manifest = read_manifest(records)
    assert (manifest["records"], manifest["counts"], manifest["classes"]) == (20, [2] * 10, WNIDS)
    assert manifest["bytes"] == records.stat().st_size
    assert set(manifest["sha256"]) == {"a.rec", "a.idx", "a.lst"}
    info = record_info(records)
    assert (info["records"], info["counts"], info["sides"][0]) == (20, dict.fromkeys(range(10), 2), 17)
    pack(TreeSource(write_folder(tmp_path / "own", ["wasp", "ant"]), WNIDS, split="train"), tmp_path / "b.rec")
    assert open_imagenet(tmp_path / "b.rec", WNIDS).classes == ("ant", "wasp")


def test_bad_images_are_left_out_and_named(tmp_path, images):
    (images.path / images.member(3)[0]).write_bytes(b"no image")
    told = []
    manifest = pack(images, tmp_path / "a.rec", max_bad=1, on_bad=told.append)
    assert told == manifest["bad"] and images.member(3)[0] in told[0]
    assert manifest["records"] == 19
    assert not check_records(tmp_path / "a.rec").faults
    with pytest.raises(GluonAFFError, match="more than `max_bad` 0"):
        pack(images, tmp_path / "b.rec", max_bad=0)


class Interrupted(TreeSource):
    """Ends with an exception at some image."""

    def encoded(self, number):
        if number == 7:
            raise KeyboardInterrupt
        return super().encoded(number)


def test_a_stopped_build_leaves_nothing_and_starts_over(tmp_path, images, records):
    path = tmp_path / "again" / "a.rec"
    with pytest.raises(KeyboardInterrupt):
        pack(Interrupted(images.path, WNIDS, split="train"), path)
    assert not list(path.parent.iterdir())
    pack(images, path)
    assert files_of(path) == files_of(records)


def test_existing_files_are_not_overwritten(images, records):
    with pytest.raises(GluonAFFError, match="exists: remove it"):
        pack(images, records)
    with pytest.raises(UsageError, match="ends in .rec"):
        pack(images, records.with_suffix(".record"))


# -- damage


def damaged(path, number, change):
    """Change the bytes of a record in place."""
    places = [int(line.split()[1]) for line in path.with_suffix(".idx").read_text().splitlines()]
    content = bytearray(path.read_bytes())
    end = [*places, len(content)][number + 1]
    content[places[number] : end] = change(bytes(content[places[number] : end]))
    path.write_bytes(content)


CHANGES = {
    "magic": lambda record: b"\1" + record[1:],
    "too long": lambda record: record[:5] + bytes([record[5] + 16]) + record[6:],
    "too short": lambda record: record[:4] + struct.pack("<I", 40) + record[8:],
    "zeros": lambda record: bytes(len(record)),
}
LABEL = {"label": lambda record: record[:12] + struct.pack("<f", 77) + record[16:]}
IMAGE = {
    "image": lambda record: record[:32] + b"x" * (len(record) - 32),
    "inside": lambda record: record[:-40] + bytes(20) + record[-20:],  # decoders read it
}


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("change", [*CHANGES, *IMAGE])
def test_training_goes_on_without_a_damaged_record(records, change, indexed):
    damaged(records, 7, {**CHANGES, **IMAGE}[change])
    if not indexed:
        records.with_suffix(".idx").unlink()
    told = []

    def labels(strict, **options):
        source = open_imagenet(records, WNIDS, split="train", strict=strict)
        loader = ImageNetTrainLoader(source, 6, ImageNetTransform(8), normalisation("records"), **options)
        return np.concatenate([y for _, y in loader.batches(0)])

    assert np.bincount(labels(False, max_bad=2, on_bad=told.append)).tolist() == [2, 2, 2, 1, 2, 2, 2, 2, 2, 2]
    assert 1 <= len(told) <= 2 and all(str(records) in message for message in told)
    assert not indexed or "key 7" in told[0]
    with pytest.raises(GluonAFFError):
        labels(True, max_bad=0)


@pytest.mark.parametrize("change", [*CHANGES, *LABEL, *IMAGE])
def test_check_names_the_record_by_its_key(records, change):
    records.with_suffix(".manifest.json").unlink()
    assert check_records(records).faults == []
    damaged(records, 7, {**CHANGES, **LABEL, **IMAGE}[change])
    found = check_records(records, classes=10, workers=2)
    assert any("key 7" in fault for fault in found.faults), found.faults
    assert not any(f"key {key}" in fault for fault in found.faults for key in (5, 6, 8, 9))
    assert sum(found.counts.values()) == 19


def test_check_names_arrays_in_the_place_of_image_files(tmp_path):
    array, saved = np.random.RandomState(0).randint(0, 256, (9, 8, 3), dtype=np.uint8), io.BytesIO()
    np.save(saved, array)
    writer = mx.recordio.MXIndexedRecordIO(str(tmp_path / "a.idx"), str(tmp_path / "a.rec"), "w")
    for key, content in enumerate([array.tobytes(), saved.getvalue(), bytes(300), array.astype(np.float32).tobytes()]):
        writer.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(0, 1.0, key, 0), content))
    writer.close()
    found = check_records(tmp_path / "a.rec", 2)
    where = tmp_path / "a.rec"
    assert found.faults == [f"{where}, key {key} cannot be read as an image (unknown format)" for key in range(4)]


def test_check_compares_with_the_index_and_the_manifest(records):
    index = records.with_suffix(".idx")
    whole, lines = records.read_bytes(), index.read_text().splitlines()
    records.write_bytes(whole[:-200])
    faults = "\n".join(check_records(records).faults)
    for told in ("cut short", "key 19: no record begins", "holds 19 records, its manifest counts 20"):
        assert told in faults
    records.write_bytes(whole)
    index.write_text("\n".join([*lines[:3], "3\t12", *lines[4:], lines[5]]) + "\n")
    faults = "\n".join(check_records(records).faults)
    for told in ("key 3: no record begins at byte 12", "key 5 is there more than once"):
        assert told in faults
    assert "does not list the record at byte" in faults and "a.idx has SHA-256" in faults
    index.unlink()
    assert "a.idx is missing" in "\n".join(check_records(records).faults)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (list(range(19)), "lists 19 records, is not its own"),
        ("one two three", "a.idx is not the index of a record file"),
        ("1\t" + "9" * 20, "a.idx is not the index of a record file"),
        ("9" * 30 + "\t8", "a.idx is not the index of a record file"),
        ("1\t-" + "9" * 20, "a.idx is not the index of a record file"),
    ],
)
def test_an_index_that_is_not_the_files(records, lines, told):
    index = records.with_suffix(".idx")
    listed = index.read_text().splitlines()
    index.write_text("\n".join([listed[0], lines] if isinstance(lines, str) else [listed[n] for n in lines]) + "\n")
    with pytest.raises(GluonAFFError, match=told):
        RecordFile(records)
    assert check_records(records).faults


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ([1], "it is not a JSON object"),
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
    path.write_text(json.dumps(entry if entry == [1] else {**json.loads(path.read_text()), **entry}))
    for use in (check_records, lambda place: open_imagenet(place, WNIDS)):
        with pytest.raises(GluonAFFError, match=rf"a.manifest.json is not a manifest of records: .*{told}"):
            use(records)


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 100_000, b"\xff"])
def test_a_manifest_that_no_one_can_parse(records, content):
    records.with_suffix(".manifest.json").write_bytes(content)
    with pytest.raises(GluonAFFError, match=r"cannot read .*a.manifest.json"):
        check_records(records)


@pytest.mark.parametrize("label", [float("nan"), float("inf"), -1.0, 0.5, 10.0])
def test_labels_that_are_no_class_numbers(records, label):
    records.with_suffix(".manifest.json").unlink()
    content = bytearray(records.read_bytes())
    content[8 + 4 : 8 + 8] = struct.pack("<f", label)
    records.write_bytes(content)
    told = f"a.rec, key 0 has the label {label:g}: expected a class number below 10"
    if label == 10:  # it makes one class more
        assert len(open_imagenet(records, WNIDS).classes) == 11
    else:
        with pytest.raises(GluonAFFError, match=told):
            open_imagenet(records, WNIDS).encoded(0)
    assert any(told in fault for fault in check_records(records, classes=10).faults)
    if label != 10:
        with pytest.raises(GluonAFFError, match="key 0 has the label"):
            record_info(records)


# -- the official archives


def test_the_tar_of_tars_is_the_unpacked_folder(tmp_path, images):
    classes = {
        f"{wnid}.tar": tar_of({file.name: file.read_bytes() for file in sorted((images.path / wnid).iterdir())})
        for wnid in WNIDS[::-1]
    }
    path = tmp_path / "ILSVRC2012_img_train.tar"
    path.write_bytes(tar_of(classes))
    source = open_imagenet(path, WNIDS, split="train")
    assert [image[1:] for image in images_of(source)] == [image[1:] for image in images_of(images)]
    pack(TreeSource(path, WNIDS, split="train"), tmp_path / "a.rec")
    assert len(RecordFile(tmp_path / "a.rec")) == 20
    path.write_bytes(path.read_bytes()[:-12000])
    with pytest.raises(GluonAFFError, match="not a whole, uncompressed tar"):
        open_imagenet(path, WNIDS)


def test_the_validation_tar_with_the_official_list(tmp_path):
    """The kit's numbers are in an order of its own, which meta.mat tells."""
    path = tmp_path / "ILSVRC2012_img_val.tar"
    path.write_bytes(tar_of({f"ILSVRC2012_val_{number:08d}.JPEG": jpeg(number) for number in (1, 2, 3)}))
    truth = tmp_path / "ILSVRC2012_validation_ground_truth.txt"
    truth.write_text("2\n1\n3\n")
    with pytest.raises(UsageError, match="put the kit's meta.mat beside it"):
        open_imagenet(path, WNIDS, truth)
    kit = np.zeros((4, 1), dtype=[("ILSVRC2012_ID", object), ("WNID", object), ("words", object)])
    for row, wnid in enumerate((WNIDS[7], WNIDS[4], WNIDS[0], "n99999999")):  # the last: no class but a group of them
        kit[row, 0] = (float(row + 1), wnid, "some words")
    savemat(str(tmp_path / "meta.mat"), {"synsets": kit})
    assert [image.label for image in images_of(open_imagenet(path, WNIDS, truth))] == [4, 7, 0]
    truth.write_text("2\n1\n4\n")
    with pytest.raises(UsageError, match="line 3: 4 is not the number of a class"):
        open_imagenet(path, WNIDS, truth)


@pytest.mark.parametrize(
    ("labels", "asked", "names", "counted"),
    [
        ([2, 0, 1], None, ["0", "1", "2"], True),
        ([2, 0, 1], 3, ["0", "1", "2"], True),
        ([2, 0, 1], 5, ["0", "1", "2", "3", "4"], True),
        ([2, 0, 1], 2, ["0", "1", "2"], True),  # and is refused where the network is made
        ([0, 9], None, WNIDS, False),
        ([2, 0], 10, WNIDS, False),
        ([12, 0], None, [str(number) for number in range(13)], True),
    ],
)
def test_classes_without_a_manifest_are_counted(tmp_path, labels, asked, names, counted):
    """Labels that are arrays of one are labels."""
    writer = mx.recordio.MXIndexedRecordIO(str(tmp_path / "a.idx"), str(tmp_path / "a.rec"), "w")
    for key, label in enumerate(labels):
        value = [float(label)] if key else float(label)
        writer.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(0, value, key, 0), jpeg(key)))
    writer.close()
    source = open_imagenet(tmp_path / "a.rec", WNIDS, classes=asked)
    assert (list(source.classes), source.counted) == (names, counted)
    assert [image.label for image in images_of(source)] == labels
    assert [image.content for image in images_of(source)] == [jpeg(key) for key in range(len(labels))]


def test_wnids_are_numbered_by_themselves_where_fewer_classes_are_asked_for(tmp_path):
    """From folders and from records of them alike."""
    root = write_folder(tmp_path / "set", [WNIDS[7], WNIDS[2]], 1)
    pack(TreeSource(root, WNIDS, split="train"), tmp_path / "a.rec")
    for place in (root, tmp_path / "a.rec"):
        for asked, names, labels in ((2, [WNIDS[2], WNIDS[7]], [0, 1]), (None, WNIDS, [2, 7]), (10, WNIDS, [2, 7])):
            source = open_imagenet(place, WNIDS, split="train", classes=asked)
            assert list(source.classes) == list(names)
            assert [image.label for image in images_of(source)] == labels


def test_other_peoples_records_are_read(tmp_path):
    """As im2rec writes them, with re-encoded images and keys that are not in order."""
    writer = mx.recordio.MXIndexedRecordIO(str(tmp_path / "a.idx"), str(tmp_path / "a.rec"), "w")
    for key in (5, 2, 9):
        header = mx.recordio.IRHeader(0, float(key), key, 0)
        writer.write_idx(key, mx.recordio.pack_img(header, np.asarray(photograph(2)), quality=90, img_fmt=".jpg"))
    writer.write_idx(7, mx.recordio.pack(mx.recordio.IRHeader(0, 1.0, 7, 0), jpeg(2)[:300]))
    writer.close()
    source = open_imagenet(tmp_path / "a.rec", WNIDS)
    assert [image.label for image in images_of(source)] == [5, 2, 9, 1]
    assert source.encoded(1).where.endswith("a.rec, key 2")
    (fault,) = check_records(tmp_path / "a.rec", 10).faults
    assert "a.rec, key 7 cannot be read as an image" in fault
    assert record_info(tmp_path / "a.rec")["formats"] == {"JPEG RGB": 3, "unreadable": 1}


# -- the commands


def run(*arguments):
    return console.run(cli.main, ["records", *map(str, arguments)])


@pytest.fixture
def splits(tmp_path):
    write_folder(tmp_path / "set" / "train", ["wasp", "ant"], 3)
    write_folder(tmp_path / "set" / "val", ["wasp", "ant"], 1)
    (tmp_path / "set" / "train" / "bee").mkdir()
    return tmp_path / "set"


def test_make_check_info(tmp_path, splits, capsys):
    out = tmp_path / "train.rec"
    assert run("make", splits, out, "--resize", 20, "--shuffle", "-j", 2) == 0
    done = capsys.readouterr()
    assert "train.rec: 6 records of 2 classes" in done.out
    assert f"warning: {splits}/train/bee holds no image" in done.err
    assert run("check", out) == 0
    assert capsys.readouterr() == ("6 records, 2 classes, 0 faults\n", "")
    assert run("info", out) == 0
    text = capsys.readouterr().out
    assert "classes    2, numbers 0 to 2, 3 to 3 images each" in text
    assert "from set; resize 20, quality 95, shuffle 0; 0 images left out" in text
    assert run("info", out, "--json") == 0
    assert json.loads(capsys.readouterr().out)["manifest"]["classes"] == ["ant", "bee", "wasp"]
    assert run("make", splits, out) == 1
    assert "exists" in capsys.readouterr().err
    (tmp_path / "train.manifest.json").unlink()
    assert run("check", out) == 0
    assert "without its checksums a changed label is not noticed" in capsys.readouterr().err


def test_check_ends_with_1_and_names_the_key(tmp_path, splits, capsys):
    out = tmp_path / "val.rec"
    assert run("make", splits, out, "--split", "val") == 0
    content = bytearray(out.read_bytes())
    content[40:90] = bytes(50)
    out.write_bytes(content)
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
