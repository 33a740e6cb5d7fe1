"""IoU by image size: from evaluations of runs to a figure."""

import json

import pytest

from gluon_aff.cli import main as cli
from gluon_aff.comparison import size_plot
from gluon_aff.comparison.size_plot import draw_sizes, read_points
from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.utils import console


def evaluation(path, fusion="aff", size=160, epoch=59, iou=0.6, span=(0.5, 0.7)):
    group = {"name": "small", "smallest": 0.0, "limit": 16, "objects": 3, "iou": 0.4, "interval": [0.3, 0.5]}
    empty = {"name": "large", "smallest": 64, "limit": None, "objects": 0, "iou": None, "interval": None}
    run = {"fusion": fusion, "blocks": 1, "base_size": size, "crop_size": 80, "seed": 0, "epoch": epoch, "epochs": 60}
    report = {
        **{"iou": iou, "niou": iou, "iou_interval": span, "niou_interval": span, "images": 86},
        **{"sizes": [group, empty], "facts": {"size": f"{size}x{size}", "run": run}},
    }
    path.write_text(json.dumps(report))
    return str(path)


def test_points_are_read_as_they_were_scored(tmp_path):
    (tmp_path / "scored").mkdir()
    evaluation(tmp_path / "scored" / "report.json", size=256, epoch=40)
    last, best = read_points([evaluation(tmp_path / "one.json"), str(tmp_path / "scored")])
    assert (last.fusion, last.size, last.epoch, last.last) == ("aff", 160, 60, True)
    assert (best.size, best.epoch, best.last) == (256, 41, False)
    assert last.figures == {
        "IoU": (0.6, (0.5, 0.7)),
        "nIoU": (0.6, (0.5, 0.7)),
        "small targets, under 16 px of the original": (0.4, (0.3, 0.5)),
    }


def test_what_is_no_score_of_a_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match="is no evaluation"):
        read_points([str(tmp_path / "none.json")])
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(GluonAFFError, match="no score of a segmentation run's checkpoint"):
        read_points([str(tmp_path / "list.json")])
    (tmp_path / "cut.json").write_text('{"iou": 0.')
    with pytest.raises(GluonAFFError, match="cannot be read"):
        read_points([str(tmp_path / "cut.json")])
    with pytest.raises(UsageError, match="no evaluations to draw"):
        draw_sizes([], tmp_path / "size.png")


def test_the_figure_has_a_panel_for_each_range_of_sizes_and_stars_where_it_was_published(tmp_path, monkeypatch):
    places = [
        evaluation(tmp_path / f"{fusion}{size}{epoch}.json", fusion, size, epoch, iou, span)
        for fusion, size, epoch, iou, span in (
            ("add", 160, 59, 0.6, (0.5, 0.7)),
            ("add", 256, 59, 0.7, (0.6, 0.8)),
            ("aff", 160, 30, 0.65, None),
        )
    ]
    kept = []
    monkeypatch.setattr(size_plot, "write_figure", lambda figure, path, dpi: kept.append(figure))
    draw_sizes(read_points(places), tmp_path / "size.png")
    panels = [axes for axes in kept[0].axes if axes.axison]
    assert [axes.get_title() for axes in panels] == ["IoU", "nIoU", "small targets, under 16 px of the original"]
    stars = [line for axes in panels for line in axes.lines if line.get_marker() == "*"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in stars] == [(512, 0.72), (512, 0.7)]
    hollow = [line.get_ydata()[0] for line in panels[0].lines if line.get_markerfacecolor() == "white"]
    assert hollow == [0.65]


def test_the_command_draws_and_says_what(tmp_path, capsys):
    out = tmp_path / "size.png"
    assert console.run(cli.main, ["plot", "size", evaluation(tmp_path / "one.json"), "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr().out
    assert "aff b1 at 160 pixels, epoch 60 of 60: IoU 0.6000, 95 % 0.5000 to 0.7000 (86 images)" in said
    assert console.run(cli.main, ["plot", "size", str(tmp_path / "none.json")]) == 2
