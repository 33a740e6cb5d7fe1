"""Counting: equal to the authors' own figures, and to what the parameters say."""

import mxnet as mx
import pytest

from gluon_aff.models import build_model
from gluon_aff.models.summary import count_parameters, describe, summarize

# authors' FLOPs, parameters with running statistics, trained parameters: what the authors' counter printed
AUTHORS_COUNTS = {
    "cifar_aff_resnet32": (1_133_120_084, 7_917_456, 7_897_156),
    "cifar_aff_resnext38_32x4d": (1_038_187_044, 7_832_996, 7_770_148),
    "cifar_aff_resnext47_32x4d": (1_265_783_188, 9_683_460, 9_605_828),
    "aff_resnet50": (4_566_054_504, 30_478_664, 30_373_192),
    "aff_resnext50_32x4d": (5_611_722_344, 30_074_536, 29_953_704),
    "iaff_resnet50": (4_801_237_224, 35_327_816, 35_170_120),
    "iaff_resnext50_32x4d": (5_846_905_064, 34_923_688, 34_750_632),
}


@pytest.mark.parametrize("name", sorted(AUTHORS_COUNTS))
def test_counts_are_the_authors(name):
    size = 32 if name.startswith("cifar") else 224
    summary = summarize(build_model(name), (1, 3, size, size))
    assert (summary.authors_flops, summary.total, summary.trained) == AUTHORS_COUNTS[name]


def test_layers_add_up_to_the_network():
    net = build_model("cifar_aff_resnet8", channel_times=1)
    summary = summarize(net, (1, 3, 32, 32))
    assert sum(layer.parameters for layer in summary.layers) == summary.total == count_parameters(net)[1]
    stem = next(layer for layer in summary.layers if layer.name == "features.1")
    assert (stem.kind, stem.output, stem.parameters, stem.macs) == ("Convolution", (1, 16, 32, 32), 432, 442_368)


def test_macs_of_a_grouped_convolution_and_biases_by_hand():
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Conv2D(8, 3, padding=1, groups=4, in_channels=8), mx.gluon.nn.Dense(5, in_units=8 * 4 * 4))
    summary = summarize(net, (1, 8, 4, 4))
    assert summary.macs == 16 * 8 * 2 * 9 + 5 * 128
    assert summary.authors_flops == 16 * 8 * 2 * 9 // 4 + 16 * 8 + (2 * 5 * 128 - 128 + 5)


def test_description_ends_in_the_totals():
    text = describe(build_model("cifar_resnet8", channel_times=1, classes=20), (1, 3, 32, 32))
    assert "features.4.0.downsample.1" in text
    assert "78,500 trained parameters" in text.splitlines()[-2]  # 78,506 with the frozen input BatchNorm's six
