"""Paired comparisons: intervals that cover what they should, tests against known figures."""

import numpy as np
import pytest
from scipy import stats

from gluon_aff.comparison.paired import Measured, contrasts, holm, image_test, in_order, interval
from gluon_aff.errors import GluonAFFError
from gluon_aff.tasks.final_score import Shares


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
    monkeypatch.setattr("gluon_aff.comparison.paired._DRAWS", 250)
    random = np.random.default_rng(0)
    seed, image = random.standard_normal((200_000, 2)).T
    truth = np.clip(0.05 + 0.02 * seed + 0.1 * image, -0.15, 0.2).mean()
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
        expected = min(1, 2 * stats.binom.cdf(min(better, worse), better + worse, 0.5))  # a fair coin, to both sides
        one, other = ([1] * better + [0] * worse + [1], [0] * better + [1] * worse + [1])
        found = image_test(measured(one).shares, measured(other).shares)
        assert found == (better, worse, pytest.approx(expected), "McNemar")


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
