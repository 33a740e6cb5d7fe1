"""Empty batches, maps without pixels, images of one pixel: our message, not MXNet's."""

import mxnet as mx
import pytest

from gluon_aff import create_fusion, create_model, list_fusions
from gluon_aff.errors import UsageError
from gluon_aff.nn import MSCAM

NETWORKS = {
    "cifar_aff_resnet8": {"channel_times": 1},
    "cifar_iaff_resnext11_32x4d": {},
    "cifar_aff_inception8": {},
    "aff_resnet50": {"layers": (1, 1, 1, 1), "classes": 4},
    "aff_fpn_resnet8": {},
}


def empty(shape):
    """Without NumPy's shapes, MXNet takes a 0 for a size that is not known yet and makes no such array."""
    with mx.util.np_shape(True):
        return mx.nd.zeros(shape)


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name, hybrid):
    net = create_model(name, **NETWORKS[name])
    if hybrid:
        net.hybridize()
    for shape in ((0, 3, 32, 32), (2, 3, 0, 32), (2, 3, 32, 0)):
        with pytest.raises(UsageError, match="expected at least one image of at least one pixel"):
            net(empty(shape))
    for shape in ((2, 3, 1, 1), (1, 3, 1, 2)):
        try:
            assert net(mx.nd.zeros(shape)).asnumpy().shape[0] == shape[0]
        except UsageError as error:
            assert "too small for this network: take larger ones" in str(error)


def test_release_networks_need_more_than_one_pixel():
    net = create_model("cifar_aff_resnet8", channel_times=1)
    for train in (False, True):
        with mx.autograd.record(train), pytest.raises(UsageError, match="images of 1x1 pixels are too small"):
            net(mx.nd.zeros((2, 3, 1, 1)))
    assert net(mx.nd.zeros((2, 3, 32, 32))).shape == (2, 100)


@pytest.mark.parametrize("name", list_fusions())
def test_fusions(name):
    block = create_fusion(name, 8)
    block.initialize()
    one = mx.nd.ones((1, 8, 1, 1))
    assert block(one, one).asnumpy().shape == (1, 8, 1, 1)
    for shape in ((0, 8, 4, 4), (2, 8, 0, 4)):
        x = empty(shape)
        with pytest.raises(UsageError, match=r"x is \(.*\): expected at least one image of at least one pixel"):
            block(x, x)


def test_ms_cam():
    block = MSCAM(8)
    block.initialize()
    with pytest.raises(UsageError, match="expected at least one image"):
        block(empty((0, 8, 4, 4)))
