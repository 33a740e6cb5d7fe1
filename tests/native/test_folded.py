"""A folded network uses the native operator, with everything that inference does not need taken out."""

import json
from collections import Counter

import golden
import numpy as np
import pytest

import gluon_aff
from gluon_aff.deploy import fold
from gluon_aff.nn import native

NETWORKS = {
    "cifar_aff_resnet8": ({"channel_times": 1}, (2, 3, 32, 32), 3),
    "cifar_iaff_resnet8": ({"channel_times": 1}, (2, 3, 32, 32), 6),
    "aff_resnet50": ({"layers": (1, 1, 1, 1)}, (1, 3, 64, 64), 2),
    "aff_fpn_resnet8": ({"stem": "tiny"}, (2, 3, 45, 61), 2),
}


def operators(folded):
    """How many there are of each in the graph that runs."""
    return Counter(node["op"] for node in json.loads(folded._cached_graph[1].tojson())["nodes"])


@pytest.mark.parametrize("name", NETWORKS)
def test_folded_with_the_operator_and_without(name, operator):
    options, shape, fusions = NETWORKS[name]
    net = gluon_aff.create_model(name, **options)
    golden.fill(net, gain=1)
    x = golden.normal(1, shape, "float32")
    with operator.own_arithmetic():
        expected, plain = net(x).asnumpy(), fold(net)
        without = plain(x).asnumpy()
    folded = fold(net)
    before = {name: array.data().asnumpy() for name, array in folded.collect_params().items()}
    found = folded(x).asnumpy()
    for array, values in before.items():
        np.testing.assert_array_equal(folded.collect_params()[array].data().asnumpy(), values)  # statistics, too
    assert np.abs(found - expected).max() < 1e-4 * np.ptp(expected)
    assert np.abs(found - without).max() < 1e-4 * np.ptp(expected)
    assert operators(folded)[native.OPERATOR] == fusions and native.OPERATOR not in operators(plain)
    assert "Concat" not in operators(folded)  # the parameters lie together already
