"""Numbers of parameters without running statistics, as published. Those of whole files are in test_summary.py."""

import numpy as np
import pytest

from gluon_aff.models import build_model


def counted(name, **options):
    net = build_model(name, **options)
    return sum(int(np.prod(p.shape)) for n, p in net._collect_params_with_prefix().items() if "running" not in n)


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


SMALL = {"channel_times": 1, "classes": 20}
ROWS = [
    *(("cifar_resnet", {"fusion": fusion, "r": r, **SMALL}, row) for (fusion, r), row in RESNET.items()),
    *(
        ("cifar_inception", {"fusion": fusion, "r": r, "mid_width": width, **SMALL}, row)
        for (fusion, r, width), row in INCEPTION.items()
    ),
    *(
        ("fpn_resnet20", {"fusion": fusion, "r": r, "stem": stem}, row)
        for (fusion, r), rows in FPN.items()
        for stem, row in zip(("std", "tiny"), rows)
    ),
]


@pytest.mark.parametrize("name, options, expected", ROWS)
def test_one_to_four_blocks_per_stage(name, options, expected):
    assert [counted(name, blocks=blocks, **options) for blocks in (1, 2, 3, 4)] == expected


def test_a_head_of_100_classes_adds_5200_to_one_of_20():
    more, fewer = (counted("cifar_inception", blocks=1, classes=classes) for classes in (100, 20))
    assert more - fewer == 5200
