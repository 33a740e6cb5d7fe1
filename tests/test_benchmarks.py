"""benchmarks/speed.py: contenders take turns, what fails is named, ratios are of what was measured."""

import json
import os
import stat
import sys

import pytest
from script_runs import ROOT

from gluon_aff.errors import UsageError

pytestmark = pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="only in a clone")
TINY = ["--blocks", "1", "--channel-times", "1", "--batch-size", "4", "--size", "16", "--rounds", "2"]


@pytest.fixture
def speed(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import speed

    yield speed
    for name in ("speed", "with_mxnet"):
        sys.modules.pop(name, None)


def test_contenders_take_turns_and_the_rest_is_arithmetic(speed, tmp_path, capsys):
    file = tmp_path / "speed.json"
    speed.main([*TINY, "--forms", "static", "--against", "add,literal", "--json", str(file)])
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
    speed.main(["--render", str(file)])
    assert capsys.readouterr().out == printed


def test_a_contender_that_cannot_run_or_dies_is_named_and_the_others_go_on(speed, monkeypatch):
    """As one does that the system kills for its memory."""
    step = speed.Process.step

    def killed(running):
        if "iaff" in running.process.args[-1]:
            running.process.kill()
            running.process.wait()
        return step(running)

    monkeypatch.setattr(speed.Process, "step", killed)
    contenders = [speed.Contender(name, name, "static") for name in ("no such", "iaff", "add")]
    case = speed.Case("case", "cifar_resnet", "infer", 2, 16, contenders, {"blocks": 1})
    measured = speed.measure(case, threads=1, rounds=2, warm_up=1)
    assert "unknown fusion 'no such'" in measured["failed"].pop("no such")
    assert measured["failed"] == {"iaff": "it ended without a word"}
    assert list(measured["results"]) == ["add", "product"] and len(measured["results"]["add"]["seconds"]) == 2


def test_ratios_are_to_the_best_and_of_the_best(speed):
    results = {
        name: {"images_per_second": rate, "peak_mib": 100 / rate} for name, rate in (("a", 2), ("b", 3), ("c", 4))
    }
    wanted = [
        speed.Ratio("speed", "case", ("a", "b"), ("c", "gone"), 1.0),
        speed.Ratio("memory", "case", ("c",), ("a", "b"), memory=True),
        speed.Ratio("missing", "case", ("gone",), ("a",)),
    ]
    first, second, third = speed.ratios_of(wanted, [{"name": "case", "results": results}])
    assert (first["ratio"], first["of"], first["to"]) == (pytest.approx(3 / 4), "b", "c")
    assert (second["ratio"], second["to"]) == (pytest.approx(25 / (100 / 3)), "b")
    assert third["ratio"] is None
    for suite in speed.SUITES.values():
        cases, ratios = suite()
        names = {case.name: {contender.name for contender in case.contenders} for case in cases}
        assert all(set(ratio.ours) | set(ratio.others) <= names[ratio.case] for ratio in ratios)


def test_the_literal_form_is_the_same_function(speed):
    import mxnet as mx
    from with_mxnet import literal_model

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
    assert "LiteralAFF" in repr(literal) and "LiteralAFF" not in repr(ours)


@pytest.mark.parametrize(
    "argv, error",
    [(["--forms", "fast"], SystemExit), (["--forms", "folded"], UsageError), (["--render", "no"], UsageError)],
)
def test_what_cannot_be_asked_for(speed, argv, error):
    with pytest.raises(error):
        speed.main(argv)


def test_a_profile_lists_operators(speed, capsys):
    speed.main(["--profile", *TINY, "--forms", "static"])
    printed = capsys.readouterr().out
    assert "Convolution" in printed and "_backward_Convolution" in printed
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)  # the profiler has replaced no device
