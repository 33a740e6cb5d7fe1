"""gluon-aff plot: which figures stand in Fig. 7, curves over each other, schedules."""

import json

import numpy as np
import pytest

from gluon_aff.cli import main as cli
from gluon_aff.comparison import ACCURACY, Comparison, Curve, Point, comparison, depth_plot, draw_runs, open_curve
from gluon_aff.comparison.depth_plot import our_points, paper_points
from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.training import Schedule
from gluon_aff.training.history import History
from gluon_aff.utils import console

PNG = b"\x89PNG"


def run(directory, strategy="aff", values=(0.5, 0.6), host="resnet", blocks=1, metric="accuracy", **more):
    history = History(directory / "history.jsonl")
    options = {"model": host, "fusion": strategy, "blocks": blocks, "num_epochs": len(values), **more}
    data = {"name": "folder", "train": 100, "test": 10, "classes": 10}
    history.start({"task": "seg" if host == "fpn" else "cifar", "options": options, "parameters": 90000, "data": data})
    for epoch, value in enumerate(values):
        history.append({"epoch": epoch, "train": 0.4, "train_metric": metric, "loss": 1.0 - value, "val": value})
    return str(directory)


@pytest.fixture
def report(tmp_path):
    row = {"strategy": "iaff", "blocks": 2, "parameters": 5, "final_mean": 0.7, "final_spread": None, "seeds": [0]}
    content = {"host": "inception", "rows": [row], "data": {"name": "digits", "train": 7, "classes": 10}}
    (tmp_path / "grid").mkdir()
    (tmp_path / "grid/report.json").write_text(json.dumps(content))
    return str(tmp_path / "grid")


def test_the_papers_points_have_the_parameters_of_their_networks():
    names = ("add", "concat", "aff", "iaff", "aff_local_local")
    points = {(point.strategy, point.blocks): point for point in paper_points("resnet", names)}
    assert {strategy for strategy, _ in points} == set(names)
    frozen = 6  # of the input's norm, which counts among the arrays and is not trained
    head = 80 * 65 - frozen  # 100 instead of 20 outputs
    for key, parameters in {("add", 1): 78506, ("aff", 2): 199242, ("iaff", 3): 310234, ("concat", 4): 415402}.items():
        assert points[key].parameters == parameters + head
    assert points["aff_local_local", 1].parameters == 84722 + head  # Table 3 compares at r = 4
    assert points["aff", 4].accuracy == 0.826 and ("iaff", 4) not in points
    fpn = paper_points("fpn", ["add"])
    assert [(point.blocks, point.parameters) for point in fpn][::3] == [(1, 93899 - frozen), (4, 385547 - frozen)]


def test_seeds_are_averaged_and_reports_taken_as_they_are(tmp_path, report):
    places = [run(tmp_path / "a", values=(0.1, 0.6)), run(tmp_path / "b", values=(0.9, 0.8)), report]
    reported, trained = our_points(places)
    assert (trained.accuracy, trained.runs) == (pytest.approx(0.7), 2)  # of the last epoch
    assert trained.std == pytest.approx(0.02**0.5)
    assert trained.interval == (0.0, 1.0)  # two seeds: 0.7 ± 12.7 * 0.1
    assert (reported.host, reported.strategy, reported.blocks, reported.accuracy) == ("inception", "iaff", 2, 0.7)


def test_depth_is_drawn(tmp_path, report, capsys):
    out = tmp_path / "new/depth.png"
    assert console.run(cli.main, ["plot", "depth", run(tmp_path / "a"), report, "--out", str(out)]) == 0
    assert out.read_bytes().startswith(PNG)
    printed = capsys.readouterr().out
    assert "resnet b1 aff: 90,000 parameters, 0.6000 (1 run)" in printed
    assert "2 of ours, 15 of the paper's" in printed  # aff and iaff, for both hosts; iaff has no b = 4 on resnet


def test_depth_refuses(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "report.json").write_text("{}")
    for place, error, message in (
        (tmp_path / "empty", UsageError, "neither a report of .* nor a run"),
        (tmp_path, GluonAFFError, "is no report of"),
        (run(tmp_path / "begun", values=()), GluonAFFError, "no finished epoch yet"),
        (run(tmp_path / "other", host="resnext"), UsageError, "trained 'resnext': the figure has inception, resnet"),
    ):
        with pytest.raises(error, match=message):
            our_points([str(place)])
    argv = ["plot", "depth", run(tmp_path / "a"), "--host", "inception", "--no-paper"]
    assert console.run(cli.main, argv) == 2
    assert "no figures to draw" in capsys.readouterr().err


def test_runs_over_each_other(tmp_path, capsys):
    one, other = run(tmp_path / "one"), run(tmp_path / "other", values=(0.2, 0.9, 0.3))
    argv = ["plot", "history", one, other, "--names", "AFF,add", "--out", str(tmp_path / "h.png")]
    assert console.run(cli.main, argv) == 0
    assert (tmp_path / "h.png").read_bytes().startswith(PNG)
    assert "best 0.9000 (epoch 1), last 0.3000 (epoch 2)" in capsys.readouterr().out
    curves = draw_runs([one, "release_cifar100_AFF-ResNet-32_fine_0.8357"], tmp_path / "both.png")
    assert len(curves[1].points) > 100


def test_kinds_of_runs_are_not_mixed(tmp_path, capsys):
    one, other = run(tmp_path / "one"), run(tmp_path / "other", host="fpn", metric="iou")
    with pytest.raises(UsageError, match="is measured by IoU, the other by accuracy"):
        draw_runs([one, other], tmp_path / "h.png")
    draw_runs([other], tmp_path / "h.png")
    several = run(tmp_path / "several", host="fpn", metric="miou", classes=3)
    assert open_curve(several).metric == "mIoU" and open_curve(other).metric == "IoU"
    with pytest.raises(UsageError, match="is measured by mIoU, the other by IoU"):
        draw_runs([other, several], tmp_path / "h.png")
    assert console.run(cli.main, ["compare", several, "--with", several]) == 0
    assert "metric     mIoU, higher is better" in capsys.readouterr().out
    assert console.run(cli.main, ["plot", "history", one, "--names", "a,b"]) == 2
    assert "expected a name for each of the 1 runs" in capsys.readouterr().err


def test_schedules_of_recipes(tmp_path, monkeypatch, capsys):
    from gluon_aff.training import plots

    drawn = []
    monkeypatch.setattr(plots, "plot_schedule", lambda *arguments: drawn.append(arguments))
    for name in ("cifar-release", "seg-paper"):
        assert console.run(cli.main, ["plot", "schedule", name, "--out", str(tmp_path / "s.png")]) == 0
    (release, title, *_), (seg, *_) = drawn
    assert isinstance(release, Schedule) and "cifar release: 640 epochs" in title
    assert release(10 * 100) == pytest.approx(0.2, rel=1e-3)  # after the warm-up
    assert (seg.epochs, seg(1)) == (300, pytest.approx(0.01, rel=1e-3))
    for name, message in (("paper", "it could be cifar-paper, "), ("nothing", "choose one of cifar-paper, ")):
        assert console.run(cli.main, ["plot", "schedule", name]) == 2
        assert message in capsys.readouterr().err


def panels(monkeypatch, module, draw):
    """The axes of the figure that ``draw`` writes."""
    kept = []
    monkeypatch.setattr(module, "write_figure", lambda figure, path, dpi: kept.append(figure))
    draw()
    return [axes for axes in kept[0].axes if axes.axison]


def test_data_sets_have_panels_of_their_own_and_no_line_joins_our_points(monkeypatch):
    def point(blocks, data, std=None):
        return depth_plot.DepthPoint("resnet", "aff", blocks, 1000 * blocks, 0.5 + 0.01 * blocks, std, 1, data)

    ours = [point(1, "digits", 0.01), point(2, "digits"), point(1, "folder")]
    theirs = [point(1, "CIFAR-100"), point(2, "CIFAR-100")]
    axes = panels(monkeypatch, depth_plot, lambda: depth_plot.draw_depth(ours, theirs, "depth.png"))
    assert [each.get_title().split("\n") for each in axes] == [
        ["resnet, ours", "digits"],
        ["resnet, ours", "folder"],
        ["resnet, the paper's", "CIFAR-100"],
    ]
    drawn = [[len(line.get_xdata()) for line in each.lines if line.get_marker() in "o."] for each in axes]
    assert drawn == [[1, 1], [1], [2]]
    assert [line.get_markerfacecolor() for line in axes[0].lines if line.get_marker() == "o"][1] == "none"


def test_strategies_of_one_size_stand_beside_each_other_with_their_intervals(monkeypatch):
    def point(strategy, parameters, span, runs=8):
        return depth_plot.DepthPoint("resnet", strategy, 1, parameters, 0.7, 0.01, runs, "folder", span)

    ours = [point("aff", 9000, (0.69, 0.71)), point("aff_local_local", 9000, (0.66, 0.74)), point("add", 8000, None, 1)]
    ours.append(point("iaff", 9100, (0.0, 1.0), 2))
    (axes,) = panels(monkeypatch, depth_plot, lambda: depth_plot.draw_depth(ours, [], "depth.png"))
    places = sorted(float(line.get_xdata()[0]) for line in axes.lines if line.get_marker() == "o")
    assert min(np.diff(places)) > 0.01
    low, high = axes.get_ylim()
    assert low < 66 and 74 < high < 80  # the interval of two seeds is cut off, that of eight is not


def test_a_short_run_is_compared_over_its_own_epochs_and_shown_in_the_whole(monkeypatch):
    def curve(name, epochs):
        return Curve(name, ACCURACY, tuple(Point(epoch, epoch / 100) for epoch in range(epochs)))

    def drawn(epochs):
        found = Comparison(curve("run", epochs), curve("reference", 60))
        axes = panels(monkeypatch, comparison, lambda: comparison.draw_comparison(found, "comparison.png"))
        return [max(max(line.get_xdata()) for line in each.lines if len(line.get_xdata()) > 2) for each in axes]

    assert drawn(10) == [9, 9, 59]
    assert drawn(60) == [59, 59]
