"""Networks of the catalogue against the manifests of the authors' files."""

import golden
import mxnet as mx
import numpy as np
import pytest

from gluon_aff import published
from gluon_aff.published import weights

UNET = "acm_sirst_ACM-U-Net-26_0.7442"
MANIFESTS = {**golden.load("manifests"), UNET: golden.load("acm")["acm_unet_AsymBi_b4_tiny"]["arrays"]}


def test_the_catalogue_lists_the_manifests():
    assert published.list_published() == sorted(MANIFESTS)
    assert len(MANIFESTS) == 27


@pytest.mark.parametrize("identity", MANIFESTS)
def test_names_shapes_and_dtypes(identity, monkeypatch):
    monkeypatch.setattr(weights, "initializer_of", lambda name: mx.init.Zero())  # saves half a minute
    arrays = published.build(identity)._collect_params_with_prefix()
    found = [[name, list(p.shape), np.dtype(p.dtype).name] for name, p in arrays.items()]
    assert found == [row[:3] for row in MANIFESTS[identity]]  # in this order, too
    kinds = {name: kind for name, _, _, kind in MANIFESTS[identity]}
    assert {name for name, p in arrays.items() if p.grad_req != "null"} == {
        name for name, kind in kinds.items() if kind == "trained"
    }

    record = published.record(identity)
    sizes = {name: int(np.prod(p.shape)) for name, p in arrays.items()}
    assert len(sizes) == record["arrays"]
    assert sum(sizes.values()) == record["total_params"]
    assert sum(size for name, size in sizes.items() if kinds[name] == "trained") == record["trained_params"]


def test_build_initialises():
    net = published.build("release_cifar100_AFF-ResNet-32_fine_0.8357")
    logits = net(mx.nd.ones((1, 3, 32, 32)))
    assert logits.shape == (1, 100)
    assert np.abs(logits.asnumpy()).max() > 0
