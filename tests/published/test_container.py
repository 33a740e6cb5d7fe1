"""The reader of ``.params`` files against files that MXNet writes, and against files that MXNet reads."""

import struct

import mxnet as mx
import numpy as np
import pytest

from gluon_aff.errors import GluonAFFError
from gluon_aff.published import read_container

BFLOAT16 = np.dtype([("bfloat16", np.uint16)])


def file_of(arrays, names=(b"a",)):
    """A container's bytes from its arrays' bytes, for what MXNet 1.9.1 no longer writes."""
    arrays = arrays if isinstance(arrays, list) else [arrays]
    parts = [struct.pack("<QQQ", 0x112, 0, len(arrays)), *arrays, struct.pack("<Q", len(names))]
    return b"".join([*parts, *(struct.pack("<Q", len(name)) + name for name in names)])


def array_of(values, mark=0xF993FAC9, dtype=0, shape=None, storage=0, axes="q"):
    """One array's bytes; ``mark`` 0 is the oldest form, which begins with the number of axes."""
    shape = values.shape if shape is None else shape
    head = struct.pack("<I", mark) if mark else b""
    if mark in (0xF993FAC9, 0xF993FACA):
        head += struct.pack("<i", storage)
    dims = struct.pack(f"<I{len(shape)}{axes}", len(shape), *shape)
    return head + dims + struct.pack("<iii", 1, 0, dtype) + values.tobytes()


VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)


def write(path, data):
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("numpy_shapes", [False, True])
def test_reads_every_type_that_mxnet_writes(tmp_path, numpy_shapes):
    values = np.array([[0, 1, 2], [100, 1, 0]])
    types = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64", "bool")
    with mx.util.np_shape(numpy_shapes):
        arrays = {f"{dtype}.weight": mx.nd.array(values, dtype=dtype) for dtype in types}
        if numpy_shapes:
            arrays.update(scalar=mx.nd.array(3.5), none=mx.nd.zeros((0, 3)))
        mx.nd.save(str(tmp_path / "x"), arrays)
    container = read_container(tmp_path / "x")
    assert container.named and list(container.arrays) == list(arrays)
    for name, array in arrays.items():
        found = container.read(name)
        assert container.arrays[name].dtype == found.dtype.name == np.dtype(array.dtype).name
        assert container.arrays[name].shape == found.shape == array.shape
        np.testing.assert_array_equal(found, array.asnumpy())


def test_reads_bfloat16_as_float32(tmp_path):
    exact = [1.5, -2.25, 0.0, 3e38]
    mx.nd.save(str(tmp_path / "x"), {"a": mx.nd.array(exact).astype(BFLOAT16)})
    container = read_container(tmp_path / "x")
    found = container.read("a")
    assert container.arrays["a"].dtype == "bfloat16" and found.dtype == np.float32
    np.testing.assert_allclose(found, exact, rtol=2**-8)
    assert found[:3].tolist() == exact[:3]


@pytest.mark.parametrize(
    "arrays", [[], [[1], [2, 3]], {"arg:w": [1], "aux:m": [2], "größe": [3]}], ids=["none", "unnamed", "named"]
)
def test_reads_lists_and_names(tmp_path, arrays):
    """Arrays without names are numbered; an empty list is no damage."""
    named = isinstance(arrays, dict)
    expected = arrays if named else {str(number): values for number, values in enumerate(arrays)}
    stored = {name: mx.nd.array(values) for name, values in expected.items()}
    mx.nd.save(str(tmp_path / "x"), stored if named else list(stored.values()))
    container = read_container(tmp_path / "x")
    assert container.named == named
    assert {name: container.read(name).tolist() for name in container.arrays} == expected


@pytest.mark.parametrize(("mark", "axes"), [(0xF993FAC8, "q"), (0, "I")])
def test_reads_older_forms_as_mxnet_does(tmp_path, mark, axes):
    path = write(tmp_path / "old", file_of([array_of(VALUES, mark, axes=axes)] * 2, [b"a", b"b"]))
    theirs, ours = mx.nd.load(str(path)), read_container(path)
    assert list(ours.arrays) == ["a", "b"]
    for name in ours.arrays:
        np.testing.assert_array_equal(ours.read(name), theirs[name].asnumpy())
        np.testing.assert_array_equal(ours.read(name), VALUES)


def refuse(path, *said):
    with pytest.raises(GluonAFFError) as caught:
        read_container(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    for words in said:
        assert words in message, message


def test_a_file_cut_at_any_byte_says_where(tmp_path):
    data = file_of([array_of(VALUES), array_of(VALUES[0])], [b"first", b"second"])
    assert len(read_container(write(tmp_path / "x", data)).arrays) == 2
    for length in range(len(data)):
        refuse(write(tmp_path / "x", data[:length]), "at byte")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", ["it is empty", "expected"]),
        (b"<!DOCTYPE html><html>", ["a web page"]),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", ["Git LFS"]),
        (b"PK\x03\x04", ["zip"]),
        (file_of(array_of(VALUES))[1:], ["not an MXNet weight file"]),
        (file_of(array_of(VALUES)) + b"?", ["1 bytes follow the last name"]),
        (file_of([array_of(VALUES)] * 2), ["1 names for 2 arrays"]),
        (file_of([array_of(VALUES)] * 2, [b"a", b"a"]), ["arrays 0 and 1 are both named 'a'"]),
        (file_of(array_of(VALUES), [b"\xff\xfe"]), ["UTF-8"]),
        (file_of(array_of(VALUES, storage=1)), ["row-sparse", "dense"]),
        (file_of(array_of(VALUES, storage=9)), ["storage kind 9"]),
        (file_of(array_of(VALUES, dtype=99)), ["type 99", "at byte 60"]),
        (file_of(array_of(VALUES, shape=(2, 0))), ["shape (2, 0)"]),
        (file_of(array_of(VALUES, shape=(2, -3))), ["shape (2, -3)"]),
        (file_of(array_of(VALUES, shape=(1 << 62, 3))), ["shape", "at most"]),
        (file_of(array_of(VALUES, shape=(100_000, 3))), ["1200000 for the elements of array 0 of 1, float32"]),
        (file_of(array_of(VALUES, 0xF993FACA, shape=(0, 1 << 62, 1 << 62))), ["at most"]),
        (file_of(array_of(VALUES, 0x12345678, axes="I")), ["0x12345678", "at byte 24"]),
        (file_of(array_of(VALUES, shape=(1,) * 33)), ["33 axes"]),
        (struct.pack("<QQQ", 0x112, 0, 1 << 63) + bytes(100), ["arrays is 9223372036854775808", "at most 4"]),
        (struct.pack("<QQQ", 0x112, 0, 1) + array_of(VALUES) + struct.pack("<Q", 1 << 60), ["the number of names"]),
        (struct.pack("<QQQ", 0x112, 0, 2) + bytes(100), ["0 axes"]),
    ],
)
def test_damage_is_named_with_its_place(tmp_path, data, said):
    refuse(write(tmp_path / "x.params", data), *said)


def test_what_is_no_file_of_dense_arrays_is_refused(tmp_path):
    mx.nd.save(str(tmp_path / "x"), {"s": mx.nd.ones((2, 3)).tostype("csr")})
    refuse(tmp_path / "x", "sparse (CSR)")
    refuse(tmp_path / "nowhere", "there is no file")
    refuse(tmp_path, "is not a file")


def test_a_file_that_shrinks_after_its_table_was_read(tmp_path):
    path = write(tmp_path / "x", file_of(array_of(VALUES)))
    container = read_container(path)
    path.write_bytes(path.read_bytes()[:70])
    with pytest.raises(GluonAFFError, match="shorter"):
        container.read("a")
    path.unlink()
    with pytest.raises(GluonAFFError, match="cannot be read"):
        container.read("a")
