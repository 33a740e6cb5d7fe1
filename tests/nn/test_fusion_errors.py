"""What a user's mistake is answered with, in fusions and MS-CAM; their names."""

import inspect
import warnings

import mxnet as mx
import pytest

from gluon_aff.errors import UsageError
from gluon_aff.nn import (
    AFF,
    AUTHORS_KEYS,
    IAFF,
    MSCAM,
    canonical_fusion,
    create_fusion,
    fusion_class,
    layers,
    list_fusions,
)

BLOCKS = [*list_fusions(), "MSCAM"]


def made(name, channels=16, **options):
    block = MSCAM(channels, **options) if name == "MSCAM" else create_fusion(name, channels, **options)
    block.initialize()
    return block


def called(block, shape):
    """The block's output for maps without a number; a 0 in MXNet's own shapes means a size not known yet."""
    with mx.util.np_shape(True):
        x = mx.nd.ones(shape)
    return block(x) if isinstance(block, MSCAM) else block(x, x)


@pytest.mark.parametrize("hybridized", [False, True])
@pytest.mark.parametrize("name", BLOCKS)
def test_maps_that_a_block_does_not_take(name, hybridized):
    block = made(name)
    block.hybridize(hybridized)
    for shape in ((2, 32, 8, 8), (2, 16), (16, 8, 8)):
        with pytest.raises(UsageError, match=r"takes \(N, 16, H, W\)") as error:
            called(block, shape)
        assert str(shape) in str(error.value)
    for shape in ((0, 16, 4, 4), (2, 16, 0, 4)):
        with pytest.raises(UsageError, match=r"x is \(.*\): expected at least one image of at least one pixel"):
            called(block, shape)
    if name != "MSCAM":
        with pytest.raises(UsageError) as error:
            block(mx.nd.ones((2, 16, 8, 8)), mx.nd.ones((2, 16, 4, 4)))
        assert str(error.value) == "x is (2, 16, 8, 8), residual is (2, 16, 4, 4): resize or project one of them first"
    assert called(block, (1, 16, 1, 1)).asnumpy().shape == (1, 16, 1, 1)


@pytest.mark.parametrize("typed, meant", [("AFFx", "aff"), ("ASKC", "ASKCFuse"), ("hiway", "highway")])
def test_unknown_name_lists_near_matches(typed, meant):
    for call in (lambda: create_fusion(typed, 16), lambda: canonical_fusion(typed)):
        with pytest.raises(UsageError, match="did you mean") as error:
            call()
        assert meant in str(error.value).partition("did you mean")[2].strip(" ?").split(", ")


def test_authors_keys_mean_the_field_s_names():
    assert {key: canonical_fusion(key) for key in AUTHORS_KEYS} == {
        "DirectAdd": "add",
        "Concat": "concat",
        "AYforXplusY": "ms_gau",
        "XplusAYforY": "ms_se",
        "AXYforXplusY": "ms_sa",
        "ASKCFuse": "aff",
        "ResGlobGlobCha": "aff_global_global",
        "ResLocaLocaCha": "aff_local_local",
        "ResLocalLocaCha": "aff_local_local",
        "ResGlobLocaforGlobLocaCha": "iaff",
        "SEFuse": "se",
        "GAUFuse": "gau",
        "SKFuse": "sk",
        "AsymBi": "acm",
        "BiGlobal": "acm_global",
        "BiLocal": "acm_local",
        "TopDownGlobal": "gau",
        "TopDownLocal": "gau_local",
    }
    assert list_fusions() == sorted({*AUTHORS_KEYS.values(), "highway"})


@pytest.mark.parametrize(
    "name, field",
    [("AFF", "aff"), ("iAFF", "iaff"), ("Se", "se"), ("askcfuse", "aff"), ("CONCAT", "concat"), ("skfuse", "sk")],
)
def test_names_in_any_case(name, field):
    assert canonical_fusion(name) == field
    assert type(create_fusion(name, 16)) is fusion_class(field)


def test_an_authors_key_in_another_case_has_its_arithmetic():
    keys = [list(create_fusion(name, 16)._collect_params_with_prefix()) for name in ("AYforXplusY", "ayforxplusy")]
    assert keys[0] == keys[1] != list(create_fusion("MS_GAU", 16)._collect_params_with_prefix())


@pytest.mark.parametrize(
    "name, options, said",
    [
        *(("aff", {"r": r}, "bottleneck ratio") for r in (0, -1, 1.5, "4", True)),
        *((name, {"channels": n}, f"channels is {n!r}") for name in ("add", "MSCAM") for n in (0, -8, 1.5, "16")),
        ("aff", {"bogus": 1}, "no option bogus: it takes factor, norm_kwargs, norm_layer, weight_on"),
        ("add", {"weight_on": "x"}, "no option weight_on: it takes norm_kwargs, norm_layer"),
        *(("aff", {"factor": factor}, "choose 1 or 2") for factor in (0, 3, "2")),
        ("iaff", {"weight_on": "shortcut"}, "weight_on is 'shortcut': choose 'x' .* or 'residual'"),
        ("ms_se", {"attends": "x"}, "attends is 'x': choose 'y'"),
    ],
)
def test_bad_options(name, options, said):
    with pytest.raises(UsageError, match=said):
        made(name, **options)


def warned(block, batch, training=True):
    """How often the block warns of a batch of one."""
    maps = [mx.nd.ones((batch, 16, 4, 4)) for _ in range(1 if isinstance(block, MSCAM) else 2)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with mx.autograd.record(training):
            block(*maps)
    return sum("batch of one" in str(entry.message) for entry in caught)


@pytest.mark.parametrize(
    "name, options, times",
    [
        *((name, {}, int(name not in ("add", "concat") and "local" not in name)) for name in BLOCKS),
        ("aff", {"norm_kwargs": {"use_global_stats": True}}, 0),  # the advice followed
    ],
)
def test_batch_of_one_in_training_is_warned_of_once_where_something_is_pooled(name, options, times, monkeypatch):
    monkeypatch.setattr(layers, "_warned_of_batch_of_one", False)
    block = made(name, **options)
    assert [warned(block, 1, training=False), warned(block, 2), warned(block, 1), warned(block, 1)] == [0, 0, times, 0]


@pytest.mark.parametrize("block", [AFF, IAFF, MSCAM])
def test_help_is_our_own(block):
    """What help() says of the block, its constructor and its forward pass, none of it MXNet's."""
    for member in (block, block.__init__, block.forward, block.hybrid_forward):
        text = inspect.getdoc(member)
        assert text and "Overrides to construct symbolic graph" not in text and "Defines the forward" not in text
    text = inspect.getdoc(block)
    assert all(f"{name} : " in text or f"{name}, norm_kwargs" in text for name in ("channels", "r", "norm_layer"))
