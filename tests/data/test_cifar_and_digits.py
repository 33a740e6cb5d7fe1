"""CIFAR in its official layouts, made up in miniature, scikit-learn's digits, and the names of classes."""

import gzip
import io
import pickle
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from image_files import message_of, tar_of, write, write_zip
from sklearn import datasets

from gluon_aff.data import cifar, load_image_set
from gluon_aff.data.registry import ClassNames, known_classes
from gluon_aff.errors import GluonAFFError, UsageError

FINE = [f"fine{i}" for i in range(100)]
COARSE = [f"coarse{i}" for i in range(20)]
TEN = [f"class{i}" for i in range(10)]


def made_up(count, seed):
    """Pixels as red, green and blue planes, fine and coarse labels."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 3072), dtype=np.uint8), rng.integers(0, 100, count), rng.integers(0, 20, count)


class Python2Pickler(pickle._Pickler):
    """Writes every string, text or bytes, as the byte string it was in Python 2, which wrote the official files."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_string(self, string):
        content = string.encode("latin1") if isinstance(string, str) else string
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
        self.memoize(string)

    dispatch[str] = dispatch[bytes] = save_string


def python2_pickle(batch):
    content = io.BytesIO()
    Python2Pickler(content, protocol=2).dump(batch)
    return content.getvalue()


def cifar100_files(kind):
    files = {}
    for split, count, seed in (("train", 60, 0), ("test", 20, 1)):
        pixels, fine, coarse = made_up(count, seed)
        if kind == "binary":
            files[f"{split}.bin"] = np.column_stack([coarse, fine, pixels]).astype(np.uint8).tobytes()
        else:
            batch = {b"data": pixels, b"fine_labels": fine.tolist(), b"coarse_labels": coarse.tolist()}
            files[split] = python2_pickle({**batch, b"batch_label": b"one", b"filenames": [b"x.png"] * count})
    if kind == "binary":
        files["fine_label_names.txt"] = ("\n".join(FINE) + "\n").encode()
        files["coarse_label_names.txt"] = ("\n".join(COARSE) + "\n").encode()
    else:
        names = {b"fine_label_names": FINE, b"coarse_label_names": COARSE}
        files["meta"] = python2_pickle({key: [name.encode() for name in value] for key, value in names.items()})
    return files


def cifar10_files(kind):
    files = {}
    suffix = ".bin" if kind == "binary" else ""
    for seed, name in enumerate([f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]):
        pixels, labels, _ = made_up(10, seed)
        labels = labels % 10
        if kind == "binary":
            content = np.column_stack([labels, pixels]).astype(np.uint8).tobytes()
        else:
            content = python2_pickle({b"data": pixels, b"labels": labels.tolist()})
        files[name + suffix] = content
    if kind == "binary":
        files["batches.meta.txt"] = ("\n".join(TEN) + "\n\n").encode()
    else:
        files["batches.meta"] = python2_pickle({b"label_names": [name.encode() for name in TEN]})
    return files


def pack(path, folder, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(tar_of({f"{folder}/{name}": content for name, content in files.items()})))
    return path


MAKERS = {"cifar10": cifar10_files, "cifar100": cifar100_files}
VERSIONS = [(dataset, layout) for dataset in MAKERS for layout in cifar.LAYOUTS[dataset]]


@pytest.fixture(params=VERSIONS, ids=[layout.archive.split(".")[0] for _, layout in VERSIONS])
def version(request):
    dataset, layout = request.param
    return dataset, layout, MAKERS[dataset]("python" if layout.pickled else "binary")


def expected_split(dataset, split):
    if dataset == "cifar100":
        pixels, fine, _ = made_up(*((60, 0) if split == "train" else (20, 1)))
    else:
        parts = [made_up(10, seed) for seed in (range(5) if split == "train" else [5])]
        pixels, fine = np.concatenate([p for p, _, _ in parts]), np.concatenate([f % 10 for _, f, _ in parts])
    return pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), fine


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("place", ["archive", "folder of the archive", "unpacked", "folder of the unpacked"])
def test_every_layout_at_every_place(tmp_path, version, split, place):
    dataset, layout, files = version
    if "archive" in place:
        data_dir = pack(tmp_path / layout.archive, layout.folder, files)
    else:
        data_dir = write(tmp_path / layout.folder, files)
    got = load_image_set(dataset, split, data_dir.parent if "folder of" in place else data_dir)
    images, labels = expected_split(dataset, split)
    np.testing.assert_array_equal(got.images, images)
    np.testing.assert_array_equal(got.labels, labels)
    assert got.images.dtype == np.uint8 and got.images.flags.c_contiguous and got.labels.dtype == np.int64
    assert got.classes == tuple(TEN if dataset == "cifar10" else FINE)
    assert got.name == dataset and Path(got.source).exists()


@pytest.mark.parametrize("kind", ["binary", "python"])
def test_coarse_labels(tmp_path, kind):
    data_dir = write(tmp_path / "any-name", cifar100_files(kind))
    got = load_image_set("cifar100", "train", data_dir, labels="coarse")
    np.testing.assert_array_equal(got.labels, made_up(60, 0)[2])
    assert got.classes == tuple(COARSE)
    assert load_image_set("cifar100", "test", data_dir, resize=24).images.shape == (20, 24, 24, 3)


def test_found_where_gluon_keeps_it(own_mxnet_home):
    files = cifar100_files("binary")
    write(own_mxnet_home / "datasets" / "cifar100", {name: files[name] for name in ("train.bin", "test.bin")})
    got = load_image_set("cifar100", "train", download=False)
    assert len(got) == 60
    assert got.classes == tuple(str(i) for i in range(100)), "without names the classes are numbers"


def test_pickles_of_python_3_with_text_keys(tmp_path):
    pixels, fine, coarse = made_up(7, 0)
    batch = {"data": pixels, "fine_labels": fine.tolist(), "coarse_labels": coarse.tolist()}
    data_dir = write(tmp_path / "c", {"train": pickle.dumps(batch), "test": pickle.dumps(batch)})
    assert len(load_image_set("cifar100", "train", data_dir)) == 7


# What is wrong with the data -----------------------------------------------------------------------------------------


def test_truncated_archive(tmp_path, version):
    dataset, layout, files = version
    path = pack(tmp_path / layout.archive, layout.folder, files)
    whole = path.read_bytes()
    for length in (len(whole) // 2, len(whole) - 4):
        path.write_bytes(whole[:length])
        message = message_of(load_image_set, dataset, "train", path)
        assert f"{path} ({length} bytes)" in message and "cut short" in message and "download it again" in message


def test_an_archive_with_a_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "cifar-100-binary.tar.gz"
    pack(path, "cifar-100-binary", cifar100_files("binary"))
    with gzip.open(path) as handle:
        plain = handle.read()
    stored = bytearray(gzip.compress(plain, compresslevel=0))  # stored blocks: any pixel is still readable
    stored[len(stored) // 2] ^= 1
    path.write_bytes(stored)
    assert "CRC check failed" in message_of(load_image_set, "cifar100", "train", path)


def test_other_archives(tmp_path):
    path = tmp_path / "cifar-100-binary.tar.gz"
    path.write_text("<html>404</html>")
    assert "(16 bytes) cannot be read to its end as a .tar.gz archive" in message_of(
        load_image_set, "cifar100", "train", path
    )
    path = pack(tmp_path / "data.tar.gz", "x", cifar10_files("binary"))
    assert "without train.bin or train: it is not CIFAR-100" in message_of(load_image_set, "cifar100", "train", path)
    path = write_zip(tmp_path / "images.zip", {"train/cat/0.png": b""})
    assert "zips of images go with `dataset` folder" in message_of(load_image_set, "cifar10", "train", path)


def changed(content, at, value):
    return content[:at] + bytes([value]) + content[at + 1 :]


def relabelled(content, kind, value):
    batch = pickle.loads(content, encoding="bytes")
    batch[f"{kind}_labels".encode()][7] = value
    return python2_pickle(batch)


def batch_of(**entries):
    return lambda _: pickle.dumps({"data": np.zeros((4, 3072), np.uint8), **entries}, protocol=2)


LENGTH = "expected whole records of 3074"
NO_PICKLE = "is not a pickle of CIFAR's python version"
ZEROS, NO_LIST = [0] * 4, "no list of whole numbers 'coarse_labels'"
BROKEN = [  # a file, its content made of the right one, and what is said
    ("cifar100", "train.bin", lambda content: content[:-1], f"has {60 * 3074 - 1} bytes, {LENGTH}"),
    ("cifar100", "train.bin", lambda _: b"", f"has 0 bytes, {LENGTH}"),
    ("cifar100", "train.bin", lambda c: changed(c, 7 * 3074 + 1, 100), "image 7 has fine label 100, expected 0 to 99"),
    ("cifar100", "train.bin", lambda c: changed(c, 7 * 3074, 20), "image 7 has coarse label 20, expected 0 to 19"),
    ("cifar100", "train", lambda c: relabelled(c, "fine", 100), "image 7 has fine label 100, expected 0 to 99"),
    ("cifar100", "train", lambda c: relabelled(c, "coarse", 20), "image 7 has coarse label 20, expected 0 to 19"),
    ("cifar100", "train", lambda _: b"", NO_PICKLE),
    ("cifar100", "train", lambda _: b"not a pickle", NO_PICKLE),
    ("cifar100", "train", lambda content: content[:5000], NO_PICKLE),
    ("cifar100", "train", lambda _: pickle.dumps([1, 2]), "its data is NoneType"),
    (
        "cifar100",
        "train",
        batch_of(data=np.zeros((4, 3072), np.float32)),
        "its data is float32 (4, 3072), expected uint8",
    ),
    ("cifar100", "train", batch_of(data=np.zeros((4, 3071), np.uint8)), "its data is uint8 (4, 3071)"),
    ("cifar100", "train", batch_of(), NO_LIST),
    ("cifar100", "train", batch_of(coarse_labels=["a"] * 4), NO_LIST),
    ("cifar100", "train", batch_of(coarse_labels=ZEROS, fine_labels=[0]), "has 1 fine_labels for 4 images"),
    (
        "cifar100",
        "train",
        batch_of(coarse_labels=ZEROS, fine_labels=[1, 2**70, 0, 0]),
        f"image 1 has fine label {2**70}, expected 0 to 99",
    ),
    ("cifar100", "fine_label_names.txt", lambda _: b"apple\nbear\n", "has 2 fine class names, expected 100"),
    *(
        (
            "cifar10",
            "batches.meta",
            lambda _, names=names: pickle.dumps({"label_names": names}),
            "fine class names, expected 10",
        )
        for names in (5, None, "ab", {})
    ),
]


@pytest.mark.parametrize("dataset, name, change, told", BROKEN)
def test_a_broken_file_is_named(tmp_path, dataset, name, change, told):
    files = MAKERS[dataset]("binary" if "." in name.replace(".meta", "") else "python")
    data_dir = write(tmp_path / "c", {**files, name: change(files[name])})
    message = message_of(load_image_set, dataset, "train", data_dir)
    assert f"{data_dir}/{name}" in message and told in message


def test_missing_batch(tmp_path):
    files = cifar10_files("binary")
    del files["data_batch_3.bin"]
    data_dir = write(tmp_path / "c", files)
    message = message_of(load_image_set, "cifar10", "train", data_dir)
    assert f"{data_dir} has no data_batch_3.bin" in message and "cifar-10-binary.tar.gz" in message
    assert len(load_image_set("cifar10", "test", data_dir)) == 10


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (Path(self.target),)


def test_pickles_run_no_code(tmp_path):
    target = tmp_path / "touched"
    files = {**cifar100_files("python"), "train": pickle.dumps({"data": Malicious(str(target))}, protocol=2)}
    message = message_of(load_image_set, "cifar100", "train", write(tmp_path / "c", files))
    assert "which CIFAR's files do not need" in message and "c/train" in message
    assert not target.exists()
    for name in ("eval", "exec", "getattr", "__import__"):  # not even builtins
        (tmp_path / "c" / "train").write_bytes(b"\x80\x02c__builtin__\n%s\n." % name.encode())
        assert f"__builtin__.{name}" in message_of(load_image_set, "cifar100", "train", tmp_path / "c")


def test_nothing_there(tmp_path, own_mxnet_home):
    message = message_of(load_image_set, "cifar100", "train", tmp_path)
    assert str(tmp_path) in message and "cifar-100-binary.tar.gz" in message and "`dataset` folder" in message
    message = message_of(load_image_set, "cifar10", "train", download=False)
    assert str(own_mxnet_home / "datasets" / "cifar10") in message and "cs.toronto.edu/~kriz/" in message


# Downloading ---------------------------------------------------------------------------------------------------------


def test_downloads_the_binary_version_from_its_home_and_checks_it(monkeypatch, own_mxnet_home):
    asked = {}

    def fetch(url, path, verify):
        asked.update(url=url, path=path)
        pack(path, "cifar-100-binary", cifar100_files("binary"))
        with pytest.raises(GluonAFFError, match="has md5 .* expected 03b5dce01913d631647c71ecec9e9cb8"):
            verify(path)
        return path

    monkeypatch.setattr(cifar, "download", fetch)
    got = load_image_set("cifar100", "train")
    assert asked["url"] == "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz"
    assert asked["path"] == own_mxnet_home / "datasets" / "cifar100" / "cifar-100-binary.tar.gz"
    assert len(got) == 60


def test_a_data_dir_without_data_is_no_reason_to_download(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "download", lambda *args, **options: pytest.fail("must not download"))
    assert "leave `data_dir` out to download it" in message_of(load_image_set, "cifar100", "train", tmp_path)


# What was asked wrongly ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args, options, told",
    [
        (("svhn", "train"), {}, "no data set 'svhn': choose one of cifar10, cifar100, digits, folder"),
        (("cifar100", "valid"), {}, "no split 'valid'"),
        (("cifar10", "train"), {"labels": "coarse"}, "only cifar100 has coarse labels"),
        (("cifar100", "train"), {"labels": "medium"}, "CIFAR-100 has no 'medium' labels, only coarse, fine"),
        (("cifar100", "train"), {"data_dir": "/nowhere/at/all"}, "no data at /nowhere/at/all"),
        (("cifar100", "train"), {"resize": 0}, "resize to 0 pixels"),
        (("folder", "train"), {}, "the data set folder needs a path"),
        (("digits", "train"), {"data_dir": "."}, "come with scikit-learn"),
    ],
)
def test_wrong_arguments(args, options, told):
    with pytest.raises(UsageError) as caught:
        load_image_set(*args, **options)
    assert told in str(caught.value)


# The digits


def test_splits_share_no_image_and_make_up_the_whole():
    train, test = load_image_set("digits", "train", resize=8), load_image_set("digits", "test", resize=8)
    assert (len(train), len(test)) == (1438, 359)
    whole = np.round(datasets.load_digits().images * (255 / 16)).astype(np.uint8)
    parts = np.concatenate([train.images[..., 0], test.images[..., 0]])
    assert sorted(map(bytes, parts)) == sorted(map(bytes, whole))
    shares = np.bincount(test.labels) / (np.bincount(train.labels) + np.bincount(test.labels))
    np.testing.assert_allclose(shares, 0.2, atol=0.003)


def test_the_split_never_changes():
    test = load_image_set("digits", "test")
    assert test.images.shape == (359, 32, 32, 3) and test.images.dtype == np.uint8
    assert (test.images[..., :1] == test.images).all()
    assert test.classes == tuple("0123456789")
    assert test.labels[:12].tolist() == [3, 7, 3, 9, 0, 8, 7, 0, 8, 0, 3, 3]
    assert int(load_image_set("digits", "test", resize=8).images[..., 0].sum()) == 1776711


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(GluonAFFError, match="pip install scikit-learn"):
        load_image_set("digits", "train")


# Names of classes


@pytest.mark.parametrize(
    "data, count, some",
    [
        ({"dataset": "cifar10"}, 10, {0: "airplane", 9: "truck"}),
        ({"dataset": "cifar100", "labels": "fine"}, 100, {0: "apple", 50: "mouse", 99: "worm"}),
        ({"dataset": "cifar100", "labels": "coarse"}, 20, {0: "aquatic_mammals", 19: "vehicles_2"}),
        ({"dataset": "digits"}, 10, {3: "3"}),
        ({"dataset": "imagenet"}, 1000, {0: "tench", 999: "toilet tissue, toilet paper, bathroom tissue"}),
    ],
)
def test_names_of_known_sets(data, count, some):
    names = known_classes(data, count)
    assert len(names.names) == count
    for number, name in some.items():
        assert names[number].startswith(name.split(",")[0]) and names.find(names[number]) is not None
    if data["dataset"].startswith("cifar"):
        assert list(names.names) == sorted(names.names)  # as in the official archives
    if data["dataset"] == "imagenet":
        assert names.find("n01440764") == 0


def test_names_of_a_folder(tmp_path):
    write(tmp_path, {"train/b/1.png": b"", "train/a/1.png": b""})
    for dataset in ("folder", "imagenet"):
        assert known_classes({"dataset": dataset, "data": str(tmp_path)}, 2).names == ("a", "b")
        assert known_classes({"dataset": dataset, "data": str(tmp_path / "gone")}, 2) is None
    assert known_classes({}, 2) is None


def test_numbers_and_names_of_users():
    names = ClassNames(("cat", "dog"), {"n02": 1})
    assert [names.number(text, 3) for text in ("dog", "n02", "0", "2")] == [1, 1, 0, 2]
    assert names[2] == "class 2"
    with pytest.raises(UsageError, match="no class 'dgo': did you mean dog"):
        names.number("dgo", 3)
    with pytest.raises(UsageError, match=r"no class 3: the network has 3 \(0 to 2\)"):
        names.number("3", 3)
    with pytest.raises(UsageError, match="give a number, 0 to 4"):
        ClassNames(()).number("dog", 5)
