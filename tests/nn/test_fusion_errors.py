"""What a user's mistake is answered with, in fusions and MS-CAM."""

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

NAMES = [*list_fusions(), *AUTHORS_KEYS]


def made(name, channels=16, **options):
    block = create_fusion(name, channels, **options)
    block.initialize()
    return block


@pytest.mark.parametrize("hybridized", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_unequal_shapes(name, hybridized):
    block = made(name, 64)
    block.hybridize(hybridized)
    with pytest.raises(UsageError) as error:
        block(mx.nd.ones((2, 64, 8, 8)), mx.nd.ones((2, 64, 4, 4)))
    assert str(error.value) == ("x is (2, 64, 8, 8), residual is (2, 64, 4, 4): resize or project one of them first")


@pytest.mark.parametrize("shape", [(2, 32, 8, 8), (2, 64), (64, 8, 8)], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_maps_of_another_kind(name, shape):
    with pytest.raises(UsageError, match=r"takes \(N, 64, H, W\)") as error:
        made(name, 64)(mx.nd.ones(shape), mx.nd.ones(shape))
    assert str(shape) in str(error.value)


@pytest.mark.parametrize("shape", [(2, 32, 8, 8), (2, 64)], ids=str)
def test_ms_cam_on_a_map_of_another_kind(shape):
    block = MSCAM(64)
    block.initialize()
    with pytest.raises(UsageError, match=r"takes \(N, 64, H, W\)") as error:
        block(mx.nd.ones(shape))
    assert str(shape) in str(error.value)


@pytest.mark.parametrize(
    "typed, meant",
    [("afff", "aff"), ("AFFx", "aff"), ("ASKC", "ASKCFuse"), ("DirectAd", "DirectAdd"), ("hiway", "highway")],
)
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
    }


def test_list_of_fusions():
    assert list_fusions() == sorted({*AUTHORS_KEYS.values(), "highway"})


@pytest.mark.parametrize("r", [0, -1, 1.5, "4", True])
def test_bad_bottleneck_ratio(r):
    with pytest.raises(UsageError, match="bottleneck ratio"):
        create_fusion("aff", 16, r=r)


@pytest.mark.parametrize("channels", [0, -8, 1.5, "16"])
@pytest.mark.parametrize("make", [lambda channels: create_fusion("add", channels), MSCAM])
def test_bad_channels(make, channels):
    with pytest.raises(UsageError, match=f"channels is {channels!r}"):
        make(channels)


def test_unknown_option_lists_the_accepted():
    with pytest.raises(UsageError, match="no option bogus: it takes factor, norm_kwargs, norm_layer, weight_on"):
        create_fusion("aff", 16, bogus=1)
    with pytest.raises(UsageError, match="no option weight_on: it takes norm_kwargs, norm_layer"):
        create_fusion("add", 16, weight_on="x")


@pytest.mark.parametrize("factor", [0, 3, "2"])
def test_bad_factor(factor):
    with pytest.raises(UsageError, match="choose 1 or 2"):
        create_fusion("aff", 16, factor=factor)


def test_bad_weight_on():
    with pytest.raises(UsageError, match="weight_on is 'shortcut': choose 'x' .* or 'residual'"):
        create_fusion("iaff", 16, weight_on="shortcut")


@pytest.fixture
def nobody_warned_yet(monkeypatch):
    monkeypatch.setattr(layers, "_warned_of_batch_of_one", False)


def warnings_of(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(entry.message) for entry in caught if "batch of one" in str(entry.message)]


def train(block, batch, inputs=2):
    maps = [mx.nd.ones((batch, 16, 4, 4)) for _ in range(inputs)]
    with mx.autograd.record():
        block(*maps)


POOLING = [name for name in list_fusions() if name not in ("add", "concat", "aff_local_local")]


@pytest.mark.parametrize("name", POOLING)
def test_batch_of_one_in_training_is_warned_of_once(name, nobody_warned_yet):
    block = made(name)
    assert warnings_of(lambda: block(*[mx.nd.ones((1, 16, 4, 4))] * 2)) == []  # inference
    assert warnings_of(lambda: train(block, 2)) == []
    assert len(warnings_of(lambda: train(block, 1))) == 1
    assert warnings_of(lambda: train(block, 1)) == []


def test_batch_of_one_in_ms_cam_is_warned_of(nobody_warned_yet):
    block = MSCAM(16)
    block.initialize()
    assert len(warnings_of(lambda: train(block, 1, inputs=1))) == 1


@pytest.mark.parametrize("name", ["add", "concat", "aff_local_local"])
def test_no_warning_where_nothing_is_pooled(name, nobody_warned_yet):
    block = made(name)
    assert warnings_of(lambda: train(block, 1)) == []


def test_no_warning_for_who_follows_the_advice(nobody_warned_yet):
    block = made("aff", norm_kwargs={"use_global_stats": True})
    assert warnings_of(lambda: train(block, 1)) == []


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


@pytest.mark.parametrize("block", [AFF, IAFF, MSCAM])
def test_help_is_our_own(block):
    """What help() says of the block, its constructor and its forward pass, none of it MXNet's."""
    for member in (block, block.__init__, block.forward, block.hybrid_forward):
        text = inspect.getdoc(member)
        assert text and "Overrides to construct symbolic graph" not in text and "Defines the forward" not in text
    text = inspect.getdoc(block)
    assert all(f"{name} : " in text or f"{name}, norm_kwargs" in text for name in ("channels", "r", "norm_layer"))
