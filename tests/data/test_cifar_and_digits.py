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


BATCHES = {  # images and seed of each file
    "cifar10": {**{f"data_batch_{i}": (10, i) for i in range(1, 6)}, "test_batch": (10, 6)},
    "cifar100": {"train": (60, 0), "test": (20, 1)},
}
NAMES = {"cifar10": {"label_names": TEN}, "cifar100": {"fine_label_names": FINE, "coarse_label_names": COARSE}}


def files_of(dataset, kind):
    files, ten = {}, dataset == "cifar10"
    for name, (count, seed) in BATCHES[dataset].items():
        pixels, fine, coarse = made_up(count, seed)
        labels = {"labels": fine % 10} if ten else {"coarse_labels": coarse, "fine_labels": fine}
        if kind == "binary":
            files[f"{name}.bin"] = np.column_stack([*labels.values(), pixels]).astype(np.uint8).tobytes()
        else:
            lists = {key.encode(): values.tolist() for key, values in labels.items()}
            more = {b"batch_label": b"one", b"filenames": [b"x.png"] * count}
            files[name] = python2_pickle({b"data": pixels, **lists, **more})
    if kind == "binary":
        texts = {key: ("\n".join(names) + "\n\n").encode() for key, names in NAMES[dataset].items()}
        return {**files, **{"batches.meta.txt" if ten else f"{key}.txt": text for key, text in texts.items()}}
    meta = {key.encode(): [name.encode() for name in names] for key, names in NAMES[dataset].items()}
    return {**files, "batches.meta" if ten else "meta": python2_pickle(meta)}


def pack(path, folder, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(tar_of({f"{folder}/{name}": content for name, content in files.items()})))
    return path


VERSIONS = [(dataset, layout) for dataset in BATCHES for layout in cifar.LAYOUTS[dataset]]


@pytest.fixture(params=VERSIONS, ids=[layout.archive.split(".")[0] for _, layout in VERSIONS])
def version(request):
    dataset, layout = request.param
    return dataset, layout, files_of(dataset, "python" if layout.pickled else "binary")


@pytest.mark.parametrize("place", ["archive", "folder of the archive", "unpacked", "folder of the unpacked"])
def test_every_layout_at_every_place(tmp_path, version, place):
    dataset, layout, files = version
    if "archive" in place:
        data_dir = pack(tmp_path / layout.archive, layout.folder, files)
    else:
        data_dir = write(tmp_path / layout.folder, files)
    for split in ("train", "test"):
        got = load_image_set(dataset, split, data_dir.parent if "folder of" in place else data_dir)
        parts = [made_up(*batch) for name, batch in BATCHES[dataset].items() if ("test" in name) == (split == "test")]
        pixels, fine = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
        np.testing.assert_array_equal(got.images, pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        np.testing.assert_array_equal(got.labels, fine % 10 if dataset == "cifar10" else fine)
        assert got.images.dtype == np.uint8 and got.images.flags.c_contiguous and got.labels.dtype == np.int64
        assert got.classes == tuple(TEN if dataset == "cifar10" else FINE)
        assert got.name == dataset and Path(got.source).exists()


@pytest.mark.parametrize("kind", ["binary", "python"])
def test_coarse_labels(tmp_path, kind):
    data_dir = write(tmp_path / "any-name", files_of("cifar100", kind))
    got = load_image_set("cifar100", "train", data_dir, labels="coarse")
    np.testing.assert_array_equal(got.labels, made_up(60, 0)[2])
    assert got.classes == tuple(COARSE)
    assert load_image_set("cifar100", "test", data_dir, resize=24).images.shape == (20, 24, 24, 3)


def test_found_where_gluon_keeps_it_and_pickles_of_python_3(tmp_path, own_mxnet_home):
    files = files_of("cifar100", "binary")
    write(own_mxnet_home / "datasets" / "cifar100", {name: files[name] for name in ("train.bin", "test.bin")})
    got = load_image_set("cifar100", "train", download=False)
    assert len(got) == 60
    assert got.classes == tuple(str(i) for i in range(100)), "without names the classes are numbers"
    pixels, fine, coarse = made_up(7, 0)
    batch = pickle.dumps({"data": pixels, "fine_labels": fine.tolist(), "coarse_labels": coarse.tolist()})
    assert len(load_image_set("cifar100", "train", write(tmp_path / "c", {"train": batch, "test": batch}))) == 7


# What is wrong with the data -----------------------------------------------------------------------------------------


def test_damaged_and_other_archives(tmp_path, version):
    dataset, layout, files = version
    path = pack(tmp_path / layout.archive, layout.folder, files)
    whole = path.read_bytes()
    for length in (len(whole) // 2, len(whole) - 4):
        path.write_bytes(whole[:length])
        message = message_of(load_image_set, dataset, "train", path)
        assert f"{path} ({length} bytes)" in message and "cut short" in message and "download it again" in message
    stored = bytearray(gzip.compress(gzip.decompress(whole), compresslevel=0))  # any pixel is still readable
    stored[len(stored) // 2] ^= 1
    path.write_bytes(stored)
    assert "CRC check failed" in message_of(load_image_set, dataset, "train", path)
    path.write_text("<html>404</html>")
    told = "(16 bytes) cannot be read to its end as a .tar.gz archive"
    assert told in message_of(load_image_set, dataset, "train", path)


def test_archives_of_something_else(tmp_path):
    path = pack(tmp_path / "data.tar.gz", "x", files_of("cifar10", "binary"))
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


def names_of(names):
    return lambda _: pickle.dumps({"fine_label_names": names})


LENGTH = "expected whole records of 3074"
NO_PICKLE = "is not a pickle of CIFAR's python version"
ZEROS, NO_LIST = [0] * 4, "no list of whole numbers 'coarse_labels'"
BROKEN = [  # a file of CIFAR-100, its content made of the right one, and what is said
    ("train.bin", lambda content: content[:-1], f"has {60 * 3074 - 1} bytes, {LENGTH}"),
    ("train.bin", lambda _: b"", f"has 0 bytes, {LENGTH}"),
    ("train.bin", lambda c: changed(c, 7 * 3074 + 1, 100), "image 7 has fine label 100, expected 0 to 99"),
    ("train.bin", lambda c: changed(c, 7 * 3074, 20), "image 7 has coarse label 20, expected 0 to 19"),
    ("train", lambda c: relabelled(c, "fine", 100), "image 7 has fine label 100, expected 0 to 99"),
    ("train", lambda c: relabelled(c, "coarse", 20), "image 7 has coarse label 20, expected 0 to 19"),
    ("train", lambda _: b"", NO_PICKLE),
    ("train", lambda _: b"not a pickle", NO_PICKLE),
    ("train", lambda content: content[:5000], NO_PICKLE),
    ("train", lambda _: pickle.dumps([1, 2]), "its data is NoneType"),
    ("train", batch_of(data=np.zeros((4, 3072), np.float32)), "its data is float32 (4, 3072), expected uint8"),
    ("train", batch_of(data=np.zeros((4, 3071), np.uint8)), "its data is uint8 (4, 3071)"),
    ("train", batch_of(), NO_LIST),
    ("train", batch_of(coarse_labels=["a"] * 4), NO_LIST),
    ("train", batch_of(coarse_labels=ZEROS, fine_labels=[0]), "has 1 fine_labels for 4 images"),
    ("train", batch_of(coarse_labels=ZEROS, fine_labels=[1, 2**70, 0, 0]), f"image 1 has fine label {2**70}, expected"),
    ("fine_label_names.txt", lambda _: b"apple\nbear\n", "has 2 fine class names, expected 100"),
    *(("meta", names_of(names), "fine class names, expected 100") for names in (5, None, "ab", {})),
]


@pytest.mark.parametrize("name, change, told", BROKEN)
def test_a_broken_file_is_named(tmp_path, name, change, told):
    files = files_of("cifar100", "binary" if "." in name else "python")
    data_dir = write(tmp_path / "c", {**files, name: change(files[name])})
    message = message_of(load_image_set, "cifar100", "train", data_dir)
    assert f"{data_dir}/{name}" in message and told in message


def test_missing_batch(tmp_path):
    files = files_of("cifar10", "binary")
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
    files = {**files_of("cifar100", "python"), "train": pickle.dumps({"data": Malicious(str(target))}, protocol=2)}
    message = message_of(load_image_set, "cifar100", "train", write(tmp_path / "c", files))
    assert "which CIFAR's files do not need" in message and "c/train" in message
    assert not target.exists()
    for name in ("eval", "exec", "getattr", "__import__"):  # not even builtins
        (tmp_path / "c" / "train").write_bytes(b"\x80\x02c__builtin__\n%s\n." % name.encode())
        assert f"__builtin__.{name}" in message_of(load_image_set, "cifar100", "train", tmp_path / "c")


def test_nothing_there(tmp_path, own_mxnet_home, monkeypatch):
    monkeypatch.setattr(cifar, "download", lambda *args, **options: pytest.fail("must not download"))
    message = message_of(load_image_set, "cifar100", "train", tmp_path)
    assert str(tmp_path) in message and "cifar-100-binary.tar.gz" in message and "`dataset` folder" in message
    assert "leave `data_dir` out to download it" in message
    message = message_of(load_image_set, "cifar10", "train", download=False)
    assert str(own_mxnet_home / "datasets" / "cifar10") in message and "cs.toronto.edu/~kriz/" in message


def test_downloads_the_binary_version_from_its_home_and_checks_it(monkeypatch, own_mxnet_home):
    home, asked = "https://www.cs.toronto.edu/~kriz", []

    def fetch(url, path, verify):
        asked.append((url, path))
        pack(path, "cifar-100-binary", files_of("cifar100", "binary"))
        with pytest.raises(GluonAFFError, match="has md5 .* expected 03b5dce01913d631647c71ecec9e9cb8"):
            verify(path)
        return path

    monkeypatch.setattr(cifar, "download", fetch)
    assert len(load_image_set("cifar100", "train")) == 60
    archive = own_mxnet_home / "datasets" / "cifar100" / "cifar-100-binary.tar.gz"
    assert asked == [(f"{home}/cifar-100-binary.tar.gz", archive)]


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


def test_the_split_of_the_digits_never_changes():
    train, test = load_image_set("digits", "train", resize=8), load_image_set("digits", "test", resize=8)
    assert (len(train), len(test)) == (1438, 359)
    whole = np.round(datasets.load_digits().images * (255 / 16)).astype(np.uint8)
    parts = np.concatenate([train.images[..., 0], test.images[..., 0]])
    assert sorted(map(bytes, parts)) == sorted(map(bytes, whole))
    shares = np.bincount(test.labels) / (np.bincount(train.labels) + np.bincount(test.labels))
    np.testing.assert_allclose(shares, 0.2, atol=0.003)
    assert test.labels[:12].tolist() == [3, 7, 3, 9, 0, 8, 7, 0, 8, 0, 3, 3]
    assert int(test.images[..., 0].sum()) == 1776711
    usual = load_image_set("digits", "test")
    assert usual.images.shape == (359, 32, 32, 3) and usual.images.dtype == np.uint8
    assert (usual.images[..., :1] == usual.images).all() and usual.classes == tuple("0123456789")


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
    for known, text, outputs, told in (
        (names, "dgo", 3, "no class 'dgo': did you mean dog"),
        (names, "3", 3, r"no class 3: the network has 3 \(0 to 2\)"),
        (ClassNames(()), "dog", 5, "give a number, 0 to 4"),
    ):
        with pytest.raises(UsageError, match=told):
            known.number(text, outputs)
