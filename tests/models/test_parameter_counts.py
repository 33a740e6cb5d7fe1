"""Numbers of parameters: the published tables, and every registered network by arithmetic of its own."""

import re

import numpy as np
import pytest

from gluon_aff.models import build_model, list_models


def counts(net):
    """(trained, total, all but running statistics)."""
    sizes = {name: (int(np.prod(p.shape)), p.grad_req) for name, p in net._collect_params_with_prefix().items()}
    return (
        sum(size for size, grad_req in sizes.values() if grad_req != "null"),
        sum(size for size, _ in sizes.values()),
        sum(size for name, (size, _) in sizes.items() if "running" not in name),
    )


# The authors' own counter: total, trained.
AUTHORS = {
    "cifar_aff_resnet32": (7_917_456, 7_897_156),
    "cifar_aff_resnext38_32x4d": (7_832_996, 7_770_148),
    "cifar_aff_resnext47_32x4d": (9_683_460, 9_605_828),
    "aff_resnet50": (30_478_664, 30_373_192),
    "aff_resnext50_32x4d": (30_074_536, 29_953_704),
    "iaff_resnet50": (35_327_816, 35_170_120),
    "iaff_resnext50_32x4d": (34_923_688, 34_750_632),
}


@pytest.mark.parametrize("name", AUTHORS)
def test_authors_counter(name):
    trained, total, _ = counts(build_model(name))
    assert (total, trained) == AUTHORS[name]


# CIFAR ResNet x1, 20 classes, without running statistics, b = 1..4.
RESNET = {
    ("add", 4): [78506, 175722, 272938, 370154],
    ("aff", 4): [84722, 188154, 291586, 395018],
    ("aff", 2): [90266, 199242, 308218, 417194],
    ("iaff", 4): [90938, 200586, 310234, 419882],
    ("sk", 4): [83294, 185298, 287302, 389306],
    ("se", 4): [81614, 181938, 282262, 382586],
    ("concat", 4): [89818, 198346, 306874, 415402],
}


@pytest.mark.parametrize("fusion, r", RESNET)
def test_cifar_resnet(fusion, r):
    built = [
        build_model("cifar_resnet", fusion=fusion, r=r, blocks=b, channel_times=1, classes=20) for b in (1, 2, 3, 4)
    ]
    assert [counts(net)[2] for net in built] == RESNET[fusion, r]


# AFF-InceptionNet, 20 classes, without running statistics, b = 1..4.
INCEPTION = {
    ("add", 4, "input"): [83834, 185914, 287994, 390074],
    ("add", 4, "output"): [153146, 347578, 542010, 736442],
    ("concat", 4, "input"): [99130, 215914, 332698, 449482],
    ("concat", 4, "output"): [176362, 393418, 610474, 827530],
    ("sk", 4, "input"): [91274, 200430, 309586, 418742],
    ("sk", 4, "output"): [163982, 368886, 573790, 778694],
    ("aff", 4, "input"): [93210, 204226, 315242, 426258],
    ("aff", 4, "output"): [166914, 374674, 582434, 790194],
    ("iaff", 4, "input"): [101818, 221066, 340314, 459562],
    ("iaff", 4, "output"): [179722, 399914, 620106, 840298],
    **{
        (fusion, 2, width): values
        for fusion in ("aff", "ms_gau", "ms_se", "ms_sa")
        for width, values in {
            "input": [100666, 218858, 337050, 455242],
            "output": [178282, 397130, 615978, 834826],
        }.items()
    },
}


@pytest.mark.parametrize("fusion, r, mid_width", INCEPTION)
def test_cifar_inception(fusion, r, mid_width):
    options = {"fusion": fusion, "r": r, "mid_width": mid_width, "channel_times": 1, "classes": 20}
    built = [build_model("cifar_inception", blocks=b, **options) for b in (1, 2, 3, 4)]
    assert [counts(net)[2] for net in built] == INCEPTION[fusion, r, mid_width]


# AFF-FPN, one map of logits, without running statistics, b = 1..4: with the std stem, with the tiny one.
FPN = {
    ("add", 4): ([93899, 191115, 288331, 385547], [92355, 189571, 286787, 384003]),
    ("concat", 4): ([105419, 202635, 299851, 397067], [103875, 201091, 298307, 395523]),
    ("sk", 4): ([95183, 192399, 289615, 386831], [93639, 190855, 288071, 385287]),
    ("gau", 4): ([95323, 192539, 289755, 386971], [93779, 190995, 288211, 385427]),
    **{
        (fusion, 4): ([95539, 192755, 289971, 387187], [93995, 191211, 288427, 385643])
        for fusion in ("aff", "aff_global_global", "aff_local_local")
    },
    **{
        (fusion, 2): ([96891, 194107, 291323, 388539], [95347, 192563, 289779, 386995])
        for fusion in ("aff", "ms_gau", "ms_se", "ms_sa")
    },
    ("iaff", 4): ([97179, 194395, 291611, 388827], [95635, 192851, 290067, 387283]),
}


@pytest.mark.parametrize("fusion, r", FPN)
def test_fpn(fusion, r):
    for stem, expected in zip(("std", "tiny"), FPN[fusion, r]):
        built = [build_model("fpn_resnet20", fusion=fusion, r=r, blocks=b, stem=stem) for b in (1, 2, 3, 4)]
        assert [counts(net)[2] for net in built] == expected


def test_a_head_of_100_classes_adds_5200_to_one_of_20():
    more, fewer = (build_model("cifar_inception", blocks=1, classes=classes) for classes in (100, 20))
    assert counts(more)[2] - counts(fewer)[2] == 5200


class Arithmetic:
    """Parameters of the hosts, counted by hand; ``norm`` is 2 for trained parameters and 4 for all."""

    def __init__(self, norm, fusion):
        self.per_channel, self.fusion = norm, fusion

    def norm(self, channels):
        return self.per_channel * channels

    def input_norm(self):
        return 0 if self.per_channel == 2 else 12

    def attention(self, channels, r):
        branches = {"add": 0, "aff": 2, "iaff": 4}[self.fusion]
        middle = channels // r
        branch = 2 * channels * middle + middle + channels + self.norm(middle) + self.norm(channels)
        return branches * branch

    def cifar_resnet(self, b, classes=100):
        total, before = self.input_norm() + 64 * 27, 64
        for width in (64, 128, 256):
            for _ in range(b):
                total += self.norm(before) + 9 * width * before + self.norm(width) + 9 * width * width
                total += (width * before if width != before else 0) + self.attention(width, 4)
                before = width
        return total + self.norm(256) + 256 * classes + classes

    def resnext_stage(self, width, blocks, before, fused):
        total, group = 0, 32 * (width // 16)
        for index in range(blocks):
            total += group * before + 9 * group * group // 32 + 4 * width * group + self.norm(2 * group + 4 * width)
            total += 4 * width * before + self.norm(4 * width) if index == 0 else 0
            total += self.attention(4 * width, 16) if fused else 0
            before = 4 * width
        return total

    def cifar_resnext(self, b, classes=100):
        total, before = 64 * 27 + self.norm(64), 64
        for width in (64, 128, 256):
            total += self.resnext_stage(width, b, before, True)
            before = 4 * width
        return total + before * classes + classes

    def stem(self, channels, deep):
        if not deep:
            return 147 * 64 + self.norm(64)
        half = channels // 2
        return 27 * half + 9 * half * half + 9 * half * channels + self.norm(2 * half + channels)

    def resnext(self, layers, deep, classes=1000):
        before = 128 if deep else 64
        total = self.stem(before, deep)
        for stage, (width, blocks) in enumerate(zip((64, 128, 256, 512), layers), 1):
            total += self.resnext_stage(width, blocks, before, stage >= 3)
            before = 4 * width
        return total + before * classes + classes

    def resnet(self, layers, deep, classes=1000):
        total, before = self.stem(64, deep), 64
        for stage, (width, blocks) in enumerate(zip((64, 128, 256, 512), layers), 1):
            for index in range(blocks):
                total += width * before + 9 * width * width + 4 * width * width + self.norm(6 * width)
                total += 4 * width * before + self.norm(4 * width) if index == 0 else 0
                total += self.attention(4 * width, 16) if stage >= 3 else 0
                before = 4 * width
        return total + before * classes + classes

    def inception(self, b, classes=100):
        def fused(channels, before):
            branch = 9 * channels * before + channels + (0 if self.fusion == "add" else self.norm(channels))
            return 2 * branch + self.attention(channels, 4)

        total, before = self.input_norm() + fused(16, 3), 16
        for width in (16, 32, 64):
            middle, into = before, before
            for _ in range(b):
                total += self.norm(into) + fused(middle, into) + self.norm(middle) + fused(width, middle)
                total += width * into if width != into else 0
                into = width
            before = width
        return total + self.norm(64) + 64 * classes + classes

    def fpn(self, b, classes=1):
        def conv(kernel, channels, before, bias=0):
            return channels * (kernel**2 * before + bias) + self.norm(channels)

        total, before = self.input_norm() + conv(3, 8, 3) + conv(3, 8, 8) + conv(3, 16, 8), 16
        for width in (16, 32, 64):
            total += (conv(1, width, before) if width != before else 0) + conv(3, width, before)
            total += (2 * b - 1) * conv(3, width, width)
            before = width
        for high, low in ((64, 32), (32, 16)):
            total += conv(1, low, high, 1) + self.attention(low, 4) + conv(3, low, low, 1)
        return total + conv(3, 4, 16) + 4 * classes + classes


LAYERS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
NAME = re.compile(
    r"(?P<cifar>cifar_)?(?P<fusion>i?aff_)?(?P<fpn>fpn_)?(?P<host>[a-z]+)(?P<depth>\d*)(_32x4d)?(?P<paper>\.paper)?"
)


def by_arithmetic(name, norm):
    match = NAME.fullmatch(name)
    arithmetic = Arithmetic(norm, (match["fusion"] or "add").strip("_"))
    if match["fpn"]:
        return arithmetic.fpn((int(match["depth"]) - 2) // 6)
    if not match["cifar"]:
        return getattr(arithmetic, match["host"])(LAYERS[int(match["depth"])], not match["paper"])
    layers_per_block = 9 if match["host"] == "resnext" else 6
    b = (int(match["depth"]) - 2) // layers_per_block if match["depth"] else 3
    return {
        "resnet": arithmetic.cifar_resnet,
        "resnext": arithmetic.cifar_resnext,
        "inception": arithmetic.inception,
    }[match["host"]](b)


@pytest.mark.parametrize("name", list_models())
def test_full_size_by_arithmetic(name):
    trained, total, _ = counts(build_model(name))
    assert (trained, total) == (by_arithmetic(name, 2), by_arithmetic(name, 4))
