"""Damaged weight files: a clear error or a correct read, each in under a second and under 200 MB.

tests/faults does to this reader what hypothesis thinks of; here the damage is where the format's numbers and names are.
"""

import random
import time
import tracemalloc

import mxnet as mx
import numpy as np
import pytest

from gluon_aff import create_model, published
from gluon_aff.errors import GluonAFFError

HUGE = [1 << 63, (1 << 64) - 1, 1 << 40, 1 << 31, (1 << 31) - 1, 1 << 20, 65_536, 0]


def mutate(dice, data, headers):
    """A damaged copy, and in a word how it was damaged; ``headers`` are the offsets of what is not elements."""
    data = bytearray(data)
    kind = dice.choice(["cut", "flip", "flip header", "number", "append", "swap"])
    at = dice.choice(headers)
    if kind == "cut":
        del data[dice.choice([dice.randrange(len(data)), at]) :]
    elif kind in ("flip", "flip header"):
        for _ in range(dice.randint(1, 8)):
            data[dice.randrange(len(data)) if kind == "flip" else dice.choice(headers)] ^= dice.randint(1, 255)
    elif kind == "number":  # a huge size, count or length
        width = dice.choice([4, 8])
        data[at : at + width] = (dice.choice(HUGE) % 256**width).to_bytes(width, "little")
    elif kind == "append":
        data += bytes(dice.randint(1, 64))
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
            assert values.shape == array.shape
            if array.dtype not in ("bool", "bfloat16"):
                assert values.tobytes() == data[array.offset : array.offset + array.size]
        published.recognise(container)
        return True
    except GluonAFFError as error:
        assert str(path) in str(error) and "\n" not in str(error) and len(str(error)) < 1000, error
        return False


@pytest.mark.parametrize("kind", ["float16", "numpy"])
def test_damaged_files(tmp_path, kind):
    """A network that such a file is loaded into has all of it, or stays as it was."""
    net = create_model("cifar_aff_resnet8", channel_times=1, classes=10)
    if kind == "float16":
        net.cast("float16")
    path = tmp_path / "damaged.params"
    with mx.util.np_shape(kind == "numpy"):
        net.save_parameters(str(path))
    whole, arrays = path.read_bytes(), published.read_container(path).arrays.values()
    elements = {offset for array in arrays for offset in range(array.offset, array.offset + array.size)}
    headers = sorted(set(range(len(whole))) - elements)
    parameters = net._collect_params_with_prefix()
    before = {name: p.data().asnumpy() for name, p in parameters.items()}
    dice, outcomes = random.Random(1), {}
    for number in range(24):
        data, damage = mutate(dice, whole, headers)
        path.write_bytes(data)
        tracemalloc.start()
        started = time.process_time()
        outcomes.setdefault(damage, []).append(examine(path, data))
        seconds, peak = time.process_time() - started, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert seconds < 1 and peak < 200e6, (damage, number, seconds, peak)
        try:
            published.load(path, net)
            for name, parameter in parameters.items():
                parameter.set_data(mx.nd.array(before[name], dtype=parameter.dtype))
        except GluonAFFError:
            for name, parameter in parameters.items():
                np.testing.assert_array_equal(parameter.data().asnumpy(), before[name], err_msg=name)
    assert outcomes["cut"] and outcomes["append"] and not any(outcomes["cut"] + outcomes["append"])
    assert any(outcomes["flip"])  # elements carry no check: what is there is what is read
