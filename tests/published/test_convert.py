"""npz and safetensors: read back by NumPy, and by a reader written after the safetensors format's description."""

import json
import struct
import zlib

import mxnet as mx
import numpy as np
import pytest

from gluon_aff import create_model, published
from gluon_aff.errors import GluonAFFError, UsageError

TYPES = {"F64": "f8", "F32": "f4", "F16": "f2", "I64": "i8", "I32": "i4", "I8": "i1", "U8": "u1", "BOOL": "?"}


def read_safetensors(path):
    """{name: array} and the metadata; checks what the format demands: order, no gaps, no rest."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    assert (8 + length) % 8 == 0 and data[8:9] == b"{"
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__")
    assert all(isinstance(value, str) for value in metadata.values())
    body, arrays, at = data[8 + length :], {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        first, last = entry["data_offsets"]
        dtype = np.dtype(TYPES[entry["dtype"]])
        assert first == at and first % dtype.itemsize == 0
        arrays[name] = np.frombuffer(body[first:last], dtype).reshape(entry["shape"])
        at = last
    assert at == len(body)
    return arrays, metadata


def read_npz(path):
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


READERS = {"npz": read_npz, "safetensors": lambda path: read_safetensors(path)[0]}


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """A network cast to float16, as the ImageNet files are, and its file."""
    net = create_model("cifar_aff_resnet8", channel_times=1, classes=10)
    net.cast("float16")
    path = tmp_path_factory.mktemp("half") / "half.params"
    net.save_parameters(str(path))
    return {name: p.data().asnumpy() for name, p in net._collect_params_with_prefix().items()}, path


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("dtype", ["float32", "stored"])
def test_all_arrays_under_their_names(half, tmp_path, kind, dtype):
    expected, path = half
    written = published.convert(path, kind, tmp_path / "out", dtype)
    assert written == tmp_path / "out"
    if kind == "safetensors":
        assert read_safetensors(written)[1]["source"] == "half.params"
    found = READERS[kind](written)
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name].dtype == (values.dtype if dtype == "stored" else np.float32)
        np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize("kind", READERS)
def test_types_shapes_and_names_of_all_kinds(tmp_path, kind):
    values = {
        "scalar": np.float32(2.5),
        "none": np.zeros((0, 3), "float32"),
        "file": np.array([1], "int8"),  # numpy.savez could not take this name
        "größe.0": np.array([[1, 2]], "int64"),
        "b": np.array([1, 0, 1], "bool"),
        "d": np.array([1e300], "float64"),
        "h": np.array([1, 2, 3], "float16"),
        "brain": np.array([1.5], "float32"),
    }
    with mx.util.np_shape(True):
        arrays = {name: mx.nd.array(value, dtype=value.dtype) for name, value in values.items()}
        arrays["brain"] = arrays["brain"].astype(np.dtype([("bfloat16", np.uint16)]))
        mx.nd.save(str(tmp_path / "x"), arrays)
    found = READERS[kind](published.convert(tmp_path / "x", kind, tmp_path / "out", "stored"))
    assert set(found) == set(values)
    for name, value in values.items():
        assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape), name
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize("kind", READERS)
def test_the_same_file_gives_the_same_bytes(half, tmp_path, kind):
    digests = {zlib.crc32(published.convert(half[1], kind, tmp_path / name).read_bytes()) for name in ("a", "b")}
    assert len(digests) == 1


def test_the_output_has_a_name_by_default(half, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(published.convert(half[1], "npz")) == "half.npz"
    assert (tmp_path / "half.npz").is_file()


def test_a_file_that_breaks_on_the_way_leaves_nothing(half, tmp_path):
    short = tmp_path / "short.params"
    short.write_bytes(half[1].read_bytes()[:-1])
    (tmp_path / "out").write_bytes(b"before")
    with pytest.raises(GluonAFFError, match="at byte"):
        published.convert(short, "npz", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"before"
    with pytest.raises(GluonAFFError, match="cannot write"):
        published.convert(half[1], "npz", tmp_path / "short.params" / "out")


def test_what_cannot_be_asked_for(half, tmp_path):
    with pytest.raises(UsageError, match="npz, safetensors"):
        published.convert(half[1], "pth")
    with pytest.raises(UsageError, match="stored"):
        published.convert(half[1], "npz", dtype="float16")
    mx.nd.save(str(tmp_path / "x"), {"__metadata__": mx.nd.ones(1)})
    with pytest.raises(UsageError, match="use npz"):
        published.convert(tmp_path / "x", "safetensors", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "..\\evil"])
def test_names_that_lead_out_of_a_folder_are_no_members_of_an_archive(tmp_path, name):
    mx.nd.save(str(tmp_path / "w.params"), {name: mx.nd.ones((2,))})
    with pytest.raises(GluonAFFError, match="which would be unpacked outside the folder"):
        published.convert(tmp_path / "w.params", "npz", tmp_path / "w.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["w.params"]
