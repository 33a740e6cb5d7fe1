"""All published architectures in ONNX Runtime: every one exported, folded or not, and compared with the network."""

import golden
import numpy as np
import pytest

from gluon_aff import deploy, published
from gluon_aff.data.pictures import NetworkInput
from gluon_aff.models import model_entry
from gluon_aff.models.common import SegmentationNet

IDS = sorted(published.catalogue())


@pytest.mark.slow
@pytest.mark.parametrize("identity", IDS)
def test_a_published_architecture(identity, tmp_path):
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    net = published.build(identity)
    net.cast("float32")
    golden.fill(net, gain=0.2)  # with a gain of 1 MXNet's own float32 is off its float64 by 0.003 of the range
    size = model_entry(published.record(identity)["model"]["name"]).input_size
    form = {"input": NetworkInput(size), "segments": isinstance(net, SegmentationNet)}
    for fold in (False, True):
        made = deploy.export(net, tmp_path / f"{fold}", "onnx", fold=fold, **form)
        check = made.manifest["check"]
        assert check["range"] > 0.01 and check["maximum_difference"] < 1e-4 * check["range"]
        opened = deploy.open_exported(tmp_path / f"{fold}")
        x = golden.normal(7, (2, 3, size, size), "float32")
        expected = net(x).asnumpy()
        assert np.abs(opened.run(x.asnumpy()) - expected).max() < 1e-4 * np.ptp(expected)
