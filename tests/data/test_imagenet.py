"""ImageNet's images from folders, zips and record files: labels, pixels, order, draws, counts, and what goes wrong."""

import re
import struct
import threading
import zipfile

import cv2
import mxnet as mx
import numpy as np
import pytest
from image_files import WNIDS, encoded, images_of, jpeg, photograph, write, write_folder
from PIL import Image

from gluon_aff.data import ImageNetLoader, ImageNetTrainLoader, ImageNetTransform, autoaugment_policy, open_imagenet
from gluon_aff.data.decoding import decode_image
from gluon_aff.data.imagenet_batches import NORMALISATIONS, centre, normalisation
from gluon_aff.data.pictures import NetworkInput
from gluon_aff.data.records import RecordFile, pack
from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.evaluation.protocol import record_passes

RECORDS = normalisation("records")


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
    mean, std = NORMALISATIONS["records"]
    values = {f"{kind}_{c}": v for kind, triple in (("mean", mean), ("std", std)) for c, v in zip("rgb", triple)}
    theirs = mx.io.ImageRecordIter(
        path_imgrec=str(path), batch_size=10, data_shape=(3, 28, 28), resize=32, verbose=False, **values
    )
    x, y, _ = loaded(open_imagenet(path, WNIDS), size=28)
    assert y.tolist() == list(range(10))
    np.testing.assert_allclose(x, next(theirs).data[0].asnumpy(), atol=1e-5)


def test_the_two_normalisations():
    pixel = np.full((1, 2, 2, 3), 100, dtype=np.uint8)
    folder, records = (normalisation(name)(pixel)[0, :, 0, 0] for name in ("folder", "records"))
    np.testing.assert_allclose(folder, (100 / 255 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225], rtol=1e-5)
    np.testing.assert_allclose(
        records, (100 - np.array([123.68, 116.779, 103.939])) / [58.393, 57.12, 57.375], rtol=1e-5
    )
    with pytest.raises(UsageError, match="choose one of folder, records"):
        normalisation("torch")


def test_classes_of_folders(tmp_path):
    """Some of ImageNet's keep their numbers; an empty one of one's own is noted and keeps its."""
    source = open_imagenet(write_folder(tmp_path / "a", [WNIDS[7], WNIDS[2]], 1), WNIDS)
    assert [image.label for image in images_of(source)] == [2, 7]
    assert source.classes == tuple(WNIDS)
    with pytest.raises(GluonAFFError, match="2 folders are wnids.*1 are not, such as 'ant'"):
        open_imagenet(write_folder(tmp_path / "b", [*WNIDS[:2], "ant"], 1), WNIDS)
    (write_folder(tmp_path / "c", ["ant", "wasp"], 1) / "bee").mkdir()
    found = open_imagenet(tmp_path / "c", (), split="train")
    assert found.notes == (f"{tmp_path}/c/bee holds no image",)
    assert found.classes == ("ant", "bee", "wasp")
    assert [image.label for image in images_of(found)] == [0, 2]


def test_train_and_val_folders_are_told_apart(tmp_path):
    write_folder(tmp_path / "set" / "train", ["ant", "train"], 3)
    write_folder(tmp_path / "set" / "val", ["ant", "train"], 1)
    train = open_imagenet(tmp_path, (), split="train")
    assert (len(train), train.classes) == (6, ("ant", "train"))
    assert len(open_imagenet(tmp_path, train.classes, split="val")) == 2
    assert len(open_imagenet(tmp_path / "set" / "train", (), split="train")) == 6
    write_folder(tmp_path / "alone" / "train", WNIDS, 1)
    with pytest.raises(GluonAFFError, match="has no val images: expected val/<class>/ or test/"):
        open_imagenet(tmp_path / "alone", WNIDS, split="val")


@pytest.mark.parametrize("line", ["ILSVRC_{}.JPEG 4", "ILSVRC_{},n00000004 1 2 3 4 n00000004 5 6 7 8"])
def test_a_flat_folder_with_its_list(tmp_path, line):
    write(tmp_path / "val", {f"ILSVRC_{number}.JPEG": jpeg(number) for number in range(3)})
    truth = tmp_path / "truth.txt"
    truth.write_text("ImageId,PredictionString\n" * line.count(",") + "\n".join(line.format(n) for n in range(3)))
    source = open_imagenet(tmp_path / "val", WNIDS, truth)
    assert [image.label for image in images_of(source)] == [4, 4, 4]
    truth.write_text(line.format(0) + "\n")
    with pytest.raises(UsageError, match="no label for 2 of 3 images, such as ILSVRC_1.JPEG"):
        open_imagenet(tmp_path / "val", WNIDS, truth)


def test_a_flat_folder_needs_a_list_that_can_be_used(tmp_path):
    (tmp_path / "a.JPEG").write_bytes(jpeg(0))
    with pytest.raises(UsageError, match="not in class folders.*`ground_truth`"):
        open_imagenet(tmp_path, WNIDS)
    truth = tmp_path / "truth.txt"
    for number in ("\u00b2", "9" * 5000):
        truth.write_text(f"{number}\n", encoding="utf-8")
        with pytest.raises(UsageError, match="truth.txt, line 1"):
            open_imagenet(tmp_path, WNIDS, truth)


def test_nothing_to_read(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        open_imagenet(tmp_path / "nowhere", WNIDS)
    with pytest.raises(GluonAFFError, match="has no val images.*found no file that ends in .png"):
        open_imagenet(tmp_path, WNIDS)
    (tmp_path / "x.zip").write_bytes(b"PK")
    with pytest.raises(GluonAFFError, match="neither a folder, a .rec file, a tar nor a whole zip"):
        open_imagenet(tmp_path / "x.zip", WNIDS)


def test_images_smaller_than_the_crop_are_enlarged():
    small = encoded(Image.new("RGB", (3, 5), (10, 200, 30)))
    image = centre(decode_image(small, "x", opencv=True), 28)
    assert image.shape == (28, 28, 3)
    assert np.array_equal(np.unique(image.reshape(-1, 3), axis=0), [[10, 200, 30]])


def test_record_files_are_read_as_mxnet_reads_them(tmp_path):
    """With payloads of every length modulo four, and with the magic number inside, where a record is cut in parts."""
    magic = struct.pack("<I", 0xCED7230A)
    cut = [magic, b"abcd" + magic + b"efgh" + magic, magic * 3 + b"z", b"q" * 999]
    payloads = [b"x" * n for n in range(1, 6)] + cut
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
    writer = mx.recordio.MXRecordIO(str(path), "w")
    writer.write(mx.recordio.pack(mx.recordio.IRHeader(2, [1.0, 2.0], 0, 0), jpeg(0)))
    writer.close()
    with pytest.raises(GluonAFFError, match="record 0 has 2 labels, expected one"):
        RecordFile(path).read(0)


def labels_of_passes(path, batch_size, count):
    iterator = mx.io.ImageRecordIter(path_imgrec=str(path), batch_size=batch_size, data_shape=(3, 4, 4), verbose=False)
    for number in range(count):
        if number:  # at once after the beginning it would race with what the iterator fetches ahead
            iterator.reset()
        yield [batch.label[0].asnumpy().astype(int) for batch in iterator]


@pytest.mark.parametrize(
    ("records", "batch_size", "count"),
    [(50, 8, 9), (24, 8, 3), (8, 8, 3), pytest.param(50000, 512, 4, marks=pytest.mark.slow)],
)
def test_what_the_record_iterator_counts(tmp_path, records, batch_size, count):
    """MXNet's own iterator, pass after pass, on records whose labels are their numbers."""
    path = write_records(tmp_path / "a.rec", [encoded(Image.new("RGB", (4, 4)), "JPEG")] * records, range(records))
    expected = record_passes(records, batch_size, count)
    for span, labels in zip(expected, labels_of_passes(path, batch_size, count)):
        assert len(labels) == span.batches
        assert np.array_equal(np.concatenate(labels), span.indices(records))


def test_the_turn_of_passes_begins_anew_where_it_comes_out_even():
    turn = [98, 98, 97] * 10 + [98, 97]
    passes = record_passes(50000, 512, 64)
    assert [span.batches for span in passes] == turn * 2
    assert [span.images for span in passes[:4]] == [50176, 50176, 49664, 50176]
    assert sum(turn) * 512 == 32 * 50000


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """23 images of 10 classes."""
    root = write_folder(tmp_path_factory.mktemp("images"), WNIDS)
    write(root / WNIDS[9], {f"more_{number}.JPEG": jpeg(200 + number) for number in range(3)})
    return open_imagenet(root, WNIDS, split="train")


def loader(source, batch_size=4, size=8, autoaugment=None, **options):
    return ImageNetTrainLoader(source, batch_size, ImageNetTransform(size, autoaugment=autoaugment), RECORDS, **options)


class Counting:
    """A source that notes which of its images are asked for."""

    def __init__(self, source):
        self.source, self.asked = source, []
        self.path, self.classes, self.notes, self.damage = source.path, source.classes, (), ()

    def __len__(self):
        return len(self.source)

    def encoded(self, number):
        self.asked.append(number)
        return self.source.encoded(number)


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (4, 2), (5, 0), (7, 2), (23, 0), (64, 2)])
def test_every_image_once_in_each_epoch(source, batch_size, workers):
    counting = Counting(source)
    made = loader(counting, batch_size, workers=workers)
    orders = set()
    for epoch in range(3):
        counting.asked.clear()
        sizes = [len(y) for _, y in made.batches(epoch)]
        assert sorted(counting.asked) == list(range(23))
        assert sum(sizes) == 23 and len(sizes) == len(made) == -(-23 // batch_size)
        assert max(sizes) - min(sizes) <= 1 and max(sizes) <= batch_size
        orders.add(tuple(counting.asked))
    assert len(orders) == 3 or workers


@pytest.mark.parametrize("ranks", [2, 3])
def test_shards_cut_the_same_batches(source, ranks):
    """Without overlap or gap, and with the pixels that one process would see."""
    whole = list(loader(source, 3 * ranks, seed=5).batches(1))
    parts = [list(loader(source, 3, seed=5, shard=(rank, ranks)).batches(1)) for rank in range(ranks)]
    for (x, y), *pieces in zip(whole, *parts):
        assert np.array_equal(x, np.concatenate([piece[0] for piece in pieces]))
        assert np.array_equal(y, np.concatenate([piece[1] for piece in pieces]))
    assert {len(part) for part in parts} == {len(whole)}


def test_batches_depend_on_seed_and_epoch_only(source):
    policy = autoaugment_policy("imagenet")
    first = list(loader(source, seed=1, autoaugment=policy).batches(3))
    again = loader(source, seed=1, autoaugment=policy, workers=3)
    list(again.batches(2))
    for start in (0, 2, 5):
        rest = list(again.batches(3, start))
        assert len(rest) == len(first) - start
        assert all(np.array_equal(a, c) and np.array_equal(b, d) for (a, b), (c, d) in zip(first[start:], rest))
    for other in (loader(source, seed=2, autoaugment=policy).batches(3), again.batches(4)):
        assert not np.array_equal(next(other)[0], first[0][0])
    image = np.asarray(photograph(2))
    drawn = [again.pixels(image, epoch, 7) for epoch in (0, 0, 1)]
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])


def odd_files(root):
    """Three that cannot be read and six that can, in one class."""
    image = photograph(2)
    grey16 = (np.arange(64 * 64).reshape(64, 64) * 16).astype(np.uint16)
    orientation = Image.Exif()
    orientation[274] = 6
    contents = {
        "bad_text.JPEG": b"<html>not found</html>",
        "bad_cut.JPEG": jpeg(2, size=(200, 200))[:-900],
        "bad_empty.JPEG": b"",
        "cmyk.JPEG": encoded(image.convert("CMYK"), "JPEG", quality=95),
        "grey.JPEG": jpeg(2, "L"),
        "palette.png": encoded(image.quantize(256)),
        "png.JPEG": encoded(image),
        "sixteen.png": encoded(Image.fromarray(grey16)),
        "turned.JPEG": encoded(photograph(0), "JPEG", exif=orientation),
    }
    write(root / WNIDS[0], contents)
    return open_imagenet(root, WNIDS, split="train")


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_images_are_named_once_and_left_out(tmp_path, workers):
    source, told = odd_files(tmp_path), []
    made = loader(source, 5, workers=workers, max_bad=3, on_bad=told.append)
    for epoch in range(2):
        batches = list(made.batches(epoch))
        assert sum(len(y) for _, y in batches) == sum(len(x) for x, _ in batches) == 6
    assert sorted(told) == made.bad
    names = [re.split(" cannot| is empty", message)[0].rsplit("/", 1)[1] for message in made.bad]
    assert names == ["bad_cut.JPEG", "bad_empty.JPEG", "bad_text.JPEG"]


@pytest.mark.parametrize("error", [MemoryError(), cv2.error("of\nOpenCV\n")], ids=["memory", "OpenCV"])
def test_images_for_which_memory_does_not_do_are_bad_ones(tmp_path, monkeypatch, error):
    source = open_imagenet(write_folder(tmp_path, WNIDS[:2]), WNIDS, split="train")

    def resize(image, *args, **options):
        raise error

    monkeypatch.setattr(cv2, "resize", resize)
    made = ImageNetLoader(source, 2, normalisation("folder"), size=8, max_bad=None)
    assert list(made.batches(0)) == [] and len(made.bad) == 4
    reason = "MemoryError" if isinstance(error, MemoryError) else "of OpenCV"
    assert made.bad[0] == f"{source.path}/{source.member(0)[0]} cannot be resized ({reason})"
    with pytest.raises(GluonAFFError, match=r"a.jpg cannot be resized \(.*\): replace or remove it"):
        NetworkInput(8, "crop").read(jpeg(1), "a.jpg")


@pytest.mark.parametrize(
    ("batch_size", "most", "message"),
    [
        (5, 0, r"bad_\w+.JPEG (cannot|is empty)"),
        (5, 2, "the 3th one, more than `max_bad` 2"),
        (1, 50, "a whole batch of .* cannot be read, such as"),
    ],
)
def test_more_bad_images_than_allowed_end_the_run(tmp_path, batch_size, most, message):
    with pytest.raises(GluonAFFError, match=message):
        list(loader(odd_files(tmp_path), batch_size, max_bad=most).batches(0))


def test_closing_a_pass_ends_the_threads(source):
    batches = loader(source, workers=2).batches(0)
    next(batches)
    assert any(thread.name.startswith("image") for thread in threading.enumerate())
    batches.close()
    assert not any(thread.name.startswith("image") for thread in threading.enumerate())


@pytest.mark.parametrize("training", [False, True])
def test_folder_zip_and_records_give_the_same_batches(tmp_path, source, training):
    """In training augmented alike, by AutoAugment too."""
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as handle:
        for number in reversed(range(len(source))):
            name, _ = source.member(number)
            handle.write(source.path / name, name)
    pack(source, tmp_path / "set.rec")
    policy = autoaugment_policy("imagenet")

    def batches(path, workers=0):
        found = open_imagenet(path, WNIDS, split="train")
        if not training:
            return loaded(found, workers=workers)[:2]
        x, y = zip(*loader(found, autoaugment=policy, workers=workers).batches(0))
        return np.concatenate(x), np.concatenate(y)

    x, y = batches(source.path)
    assert np.array_equal(np.sort(y), [image.label for image in images_of(source)])
    for path, workers in ((archive, 0), (tmp_path / "set.rec", 0), (tmp_path / "set.rec", 3)):
        other, labels = batches(path, workers)
        assert np.array_equal(x, other) and np.array_equal(y, labels)
    if training:
        assert not np.array_equal(x, np.concatenate([x for x, _ in loader(source).batches(0)]))


@pytest.mark.parametrize("workers", [0, 2])
def test_validation_names_a_bad_image_or_leaves_it_out(tmp_path, workers):
    source = odd_files(tmp_path)
    x, y, made = loaded(source, 2, workers=workers, max_bad=3)  # the first batch has bad ones only
    assert len(x) == len(y) == 6 and len(made.bad) == 3 and str(tmp_path) in made.bad[0]
    for options, told in (
        ({}, r"bad_\w+.JPEG (cannot be read as an image|is empty) .*`skip_bad`"),
        ({"max_bad": 2}, "more than `max_bad` 2"),
        ({"max_bad": -1}, "at most -1 bad images"),
        ({"crop_ratio": 1.5}, "crop ratio 1.5"),
    ):
        with pytest.raises(GluonAFFError, match=told):
            loaded(source, workers=workers, **options)
