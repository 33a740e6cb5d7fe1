"""``gluon-aff published ...``: what it prints, where, and its exit codes."""

import json

import mxnet as mx
import pytest

from gluon_aff import create_model, published
from gluon_aff.cli import main as cli
from gluon_aff.utils import console

FINE = "release_cifar100_AFF-ResNet-32_fine_0.8357"


@pytest.fixture
def gluon_aff(capsys):
    def call(*arguments):
        code = console.run(cli.main, ["published", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "small.params"
    create_model("cifar_aff_resnet8", channel_times=1, classes=10).save_parameters(str(path))
    return path


def test_list_and_what_of_it_is_here(gluon_aff):
    code, out, _ = gluon_aff("list")
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert code == 0 and len(lines) == 29
    expected = ["aff_resnet50", "-", "no", "float16", "-", "err-top1", "0.2028", "49,664", "61.4"]
    assert lines["release_imagenet_AFF-ResNet-50_0.2028"] == expected
    place = published.place_of(FINE)
    place.parent.mkdir(parents=True)
    place.write_bytes(b"")
    records = json.loads(gluon_aff("list", "--json")[1])
    assert [record["id"] for record in records] == published.list_published()
    assert [record["id"] for record in records if record["here"]] == [FINE]


def test_show(gluon_aff):
    code, out, _ = gluon_aff("show", FINE)
    assert code == 0
    for words in (published.address(FINE), "fine (100)", "images", "10000", "(not there)", "'cifar_aff_resnet32'"):
        assert words in out
    assert json.loads(gluon_aff("show", FINE, "--json")[1]) == published.record(FINE)


def test_path_prints_the_place_alone(gluon_aff):
    code, out, err = gluon_aff("path", FINE)
    assert code == 0
    assert out == f"{published.place_of(FINE)}\n"
    assert f"published fetch {FINE}" in err


@pytest.mark.parametrize("action", ["show", "path", "fetch"])
def test_an_unknown_id_is_answered_with_near_matches(gluon_aff, action):
    code, out, err = gluon_aff(action, "release_cifar100_AFF-ResNet-32_fine")
    assert (code, out) == (2, "")
    assert FINE in err


def test_verify_a_file_of_ours(gluon_aff, file):
    code, out, err = gluon_aff("verify", file)
    assert (code, out) == (1, "")
    assert f"{file.stat().st_size} bytes" in err and published.git_blob_sha1(file) in err


def test_verify_a_damaged_published_file(gluon_aff, tmp_path):
    path = tmp_path / published.record(FINE)["file"]
    path.write_bytes(b"x")
    assert f"{FINE} has e5f9164dd" in gluon_aff("verify", path)[2]
    other = tmp_path / "other.params"
    with open(other, "wb") as handle:
        handle.truncate(published.record(FINE)["bytes"])
    assert "of that size are" in gluon_aff("verify", other)[2]


def test_verify_settles_readings(gluon_aff, monkeypatch, tmp_path):
    first = "paper_cifar10_resnext29_AFF_0.9705"
    net = published.build(f"{first}__r4")
    net.save_parameters(str(tmp_path / "x"))
    records = published.catalogue()
    digest = published.git_blob_sha1(tmp_path / "x")
    for identity in (first, f"{first}__r4"):
        monkeypatch.setitem(records[identity], "git_blob_sha1", digest)
    code, out, _ = gluon_aff("verify", tmp_path / "x")
    assert code == 0
    assert out.splitlines()[1] == f"of these readings its arrays fit {first}__r4"


def test_inspect_answers_first_and_lists_arrays_when_asked(gluon_aff, file):
    row = ["features.1.weight", "float32", "16x3x3x3"]
    code, out, _ = gluon_aff("inspect", file)
    assert code == 0 and out.startswith("network     create_model(") and len(out.splitlines()) == 6
    assert row not in [line.split() for line in out.splitlines()]
    longer = gluon_aff("inspect", file, "--arrays")[1]
    assert longer.startswith(out) and row in [line.split() for line in longer.splitlines()]
    text = " ".join(out.split())
    assert "host CIFARResNet: tag release, layers 1x1x1, fusion aff, r 4, start_layer 1, classes 10" in text
    assert "create_model('cifar_aff_resnet8', classes=10, r=4, start_layer=1, channel_times=1)" in text
    assert "ms_gau, ms_sa, ms_se have the same arrays" in text
    assert "no published file" in text


def test_inspect_as_json_has_these_keys(gluon_aff, file, tmp_path):
    code, out, _ = gluon_aff("inspect", file, "--json")
    found = json.loads(out)
    assert code == 0
    assert set(found) == {"candidates", "create_model", "arrays", "problems"}
    assert found["candidates"] == [] and found["problems"] == [] and found["arrays"] == 115
    net = create_model(**found["create_model"], pretrained=file)
    assert net.output.weight.shape == (10, 64)
    mx.nd.save(str(tmp_path / "x"), {"my.weight": mx.nd.ones(3)})
    other = json.loads(gluon_aff("inspect", tmp_path / "x", "--json")[1])
    assert other["create_model"] is None and other["candidates"] == [] and other["arrays"] == 1
    assert "my.weight" in other["problems"][0]


def test_inspect_names_that_would_spoil_the_terminal(gluon_aff, tmp_path):
    mx.nd.save(str(tmp_path / "x"), {"\x1b[31mred\nline": mx.nd.ones(3)})
    code, out, _ = gluon_aff("inspect", tmp_path / "x", "--arrays")
    assert code == 0 and "\x1b" not in out
    assert "\\x1b[31mred\\nline" in out


def test_inspect_a_damaged_file(gluon_aff, file, tmp_path):
    (tmp_path / "cut").write_bytes(file.read_bytes()[:5000])
    code, out, err = gluon_aff("inspect", tmp_path / "cut")
    assert (code, out) == (1, "")
    assert err.count("\n") == 1 and "at byte" in err
    assert gluon_aff("inspect", tmp_path / "nowhere")[0] == 2
