"""Our sets under GluonCV's own loader, transforms and metric."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon.data.vision import transforms

from gluon_aff.data import gluoncv_dataset, load_pair_set
from gluon_aff.data.pairs import shapes
from gluon_aff.errors import UsageError

NORMALISED = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.25] * 3)])


@pytest.fixture(scope="module")
def pairs():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(shapes.COUNTS, "val", 12)
        return load_pair_set("shapes", "val")


def test_contract(pairs):
    from gluoncv.data.segbase import SegmentationDataset

    dataset = gluoncv_dataset(pairs, "train", base_size=64, crop_size=48)
    assert isinstance(dataset, SegmentationDataset) and isinstance(dataset, mx.gluon.data.Dataset)
    assert (len(dataset), dataset.num_class, dataset.NUM_CLASS, dataset.pred_offset) == (12, 2, 2, 0)
    assert dataset.classes == ("background", "foreground")
    assert (dataset.base_size, dataset.crop_size, dataset.mode) == (64, 48, "train")


def test_modes(pairs):
    image, mask = pairs.pair(5)
    whole = gluoncv_dataset(pairs, "testval")[5]
    np.testing.assert_array_equal(whole[0].asnumpy(), image)
    np.testing.assert_array_equal(whole[1].asnumpy(), mask)
    assert whole[1].dtype == np.int32
    x, name = gluoncv_dataset(pairs, "test", NORMALISED)[5]
    np.testing.assert_allclose(x.asnumpy(), (image.transpose(2, 0, 1) / 255 - 0.5) / 0.25, atol=1e-5)
    assert name == pairs.names[5]
    for mode in ("train", "val"):
        x, y = gluoncv_dataset(pairs, mode, base_size=64, crop_size=48)[5]
        assert x.shape == (48, 48, 3) and y.shape == (48, 48)
    with pytest.raises(UsageError, match="no mode 'eval': choose one of train, val, testval, test"):
        gluoncv_dataset(pairs, "eval")


@pytest.mark.parametrize("workers", [0, 2])
def test_gluons_loader_and_gluoncvs_metric(pairs, workers):
    from gluoncv.utils.metrics.segmentation import SegmentationMetric

    dataset = gluoncv_dataset(pairs, "testval", NORMALISED)
    truth, wrong = SegmentationMetric(dataset.num_class), SegmentationMetric(dataset.num_class)
    for x, y in mx.gluon.data.DataLoader(dataset, batch_size=5, num_workers=workers):
        assert x.shape[1:] == (3, 96, 96)
        scores = mx.nd.stack(1 - y, y, axis=1).astype("float32")
        truth.update(y, scores)
        wrong.update(y, mx.nd.ones_like(scores) * mx.nd.array([1, 0]).reshape((1, 2, 1, 1)))
    assert truth.get() == (pytest.approx(1), pytest.approx(1))
    background = 1 - np.mean([pairs.pair(i)[1].mean() for i in range(12)])
    assert wrong.get() == (pytest.approx(background), pytest.approx(background / 2))
