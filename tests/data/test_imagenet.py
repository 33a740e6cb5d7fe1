"""ImageNet's validation images from folders, zips and record files: labels, pixels, counts, and what goes wrong."""

import io
import struct
import zipfile

import mxnet as mx
import numpy as np
import pytest
from image_files import WNIDS, jpeg, write_folder
from PIL import Image

from gluon_aff.data.decoding import decode_image
from gluon_aff.data.imagenet import open_imagenet
from gluon_aff.data.loader import ImageNetLoader
from gluon_aff.data.records import RecordFile
from gluon_aff.data.transform import NORMALISATIONS, centre, normalisation
from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.evaluation.protocol import record_passes


def write_records(path, contents, labels):
    writer = mx.recordio.MXIndexedRecordIO(str(path.with_suffix(".idx")), str(path), "w")
    for number, (content, label) in enumerate(zip(contents, labels)):
        writer.write_idx(number, mx.recordio.pack(mx.recordio.IRHeader(0, float(label), number, 0), content))
    writer.close()
    return path


def loaded(source, batch_size=3, size=16, workers=0, **options):
    loader = ImageNetLoader(source, batch_size, normalisation("records"), size=size, workers=workers, **options)
    x, y = zip(*loader.batches())
    return np.concatenate(x), np.concatenate(y), loader


def test_pixels_are_those_of_the_record_iterator(tmp_path):
    """Decoding, resizing, cropping and normalising, image by image, for grey, wide, high and small ones."""
    contents = [jpeg(number, "L" if number == 3 else "RGB") for number in range(10)]
    path = write_records(tmp_path / "val.rec", contents, range(10))
    (mean, std), names = NORMALISATIONS["records"], "rgb"
    theirs = mx.io.ImageRecordIter(
        path_imgrec=str(path),
        batch_size=10,
        data_shape=(3, 28, 28),
        resize=32,
        verbose=False,
        **{f"mean_{name}": value for name, value in zip(names, mean)},
        **{f"std_{name}": value for name, value in zip(names, std)},
    )
    expected = next(theirs).data[0].asnumpy()
    x, y, _ = loaded(open_imagenet(path, WNIDS), size=28)
    assert y.tolist() == list(range(10))
    np.testing.assert_allclose(x, expected, atol=1e-5)


def test_the_two_normalisations():
    pixel = np.full((1, 2, 2, 3), 100, dtype=np.uint8)
    folder, records = (normalisation(name)(pixel)[0, :, 0, 0] for name in ("folder", "records"))
    np.testing.assert_allclose(folder, (100 / 255 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225], rtol=1e-5)
    np.testing.assert_allclose(
        records, (100 - np.array([123.68, 116.779, 103.939])) / [58.393, 57.12, 57.375], rtol=1e-5
    )
    with pytest.raises(UsageError, match="choose one of folder, records"):
        normalisation("torch")


def test_folder_zip_and_records_give_the_same_batches(tmp_path):
    root = write_folder(tmp_path / "set" / "val", WNIDS)
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as handle:
        for path in sorted(root.rglob("*.JPEG"), reverse=True):
            handle.write(path, path.relative_to(root))
    members = sorted(root.rglob("*.JPEG"))
    labels = [WNIDS.index(path.parent.name) for path in members]
    records = write_records(tmp_path / "set.rec", [path.read_bytes() for path in members], labels)
    x, y, _ = loaded(open_imagenet(tmp_path / "set", WNIDS))
    assert y.tolist() == labels
    for source, workers in ((archive, 0), (records, 0), (records, 3)):
        other, numbers, loader = loaded(open_imagenet(source, WNIDS), workers=workers)
        assert len(loader.source) == 20
        assert np.array_equal(x, other)
        assert np.array_equal(y, numbers)


def test_some_of_the_classes_keep_their_numbers(tmp_path):
    source = open_imagenet(write_folder(tmp_path, [WNIDS[7], WNIDS[2]], 1), WNIDS)
    assert [image.label for image in source.images()] == [2, 7]
    assert source.classes == tuple(WNIDS)


def test_classes_of_ones_own_are_in_alphabetical_order(tmp_path):
    source = open_imagenet(write_folder(tmp_path, ["wasp", "ant"], 1), WNIDS)
    assert source.classes == ("ant", "wasp")
    assert [image.label for image in source.images()] == [0, 1]


def test_wnids_and_other_folders_do_not_mix(tmp_path):
    with pytest.raises(GluonAFFError, match="2 folders are wnids.*1 are not, such as 'ant'"):
        open_imagenet(write_folder(tmp_path, [*WNIDS[:2], "ant"], 1), WNIDS)


def test_train_images_are_not_validation_images(tmp_path):
    write_folder(tmp_path / "train", WNIDS[:2], 2)
    write_folder(tmp_path / "val", WNIDS[:2], 1)
    assert len(open_imagenet(tmp_path, WNIDS)) == 2


@pytest.mark.parametrize("line", ["ILSVRC_{}.JPEG 4", "ILSVRC_{},n00000004 1 2 3 4 n00000004 5 6 7 8"])
def test_a_flat_folder_with_its_list(tmp_path, line):
    (tmp_path / "val").mkdir()
    for number in range(3):
        (tmp_path / "val" / f"ILSVRC_{number}.JPEG").write_bytes(jpeg(number))
    truth = tmp_path / "truth.txt"
    truth.write_text("ImageId,PredictionString\n" * line.count(",") + "\n".join(line.format(n) for n in range(3)))
    source = open_imagenet(tmp_path / "val", WNIDS, truth)
    assert [image.label for image in source.images()] == [4, 4, 4]
    truth.write_text(line.format(0) + "\n")
    with pytest.raises(UsageError, match="no label for 2 of 3 images, such as ILSVRC_1.JPEG"):
        open_imagenet(tmp_path / "val", WNIDS, truth)


def test_a_flat_folder_needs_a_list_that_can_be_used(tmp_path):
    (tmp_path / "a.JPEG").write_bytes(jpeg(0))
    with pytest.raises(UsageError, match="not in class folders.*--ground-truth"):
        open_imagenet(tmp_path, WNIDS)
    truth = tmp_path / "truth.txt"
    for number in ("\u00b2", "9" * 5000):
        truth.write_text(f"{number}\n", encoding="utf-8")
        with pytest.raises(UsageError, match="truth.txt, line 1"):
            open_imagenet(tmp_path, WNIDS, truth)
    truth = tmp_path / "ILSVRC2012_validation_ground_truth.txt"
    truth.write_text("490\n361\n")
    with pytest.raises(UsageError, match="another order than the wnids: put the kit's meta.mat beside it"):
        open_imagenet(tmp_path, WNIDS, truth)


def test_nothing_to_read(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        open_imagenet(tmp_path / "nowhere", WNIDS)
    with pytest.raises(GluonAFFError, match="holds no .JPEG"):
        open_imagenet(tmp_path, WNIDS)
    (tmp_path / "x.zip").write_bytes(b"PK")
    with pytest.raises(GluonAFFError, match="neither a folder, a .rec file, a tar nor a whole zip"):
        open_imagenet(tmp_path / "x.zip", WNIDS)


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda content: b"no image"])
def test_a_bad_image_is_named_or_left_out_and_counted(tmp_path, damage):
    root = write_folder(tmp_path, WNIDS[:4])
    bad = root / WNIDS[1] / f"{WNIDS[1]}_1.JPEG"
    bad.write_bytes(damage(bad.read_bytes()))
    source = open_imagenet(root, WNIDS)
    for workers in (0, 2):
        with pytest.raises(GluonAFFError, match=f"{bad.name} cannot be read as an image .*--skip-bad"):
            loaded(source, workers=workers)
        x, y, loader = loaded(source, workers=workers, skip_bad=True)
        assert y.tolist() == [0, 0, 1, 2, 2, 3, 3]
        assert len(x) == 7
        assert len(loader.bad) == 1
        assert str(bad) in loader.bad[0]


def test_images_smaller_than_the_crop_are_enlarged():
    content = io.BytesIO()
    Image.new("RGB", (3, 5), (10, 200, 30)).save(content, "PNG")
    image = centre(decode_image(content.getvalue(), "x", opencv=True), 28)
    assert image.shape == (28, 28, 3)
    assert np.array_equal(np.unique(image.reshape(-1, 3), axis=0), [[10, 200, 30]])


def test_record_files_are_read_as_mxnet_reads_them(tmp_path):
    """With payloads of every length modulo four, and with the magic number inside, where a record is cut in parts."""
    magic = struct.pack("<I", 0xCED7230A)
    payloads = [b"x" * n for n in range(1, 6)] + [
        magic,
        b"abcd" + magic + b"efgh" + magic,
        magic * 3 + b"z",
        b"q" * 999,
    ]
    path = write_records(tmp_path / "a.rec", payloads, range(9))
    records = RecordFile(path)
    reader = mx.recordio.MXRecordIO(str(path), "r")
    for number, payload in enumerate(payloads):
        header, content = mx.recordio.unpack(reader.read())
        assert records.read(number) == (header.label, content) == (number, payload)
    assert len(records) == 9


def test_damaged_record_files_are_noticed(tmp_path):
    path = write_records(tmp_path / "a.rec", [b"content %d" % n for n in range(4)], range(4))
    whole = path.read_bytes()
    padding = -(24 + len(b"content 3")) % 4  # behind the last record, whose header takes 24 bytes
    for length in range(1, len(whole) - padding):
        path.write_bytes(whole[:length])
        with pytest.raises(GluonAFFError, match="damaged or cut short|is cut short|a.idx lists 4"):
            RecordFile(path)
    path.write_bytes(b"\0" + whole[1:])
    with pytest.raises(GluonAFFError, match="key 0 at byte 0 is damaged: does not begin"):
        RecordFile(path).read(0)
    path.with_suffix(".idx").unlink()
    with pytest.raises(GluonAFFError, match="at byte 0 of .*, after 0 records"):
        RecordFile(path)


def test_records_without_a_class_number(tmp_path):
    path = write_records(tmp_path / "a.rec", [jpeg(0)], [2.5])
    with pytest.raises(GluonAFFError, match="key 0 has the label 2.5"):
        list(open_imagenet(path, WNIDS).images())
    writer = mx.recordio.MXRecordIO(str(tmp_path / "b.rec"), "w")
    writer.write(mx.recordio.pack(mx.recordio.IRHeader(2, [1.0, 2.0], 0, 0), jpeg(0)))
    writer.close()
    with pytest.raises(GluonAFFError, match="record 0 has 2 labels, expected one"):
        list(open_imagenet(tmp_path / "b.rec", WNIDS).images())


def labels_of_passes(path, batch_size, count):
    iterator = mx.io.ImageRecordIter(path_imgrec=str(path), batch_size=batch_size, data_shape=(3, 4, 4), verbose=False)
    for number in range(count):
        if number:  # at once after the beginning it would race with what the iterator fetches ahead
            iterator.reset()
        yield [batch.label[0].asnumpy().astype(int) for batch in iterator]


@pytest.mark.parametrize(("records", "batch_size", "count"), [(50, 8, 9), (24, 8, 3), (8, 8, 3), (50000, 512, 4)])
def test_what_the_record_iterator_counts(tmp_path, records, batch_size, count):
    """MXNet's own iterator, pass after pass, on records whose labels are their numbers."""
    content = io.BytesIO()
    Image.new("RGB", (4, 4)).save(content, "JPEG")
    path = write_records(tmp_path / "a.rec", [content.getvalue()] * records, range(records))
    expected = record_passes(records, batch_size, count)
    for span, labels in zip(expected, labels_of_passes(path, batch_size, count)):
        assert len(labels) == span.batches
        assert np.array_equal(np.concatenate(labels), span.indices(records))
    if records == 50000:
        assert [span.batches for span in expected] == [98, 98, 97, 98]
        assert [span.images for span in expected] == [50176, 50176, 49664, 50176]


def test_the_turn_of_passes_begins_anew_where_it_comes_out_even():
    turn = [98, 98, 97] * 10 + [98, 97]
    assert [span.batches for span in record_passes(50000, 512, 64)] == turn * 2
    assert sum(turn) * 512 == 32 * 50000
