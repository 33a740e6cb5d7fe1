"""Paired comparisons: intervals that cover what they should, tests against known figures, designs before runs."""

import json

import numpy as np
import pytest
from scipy import stats

from gluon_aff.cli import main as cli
from gluon_aff.comparison.contrasts import contrasts, in_order
from gluon_aff.comparison.paired import Measured, holm, image_test, interval, mcnemar
from gluon_aff.comparison.power import Design, detectable, pooled, power
from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.tasks.final_test import Shares
from gluon_aff.utils import console


def measured(hits, whole=None):
    hits = np.asarray(hits, dtype=float)
    whole = np.ones_like(hits) if whole is None else np.asarray(whole, dtype=float)
    return Measured(hits.sum() / whole.sum(), Shares(tuple(map(str, range(len(hits)))), hits, whole))


def test_without_shares_it_is_the_usual_paired_t_interval():
    one, other = [0.71, 0.74, 0.70, 0.72], [0.70, 0.71, 0.70, 0.70]
    found = interval([Measured(value) for value in one], [Measured(value) for value in other])
    expected = stats.ttest_rel(one, other)
    differences = np.subtract(one, other)
    low, high = stats.t.interval(0.95, 3, differences.mean(), stats.sem(differences))
    assert (found.mean, found.low, found.high) == pytest.approx((differences.mean(), low, high))
    assert found.p_value == pytest.approx(expected.pvalue) and not found.images
    assert interval([Measured(0.5)], [Measured(0.4)]) is None  # one seed says nothing of others


def trial(random, images=200, seeds=6, truth=0.05):
    """Right and wrong answers of two strategies whose true accuracies are ``truth`` apart, over seeds and images."""
    easy = random.beta(2, 1, size=images)
    lean = 0.1 * random.standard_normal(images)  # what one strategy finds easier
    runs = []
    for _ in range(seeds):
        shift = 0.02 * random.standard_normal()
        base = np.clip(easy, 0.15, 0.8)
        better = base + np.clip(truth + shift + lean, -0.15, 0.2)
        runs.append([measured(random.random(images) < p) for p in (better, base)])
    return [pair[0] for pair in runs], [pair[1] for pair in runs]


def test_intervals_cover_the_truth_and_are_not_vain(monkeypatch):
    monkeypatch.setattr("gluon_aff.comparison.paired._DRAWS", 500)
    random = np.random.default_rng(0)
    truth = np.mean([np.clip(0.05 + 0.02 * s + 0.1 * n, -0.15, 0.2) for s, n in random.standard_normal((200_000, 2))])
    found = [interval(*trial(random)) for _ in range(150)]
    covered = np.mean([each.low <= truth <= each.high for each in found])
    assert covered >= 0.93
    seeds_alone = [interval(*([Measured(run.figure) for run in side] for side in trial(random))) for _ in range(150)]
    widths = [np.mean([each.high - each.low for each in side]) for side in (found, seeds_alone)]
    assert widths[1] < widths[0] < 2 * widths[1]


def test_images_are_aligned_or_refused():
    one, other = measured([1, 0, 1]), Measured(0.5, Shares(("0", "1", "x"), np.ones(3), np.ones(3)))
    with pytest.raises(GluonAFFError, match="tested on different images"):
        interval([one, one], [other, other])
    same = interval([one, one], [one, one])
    assert (same.mean, same.low, same.high, same.p_value) == (0, 0, 0, 1)


def test_mcnemar_is_the_exact_binomial_test():
    for better, worse in ((0, 0), (5, 5), (9, 1), (30, 50)):
        expected = stats.binomtest(better, better + worse).pvalue if better + worse else 1.0
        assert mcnemar(better, worse) == pytest.approx(expected)
    found = image_test(measured([1, 1, 0, 1]).shares, measured([1, 0, 1, 0]).shares)
    assert (found.better, found.worse, found.name) == (2, 1, "McNemar")


def test_segmentation_is_compared_by_the_signed_ranks_of_the_images_iou():
    random = np.random.default_rng(1)
    whole = random.integers(20, 60, size=40)
    one, other = measured(whole - random.integers(0, 9, 40), whole), measured(whole - random.integers(4, 15, 40), whole)
    found = image_test(one.shares, other.shares)
    ious = (one.shares.part - other.shares.part) / whole
    assert found.name == "Wilcoxon" and found.p_value < 0.01
    assert found.p_value == pytest.approx(stats.wilcoxon(ious).pvalue)
    assert image_test(one.shares, one.shares).p_value == 1
    # the interval is of the quotient of the sums, not of the images' mean
    drawn = interval([one, one, one], [other, other, other])
    assert drawn.mean == pytest.approx(one.figure - other.figure) and drawn.images and drawn.low > 0


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.6, 0.5]) == [1.0, 1.0]


def test_ties_stay_ties():
    assert in_order({"add": 0.74, "a": 0.754, "iaff": 0.772, "b": 0.754}) == "iaff > a = b > add"


def run(strategy, seed, final, blocks=1):
    return {"host": "resnet", "strategy": strategy, "seed": seed, "final": final, "blocks": blocks}


def test_contrasts_are_by_seed_and_a_single_seed_decides_nothing():
    rows = [run("add", seed, 0.7 + 0.01 * seed) for seed in range(4)]
    rows += [run("iaff", seed, 0.72 + 0.01 * seed + 0.001 * (seed % 2)) for seed in range(4)]
    rows += [run("aff", 0, 0.9), run("se", 7, 0.9), run("add", 0, 0.6, 2), run("aff", 0, 0.7, 2)]
    found = {(row["blocks"], row["strategy"]): row for row in contrasts(rows, "add", {})}
    assert set(found) == {(1, "iaff"), (1, "aff"), (2, "aff")}  # se has no partner
    iaff = found[1, "iaff"]
    assert iaff["verdict"] == "ahead" and iaff["seeds"] == 4 and iaff["paper"] == pytest.approx(0.032)
    assert [pair["difference"] for pair in iaff["pairs"]] == pytest.approx([0.02, 0.021, 0.02, 0.021])
    assert found[1, "aff"]["verdict"] == found[2, "aff"]["verdict"] == "one seed" and found[1, "aff"]["low"] is None


def test_power_against_the_t_tests_own():
    """With infinitely many test images the design is the paired t test, whose power is a noncentral t's."""
    design = Design(seeds=6, images=10**9, spread=0.01)
    limit = stats.t.ppf(0.975, 5)
    for difference in (0.0, 0.01, 0.02):
        expected = stats.nct.sf(limit, 5, difference / 0.01 * np.sqrt(6)) if difference else 0.025
        assert power(design, difference) == pytest.approx(expected, abs=0.01)
    found = detectable(design)
    assert power(design, found) >= 0.8 > power(design, found - 3e-4)
    worse = [Design(4, 10**9, 0.01), Design(6, 1000, 0.01), Design(6, 10**9, 0.01, contrasts=4)]
    assert all(detectable(each) > found for each in worse)
    with pytest.raises(UsageError, match="expected 2 to 1000 seeds"):
        Design(1, 100, 0.01)


def test_the_power_command(tmp_path, capsys):
    runs = [run("add", 0, 0.7), run("add", 1, 0.71), run("iaff", 0, 0.72), run("iaff", 1, 0.74)]
    (tmp_path / "report.json").write_text(json.dumps({"runs": runs}))
    argv = ["power", str(tmp_path), "--seeds", "4,8", "--plot", str(tmp_path / "power.png")]
    assert console.run(cli.main, argv) == 0
    out = capsys.readouterr().out
    assert "+0.0200 +0.0300" in out and "spread of the paired difference 0.0071" in out
    assert pooled({"a": [0.02, 0.03], "b": [0.1]}) == pytest.approx(np.std([0.02, 0.03], ddof=1))
    assert (tmp_path / "power.png").read_bytes().startswith(b"\x89PNG")
    for wrong in ([], ["--spread", "inf"], ["--spread", "0.01", "--seeds", ","], ["--spread", "0.01", "--seeds", "1"]):
        assert console.run(cli.main, ["power", *wrong]) == 2
    assert console.run(cli.main, ["power", str(tmp_path), "--baseline", "sk"]) == 2
    assert console.run(cli.main, ["power", str(tmp_path / "none")]) == 1


@pytest.mark.parametrize("seeds", [2, 4, 8])
def test_a_difference_that_is_none_is_rarely_found(seeds):
    """Whatever the parts of seeds and images are: at most 5 %, and near it where either is alone."""
    for spread, images in ((0.001, 500), (0.005, 5000), (0.02, 10000)):
        assert 2 * power(Design(seeds, images, spread), 0.0) < 0.053
    assert 2 * power(Design(seeds, 10**9, 0.01), 0.0) == pytest.approx(0.05, abs=0.005)
    many = 2 * power(Design(seeds, 500, 1e-9, common=1.0), 0.0)
    assert many == pytest.approx(0.05, abs=0.005)
