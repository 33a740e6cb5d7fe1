"""The scripts of experiments/: our own figures, drawn and listed, and what a comparison will be able to tell."""

import csv
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

from gluon_aff.comparison import depth_plot
from gluon_aff.errors import GluonAFFError, UsageError

PLACE = ROOT / "experiments"
pytestmark = pytest.mark.skipif(not PLACE.is_dir(), reason="only in a clone")


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(PLACE))
    import power
    import results
    import size

    yield {"power": power, "results": results, "size": size}
    for name in ("power", "results", "size"):
        sys.modules.pop(name, None)


def test_sizes_are_drawn_as_the_picture_that_is_kept(scripts, tmp_path, capsys):
    scripts["size"].main(["--out", str(tmp_path / "size.png")])
    said = capsys.readouterr().out
    assert "aff b1 at 256 pixels, epoch 45 of 45: IoU 0." in said and "(86 images)" in said
    drawn, kept = tmp_path / "size.png", PLACE / "evaluations" / "size.png"
    with Image.open(drawn) as one, Image.open(kept) as other:
        assert one.size == other.size
        if other.info["Software"].split(",")[0].endswith(matplotlib.__version__):
            assert one.tobytes() == other.tobytes()


def test_what_is_no_score_of_a_run_is_refused(scripts, tmp_path):
    with pytest.raises(UsageError, match="is no evaluation"):
        scripts["size"].main([str(tmp_path / "none.json")])
    for content in ("[]", '{"iou": 0.'):
        (tmp_path / "report.json").write_text(content)
        with pytest.raises(GluonAFFError, match="no score of a segmentation run's checkpoint"):
            scripts["size"].main([str(tmp_path)])


def test_ours_come_with_interval_images_command_and_commit(scripts, tmp_path, capsys):
    record = {"what": "AFF, digits", "metric": "accuracy", "value": 0.5, "images": 100, "command": "a | b"}
    (tmp_path / "results.json").write_text(json.dumps([{**record, "commit": "abc1234", "date": "2026-01-01"}]))
    for name in ("pictures", "evaluations"):
        shutil.copytree(PLACE / name, tmp_path / name)
    ours, paired = scripts["results"].tables(tmp_path)
    what, metric, value, low, high, *rest = ours.rows[0]
    assert (what, metric, value) == ("AFF, digits", "accuracy", 0.5)
    assert (low, high) == pytest.approx((0.403832, 0.596168), abs=1e-6)  # Wilson's, of 50 of 100
    assert rest == ["images", 100, "a | b", "abc1234"]
    setting = "resnet b=1, iaff, folder, 20000 training images"
    iaff = next(row for row in ours.rows if row[0].startswith(f"{setting}, 8 seeds ± 0.0"))
    assert (round(iaff[2], 4), iaff[5:7]) == (0.7069, ("seeds and images", 10000)) and "0990658" in iaff[-1]
    pair = next(row for row in paired.rows if row[0] == f"{setting}, from add, 8 pairs")
    assert (round(pair[2], 4), pair[6:9]) == (0.0130, ("ahead", "seeds and images", 10000))
    scored = [
        row for row in ours.rows if row[0].startswith("fpn b=1, aff, sirst at 256 pixels, epoch 45 of 45, seed 0")
    ]
    assert [row[1] for row in scored] == ["IoU", "nIoU"] and all(row[5:7] == ("images", 86) for row in scored)
    scripts["results"].main(["--format", "csv"])
    kept = csv.DictReader(io.StringIO(capsys.readouterr().out.split("\n\n")[0]))
    assert all(len(row["commit"]) >= 7 and row["command"] for row in kept)


def test_no_grid_stands_among_anothers_in_fig_7():
    points = depth_plot.our_points(sorted(str(path.parent) for path in PLACE.glob("*/report.json")))
    assert len({(point.host, point.data, point.strategy, point.blocks) for point in points}) == len(points) > 30


def test_power_against_the_t_tests_own(scripts):
    """With infinitely many test images the design is the paired t test, whose power is a noncentral t's."""
    Design, power, detectable = (getattr(scripts["power"], name) for name in ("Design", "power", "detectable"))
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


def test_the_power_script(scripts, tmp_path, capsys):
    power = scripts["power"]
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
    with pytest.raises(UsageError, match="no pairs with sk"):
        power.main([str(tmp_path), "--baseline", "sk"])
    with pytest.raises(GluonAFFError, match="is no report"):
        power.main([str(tmp_path / "none")])
