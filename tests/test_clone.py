"""Scripts of a clone: benchmarks/speed.py measures, those of experiments/ draw, list and plan our own figures."""

import csv
import importlib
import io
import json
import shutil
import sys

import matplotlib
import numpy as np
import pytest
from PIL import Image
from scipy import stats
from script_runs import ROOT

from gluon_aff.comparison.depth_plot import our_points
from gluon_aff.errors import GluonAFFError, UsageError

EXPERIMENTS = ROOT / "experiments"
pytestmark = pytest.mark.skipif(not EXPERIMENTS.is_dir(), reason="only in a clone")
TINY = ["--blocks", "1", "--channel-times", "1", "--batch-size", "4", "--size", "16", "--rounds", "2"]


@pytest.fixture
def script(monkeypatch):
    """Imports a script by its name."""
    before = set(sys.modules)
    for folder in ("benchmarks", "experiments"):
        monkeypatch.syspath_prepend(str(ROOT / folder))
    yield importlib.import_module
    for name in {"speed", "with_mxnet", "power", "results", "size"} - before:
        sys.modules.pop(name, None)


def test_contenders_take_turns_and_the_rest_is_arithmetic(script, tmp_path, capsys):
    speed, file = script("speed"), tmp_path / "speed.json"
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
    for wrong, error in ((["--forms", "fast"], SystemExit), (["--forms", "folded"], UsageError)):
        with pytest.raises(error):
            speed.main(wrong)


def test_a_contender_that_cannot_run_or_dies_is_named_and_the_others_go_on(script, monkeypatch):
    """As one does that the system kills for its memory."""
    speed = script("speed")
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


def test_ratios_are_to_the_best_and_of_the_best(script):
    speed = script("speed")
    rates = {"a": 2, "b": 3, "c": 4}
    results = {name: {"images_per_second": rate, "peak_mib": 100 / rate} for name, rate in rates.items()}
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


def test_the_literal_form_is_the_same_function_and_a_profile_lists_its_operators(script, capsys):
    import mxnet as mx

    from gluon_aff.models import build_model

    options = {"blocks": 1, "channel_times": 1, "classes": 5, "fusion": "aff"}
    literal = script("with_mxnet").literal_model("cifar_resnet", **options)
    ours = build_model("cifar_resnet", **options)
    x = mx.nd.random.normal(shape=(2, 3, 16, 16))
    for net in (literal, ours):
        net.initialize()
    source = literal._collect_params_with_prefix()
    for name, parameter in ours._collect_params_with_prefix().items():
        parameter.set_data(source[name].data())
    assert abs(literal(x) - ours(x)).max().asscalar() < 1e-4
    assert "LiteralAFF" in repr(literal) and "LiteralAFF" not in repr(ours)
    script("speed").main(["--profile", *TINY, "--forms", "static"])
    assert "_backward_Convolution" in capsys.readouterr().out


def test_sizes_are_drawn_as_the_picture_that_is_kept(script, tmp_path, capsys):
    size, drawn, kept = script("size"), tmp_path / "size.png", EXPERIMENTS / "evaluations" / "size.png"
    size.main(["--out", str(drawn)])
    said = capsys.readouterr().out
    assert "aff b1 at 256 pixels, epoch 45 of 45: IoU 0." in said and "(86 images)" in said
    with Image.open(drawn) as one, Image.open(kept) as other:
        assert one.size == other.size
        if other.info["Software"].split(",")[0].endswith(matplotlib.__version__):
            assert one.tobytes() == other.tobytes()
    with pytest.raises(UsageError, match="is no evaluation"):
        size.main([str(tmp_path / "none.json")])
    for content in ("[]", '{"iou": 0.'):
        (tmp_path / "report.json").write_text(content)
        with pytest.raises(GluonAFFError, match="no score of a segmentation run's checkpoint"):
            size.main([str(tmp_path)])


def test_ours_come_with_interval_images_command_and_commit(script, tmp_path, capsys):
    results = script("results")
    record = {"what": "AFF, digits", "metric": "accuracy", "value": 0.5, "images": 100, "command": "a | b"}
    (tmp_path / "results.json").write_text(json.dumps([{**record, "commit": "abc1234", "date": "2026-01-01"}]))
    for name in ("pictures", "evaluations"):
        shutil.copytree(EXPERIMENTS / name, tmp_path / name)
    ours, paired = results.tables(tmp_path)
    what, metric, value, low, high, *rest = ours.rows[0]
    assert (what, metric, value) == ("AFF, digits", "accuracy", 0.5)
    assert (low, high) == pytest.approx((0.403832, 0.596168), abs=1e-6)  # Wilson's, of 50 of 100
    assert rest == ["images", 100, "a | b", "abc1234"]
    setting = "resnet b=1, iaff, folder, 20000 training images"
    iaff = next(row for row in ours.rows if row[0].startswith(f"{setting}, 8 seeds ± 0.0"))
    assert (round(iaff[2], 4), iaff[5:7]) == (0.7069, ("seeds and images", 10000)) and "0990658" in iaff[-1]
    pair = next(row for row in paired.rows if row[0] == f"{setting}, from add, 8 pairs")
    assert (round(pair[2], 4), pair[6:9]) == (0.0130, ("ahead", "seeds and images", 10000))
    what = "fpn b=1, aff, sirst at 256 pixels, epoch 45 of 45, seed 0"
    scored = [row for row in ours.rows if row[0] == what]
    assert [row[1] for row in scored] == ["IoU", "nIoU"] and all(row[5:7] == ("images", 86) for row in scored)
    results.main(["--format", "csv"])
    kept = csv.DictReader(io.StringIO(capsys.readouterr().out.split("\n\n")[0]))
    assert all(len(row["commit"]) >= 7 and row["command"] for row in kept)


def test_no_grid_stands_among_anothers_in_fig_7():
    points = our_points(sorted(str(path.parent) for path in EXPERIMENTS.glob("*/report.json")))
    assert len({(point.host, point.data, point.strategy, point.blocks) for point in points}) == len(points) > 30


def test_power_against_the_t_tests_own(script):
    """With infinitely many test images the design is the paired t test, whose power is a noncentral t's."""
    Design, power, detectable = (getattr(script("power"), name) for name in ("Design", "power", "detectable"))
    design = Design(seeds=6, images=10**9, spread=0.01)
    limit = stats.t.ppf(0.975, 5)
    for difference in (0.0, 0.01, 0.02):
        expected = stats.nct.sf(limit, 5, difference / 0.01 * np.sqrt(6)) if difference else 0.025
        assert power(design, difference) == pytest.approx(expected, abs=0.01)
    found = detectable(design)
    assert power(design, found) >= 0.8 > power(design, found - 3e-4)
    worse = [Design(4, 10**9, 0.01), Design(6, 1000, 0.01), Design(6, 10**9, 0.01, contrasts=4)]
    assert all(detectable(each) > found for each in worse)
    for seeds in (2, 8):  # a difference that is none is rarely found, whatever the parts of seeds and images are
        for spread, images in ((0.001, 500), (0.005, 5000), (0.02, 10000)):
            assert 2 * power(Design(seeds, images, spread), 0.0) < 0.053
        assert 2 * power(Design(seeds, 500, 1e-9, common=1.0), 0.0) == pytest.approx(0.05, abs=0.005)


def test_the_power_script(script, tmp_path, capsys):
    power = script("power")
    finals = {("add", 0): 0.7, ("add", 1): 0.71, ("iaff", 0): 0.72, ("iaff", 1): 0.74}
    runs = [{"strategy": name, "seed": seed, "final": final, "blocks": 1} for (name, seed), final in finals.items()]
    (tmp_path / "report.json").write_text(json.dumps({"runs": runs}))
    power.main([str(tmp_path), "--seeds", "4,8", "--plot", str(tmp_path / "power.png")])
    out = capsys.readouterr().out
    assert "+0.0200 +0.0300" in out and "spread of the paired difference 0.0071" in out
    assert power.pooled({"a": [0.02, 0.03], "b": [0.1]}) == pytest.approx(np.std([0.02, 0.03], ddof=1))
    assert (tmp_path / "power.png").read_bytes().startswith(b"\x89PNG")
    for wrong in ([], ["--spread", "inf"], ["--spread", "0.01", "--seeds", ","], ["--spread", "0.01", "--seeds", "1"]):
        with pytest.raises(UsageError):
            power.main(wrong)
