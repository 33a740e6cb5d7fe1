"""ImageNet's training loader: every image once, draws that depend on nothing they should not, and bad images."""

import re
import zipfile

import numpy as np
import pytest
from image_files import WNIDS, jpeg, photograph, saved, write_folder
from PIL import Image

from gluon_aff.data import ImageNetLoader, ImageNetTrainLoader, ImageNetTransform, autoaugment_policy, open_imagenet
from gluon_aff.data.decoding import decode_image
from gluon_aff.data.records import PackOptions, pack
from gluon_aff.data.transform import normalisation
from gluon_aff.errors import GluonAFFError, UsageError

RECORDS = normalisation("records")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """23 images of 10 classes."""
    root = write_folder(tmp_path_factory.mktemp("images"), WNIDS)
    for number in range(3):
        (root / WNIDS[9] / f"more_{number}.JPEG").write_bytes(jpeg(200 + number))
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


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 4, 5, 7, 23, 64])
def test_every_image_once_in_each_of_five_epochs(source, batch_size, workers):
    counting = Counting(source)
    made = loader(counting, batch_size, workers=workers)
    orders = []
    for epoch in range(5):
        counting.asked.clear()
        sizes = [len(y) for _, y in made.batches(epoch)]
        assert sorted(counting.asked) == list(range(23))
        assert sum(sizes) == 23
        assert len(sizes) == len(made) == -(-23 // batch_size)
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= batch_size
        orders.append(tuple(counting.asked))
    if batch_size == 1 and not workers:
        assert len(set(orders)) == 5


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


def test_an_image_is_augmented_anew_in_each_epoch(source):
    made = loader(source)
    image = photograph(2)
    first, same, other = (made.pixels(np.asarray(image), epoch, 7) for epoch in (0, 0, 1))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_folder_zip_and_records_are_augmented_alike(tmp_path, source):
    """AutoAugment is applied whatever the images come from."""
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as handle:
        for number in range(len(source)):
            name, _ = source.member(number)
            handle.write(source.path / name, name)
    pack(source, tmp_path / "set.rec", PackOptions())
    policy = autoaugment_policy("imagenet")
    expected = np.concatenate([x for x, _ in loader(source, autoaugment=policy).batches(0)])
    assert not np.array_equal(expected, np.concatenate([x for x, _ in loader(source).batches(0)]))
    for path in (archive, tmp_path / "set.rec"):
        x, y = zip(*loader(open_imagenet(path, WNIDS, split="train"), autoaugment=policy).batches(0))
        assert np.array_equal(np.concatenate(x), expected)


def test_train_and_val_folders_are_told_apart(tmp_path):
    write_folder(tmp_path / "set" / "train", ["ant", "train"], 3)
    write_folder(tmp_path / "set" / "val", ["ant", "train"], 1)
    train = open_imagenet(tmp_path, (), split="train")
    assert (len(train), train.classes) == (6, ("ant", "train"))
    assert len(open_imagenet(tmp_path, train.classes, split="val")) == 2
    assert len(open_imagenet(tmp_path / "set" / "train", (), split="train")) == 6


def test_a_folder_of_training_images_is_no_validation_set(tmp_path):
    write_folder(tmp_path / "train", WNIDS, 1)
    with pytest.raises(GluonAFFError, match="holds no .*expected val/"):
        open_imagenet(tmp_path, WNIDS, split="val")


def test_an_empty_class_is_noted_and_keeps_its_number(tmp_path):
    write_folder(tmp_path, ["ant", "wasp"], 1)
    (tmp_path / "bee").mkdir()
    found = open_imagenet(tmp_path, (), split="train")
    assert found.notes == (f"{tmp_path}/bee holds no image",)
    assert found.classes == ("ant", "bee", "wasp")
    assert [image.label for image in found.images()] == [0, 2]


def odd_files(root):
    """Three that cannot be read and six that can, in one class."""
    folder = root / WNIDS[0]
    folder.mkdir(parents=True)
    image = photograph(2)
    grey16 = (np.arange(64 * 64).reshape(64, 64) * 16).astype(np.uint16)
    orientation = Image.Exif()
    orientation[274] = 6
    for name, content in {
        "bad_text.JPEG": b"<html>not found</html>",
        "bad_cut.JPEG": jpeg(2, size=(200, 200))[:-900],
        "bad_empty.JPEG": b"",
        "cmyk.JPEG": saved(image.convert("CMYK"), quality=95),
        "grey.JPEG": jpeg(2, "L"),
        "palette.png": saved(image.quantize(256), "PNG"),
        "png.JPEG": saved(image, "PNG"),
        "sixteen.png": saved(Image.fromarray(grey16), "PNG"),
        "turned.JPEG": saved(photograph(0), exif=orientation),
    }.items():
        (folder / name).write_bytes(content)
    return open_imagenet(root, WNIDS, split="train")


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_images_are_named_once_and_left_out(tmp_path, workers):
    source, told = odd_files(tmp_path), []
    made = loader(source, 5, workers=workers, max_bad=3, on_bad=told.append)
    for epoch in range(2):
        batches = list(made.batches(epoch))
        assert sum(len(y) for _, y in batches) == sum(len(x) for x, _ in batches) == 6
    assert sorted(told) == made.bad
    assert [re.split(" cannot| is empty", message)[0].rsplit("/", 1)[1] for message in made.bad] == [
        "bad_cut.JPEG",
        "bad_empty.JPEG",
        "bad_text.JPEG",
    ]


@pytest.mark.parametrize(("most", "message"), [(0, r"bad_\w+.JPEG cannot"), (2, "the 3th one, more than --max-bad 2")])
def test_more_bad_images_than_allowed_end_the_run(tmp_path, most, message):
    made = loader(odd_files(tmp_path), 5, max_bad=most)
    with pytest.raises(GluonAFFError, match=message):
        list(made.batches(0))


def test_validation_has_the_same_limit(tmp_path):
    source = odd_files(tmp_path)
    options = {"size": 16, "skip_bad": True}
    made = ImageNetLoader(source, 2, RECORDS, max_bad=3, **options)
    assert sum(len(y) for _, y in made.batches()) == 6  # the first batch has bad ones only
    assert len(made.bad) == 3
    with pytest.raises(GluonAFFError, match="more than --max-bad 2"):
        list(ImageNetLoader(source, 2, RECORDS, max_bad=2, **options).batches())


def test_a_batch_of_bad_images_only_is_an_error(tmp_path):
    source = odd_files(tmp_path)
    with pytest.raises(GluonAFFError, match="a whole batch"):
        list(loader(source, 1).batches(0))


def read(content):
    return decode_image(content, "x", opencv=True)


def test_every_kind_of_image_becomes_rgb(tmp_path):
    image = np.asarray(photograph(2)).astype(int)
    folder = odd_files(tmp_path).path / WNIDS[0]
    for name in ("cmyk.JPEG", "palette.png", "png.JPEG"):
        found = read((folder / name).read_bytes())
        assert np.abs(found - image).mean() < 8, name
    grey = read((folder / "grey.JPEG").read_bytes())
    assert np.array_equal(grey[..., 0], grey[..., 2])
    sixteen = read((folder / "sixteen.png").read_bytes())
    assert np.array_equal(sixteen[..., 1].ravel(), np.arange(64 * 64) * 16 >> 8)


def test_the_cameras_note_on_orientation_is_ignored(tmp_path):
    folder = odd_files(tmp_path).path / WNIDS[0]
    assert read((folder / "turned.JPEG").read_bytes()).shape == (30, 40, 3)


def test_opencv_and_pillow_read_the_same_pixels():
    for number in range(5):
        for content in (jpeg(number), jpeg(number, "L")):
            trailed = content + b"\0"  # no longer ends as JPEG does: read by Pillow
            assert np.array_equal(read(content), read(trailed))


def test_closing_a_pass_ends_the_threads(source):
    import threading

    batches = loader(source, workers=2).batches(0)
    next(batches)
    assert any(thread.name.startswith("image") for thread in threading.enumerate())
    batches.close()
    assert not any(thread.name.startswith("image") for thread in threading.enumerate())


def test_impossible_options(source):
    with pytest.raises(UsageError, match="at most -1 bad images"):
        loader(source, max_bad=-1)
    with pytest.raises(UsageError, match="crop ratio 1.5"):
        ImageNetLoader(source, 2, RECORDS, crop_ratio=1.5)
