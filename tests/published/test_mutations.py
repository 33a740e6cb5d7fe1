"""Damaged weight files: a clear error or a correct read, each in under a second and under 200 MB."""

import random
import struct
import time
import tracemalloc

import mxnet as mx
import numpy as np
import pytest

from gluon_aff import create_model, published
from gluon_aff.errors import GluonAFFError

MARKS = [0xF993FAC8, 0xF993FAC9, 0xF993FACA, 0x112, 0, 2]
HUGE = [1 << 63, (1 << 64) - 1, 1 << 40, 1 << 31, (1 << 31) - 1, 1 << 20, 65_536, 0]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """(bytes, arrays) of whole files: float32, cast to float16, and saved under NumPy shapes."""
    folder = tmp_path_factory.mktemp("whole")
    made = []
    for kind in ("float32", "float16", "numpy"):
        net = create_model("cifar_aff_resnet8", channel_times=1, classes=10)
        if kind == "float16":
            net.cast("float16")
        path = folder / kind
        with mx.util.np_shape(kind == "numpy"):
            net.save_parameters(str(path))
        made.append((path.read_bytes(), published.read_container(path).arrays))
    return made


def fields(data, arrays):
    """Offsets of what is not elements: headers, table ends, names."""
    spans, at = [], 0
    for array in arrays.values():
        spans.append((at, array.offset))
        at = array.offset + array.size
    spans.append((at, len(data)))
    return [offset for first, last in spans for offset in range(first, last)]


def mutate(dice, data, arrays):
    """A damaged copy, and in a word how it was damaged."""
    data = bytearray(data)
    headers = fields(data, arrays)
    names = list(arrays)
    kind = dice.choice(["cut", "flip", "flip header", "number", "mark", "twice", "insert", "remove", "append", "swap"])
    at = dice.choice(headers)
    some = dice.getrandbits(8 * 64).to_bytes(64, "little")[: dice.randint(1, 64)]
    if kind == "cut":
        del data[dice.choice([dice.randrange(len(data)), at]) :]
    elif kind in ("flip", "flip header"):
        for _ in range(dice.randint(1, 8)):
            at = dice.randrange(len(data)) if kind == "flip" else dice.choice(headers)
            data[at] ^= dice.randint(1, 255)
    elif kind == "number":  # a huge size, count or length
        width = dice.choice([4, 8])
        data[at : at + width] = (dice.choice(HUGE) % 256**width).to_bytes(width, "little")
    elif kind == "mark":
        array = arrays[dice.choice(names)]
        at = dice.choice([0, array.offset - 24 - 8 * len(array.shape)])
        struct.pack_into("<I", data, at, dice.choice(MARKS))
    elif kind == "twice":  # a name over another of its length
        one = dice.choice([name for name in names if sum(len(other) == len(name) for other in names) > 1])
        other = dice.choice([other for other in names if len(other) == len(one) and other != one])
        at = bytes(data).rindex(struct.pack("<Q", len(other)) + other.encode()) + 8
        data[at : at + len(other)] = one.encode()
    elif kind == "insert":
        data[at:at] = some
    elif kind == "remove":
        del data[at : at + len(some)]
    elif kind == "append":
        data += some
    else:
        other = dice.choice(headers)
        data[at : at + 16], data[other : other + 16] = data[other : other + 16], data[at : at + 16]
    return bytes(data), kind


def examine(path, data):
    """True when the whole file was read, and as its bytes say; False when it was refused in one line."""
    try:
        container = published.read_container(path)
        for name, array in container.arrays.items():
            values = container.read(name)
            raw = data[array.offset : array.offset + array.size]
            assert values.shape == array.shape
            if array.dtype not in ("bool", "bfloat16"):
                assert values.tobytes() == raw
        published.recognise(container)
        return True
    except GluonAFFError as error:
        assert str(path) in str(error) and "\n" not in str(error) and len(str(error)) < 1000, error
        return False


def run(sources, path, count, seed):
    dice = random.Random(seed)
    outcomes = {}
    for whole, _ in sources:  # so that no time below is that of networks which are built but once
        path.write_bytes(whole)
        examine(path, whole)
    for number in range(count):
        whole, arrays = sources[number % len(sources)]
        data, kind = mutate(dice, whole, arrays)
        path.write_bytes(data)
        tracemalloc.start()
        started = time.process_time()
        read = examine(path, data)
        seconds, peak = time.process_time() - started, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert seconds < 1, (kind, number, seconds)
        assert peak < 200e6, (kind, number, peak)
        outcomes.setdefault(kind, []).append(read)
    return outcomes


def test_two_hundred_damaged_files(sources, tmp_path):
    outcomes = run(sources, tmp_path / "damaged.params", 200, seed=1)
    for kind in ("cut", "append", "twice"):
        assert outcomes[kind] and not any(outcomes[kind]), kind
    assert any(outcomes["flip"])  # elements carry no check: what is there is what is read


def test_a_network_stays_as_it_was_when_a_file_is_damaged(sources, tmp_path):
    dice = random.Random(3)
    net = create_model("cifar_aff_resnet8", channel_times=1, classes=10)
    before = {name: p.data().asnumpy() for name, p in net._collect_params_with_prefix().items()}
    refused = 0
    for _ in range(60):
        data, _ = mutate(dice, *sources[0])
        path = tmp_path / "damaged.params"
        path.write_bytes(data)
        try:
            published.load(path, net)
            for name, parameter in net._collect_params_with_prefix().items():
                parameter.set_data(mx.nd.array(before[name]))
        except GluonAFFError:
            refused += 1
            for name, parameter in net._collect_params_with_prefix().items():
                np.testing.assert_array_equal(parameter.data().asnumpy(), before[name], err_msg=name)
    assert refused > 30
