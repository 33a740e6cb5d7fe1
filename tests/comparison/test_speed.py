"""`gluon-aff benchmark`: contenders take turns, what fails is named, ratios are of what was measured."""

import json
import os
import stat

import pytest

from gluon_aff.cli import main as cli
from gluon_aff.comparison import speed
from gluon_aff.comparison.speed import measuring
from gluon_aff.comparison.speed.literal import literal_model
from gluon_aff.comparison.speed.measuring import Contender
from gluon_aff.comparison.speed.suites import Ratio
from gluon_aff.errors import UsageError

TINY = ["--blocks", "1", "--channel-times", "1", "--batch-size", "4", "--size", "16", "--rounds", "2"]


def test_contenders_take_turns_and_the_rest_is_arithmetic(tmp_path, capsys):
    file = tmp_path / "speed.json"
    argv = ["benchmark", *TINY, "--forms", "static", "--against", "add,literal", "--json", str(file)]
    assert cli.main(argv) == 0
    printed = capsys.readouterr().out
    document = json.loads(file.read_text())
    (case,) = document["cases"]
    assert case["failed"] == {}
    assert list(case["results"]) == ["aff, static", "add", "literal", "product"]
    ours, add = case["results"]["aff, static"], case["results"]["add"]
    assert len(ours["seconds"]) == 2
    assert ours["images_per_second"] == pytest.approx(4 / ours["median"])
    assert 0 < ours["of_product"] < 1 and ours["peak_mib"] > 0
    assert document["ratios"][0]["ratio"] == pytest.approx(add["median"] / ours["median"])
    assert "| aff, static / add |" in printed
    assert cli.main(["benchmark", "--render", str(file)]) == 0
    assert capsys.readouterr().out == printed


def test_a_contender_that_cannot_run_or_dies_is_named_and_the_others_go_on(monkeypatch):
    """As one does that the system kills for its memory."""
    step = measuring._Process.step

    def killed(process):
        if "iaff" in process._process.args[-1]:
            process._process.kill()
            process._process.wait()
        return step(process)

    monkeypatch.setattr(measuring._Process, "step", killed)
    contenders = [Contender(name, name, "static") for name in ("no such", "iaff", "add")]
    case = speed.Case("case", "cifar_resnet", "infer", 2, 16, contenders, {"blocks": 1})
    measured = speed.measure(case, threads=1, rounds=2, warm_up=1)
    assert "unknown fusion 'no such'" in measured["failed"].pop("no such")
    assert measured["failed"] == {"iaff": "it ended without a word"}
    assert list(measured["results"]) == ["add", "product"] and len(measured["results"]["add"]["seconds"]) == 2


def test_ratios_are_to_the_best_and_of_the_best():
    results = {
        name: {"images_per_second": rate, "peak_mib": 100 / rate} for name, rate in (("a", 2), ("b", 3), ("c", 4))
    }
    cases = [{"name": "case", "results": results}]
    wanted = [
        Ratio("speed", "case", ("a", "b"), ("c", "gone"), 1.0),
        Ratio("memory", "case", ("c",), ("a", "b"), memory=True),
        Ratio("missing", "case", ("gone",), ("a",)),
    ]
    first, second, third = speed.ratios(wanted, cases)
    assert (first["ratio"], first["of"], first["to"]) == (pytest.approx(3 / 4), "b", "c")
    assert (second["ratio"], second["to"]) == (pytest.approx(25 / (100 / 3)), "b")
    assert third["ratio"] is None


def test_every_ratio_of_a_suite_names_contenders_of_its_case():
    for make in speed.SUITES.values():
        suite = make()
        names = {case.name: {contender.name for contender in case.contenders} for case in suite.cases}
        for ratio in suite.ratios:
            assert set(ratio.ours) | set(ratio.others) <= names[ratio.case], ratio.label


def test_the_literal_form_is_the_same_function():
    import mxnet as mx

    from gluon_aff.models import build_model

    options = {"blocks": 1, "channel_times": 1, "classes": 5, "fusion": "aff"}
    literal, ours = literal_model("cifar_resnet", **options), build_model("cifar_resnet", **options)
    x = mx.nd.random.normal(shape=(2, 3, 16, 16))
    for net in (literal, ours):
        net.initialize()
    source = literal._collect_params_with_prefix()
    for name, parameter in ours._collect_params_with_prefix().items():
        parameter.set_data(source[name].data())
    assert abs(literal(x) - ours(x)).max().asscalar() < 1e-4
    assert any(type(block).__name__ == "LiteralAFF" for block in _blocks(literal))


def _blocks(block):
    yield block
    for child in block._children.values():
        yield from _blocks(child)


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--forms", "fast"], "--forms has fast: choose from"),
        (["--against", "keras"], "--against has keras: choose from"),
        (["--forms", "folded"], "--forms folded is for inference"),
        (["--render", "none.json"], "none.json is not what"),
    ],
)
def test_what_cannot_be_asked_for(argv, message):
    with pytest.raises(UsageError, match=message):
        cli.main(["benchmark", *argv])


def test_a_profile_lists_operators(capsys):
    assert cli.main(["benchmark", "--profile", *TINY, "--forms", "static"]) == 0
    printed = capsys.readouterr().out
    assert "Convolution" in printed and "_backward_Convolution" in printed
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)  # the profiler has replaced no device
