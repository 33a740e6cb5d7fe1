"""gluon-aff results, and the data behind it: the authors' runs with what each figure counts."""

import csv
import io
import json

import pytest

from gluon_aff import facts as figures
from gluon_aff import published
from gluon_aff.cli import main as cli
from gluon_aff.comparison import our_tables, result_tables
from gluon_aff.comparison.result_tables import render, tables
from gluon_aff.errors import UsageError
from gluon_aff.evaluation.protocol import record_passes

LOGGED_DIGITS = 0.5e-6  # the logs round to six


def results(capsys, *argv):
    assert cli.main(["results", *argv]) in (0, None)
    return capsys.readouterr().out


def table(name):
    (found,) = tables([name])
    return found


def row_of(name, key):
    found = table(name)
    return dict(zip(found.columns, next(row for row in found.rows if row[0] == key)))


def imagenet_epochs():
    """(run, images its pass counts, top-1 error, top-5 error) of every epoch in the authors' ImageNet logs."""
    for name, run in figures.published_runs().items():
        if run["data"] == "imagenet":
            with open(figures.curve_file(name), newline="") as handle:
                rows = list(csv.DictReader(handle))
            for row, span in zip(rows, record_passes(50000, run["global_batch"], len(rows))):
                yield name, span.images, float(row["err_top1"]), float(row["err_top5"])


def is_fraction(value, images):
    return abs(round(value * images) / images - value) <= LOGGED_DIGITS + 1e-12


def test_the_wrapping_iterator_explains_every_validation_figure_in_the_logs():
    """Each is a whole number of errors among the images its pass counts, and hardly one among 50,000."""
    epochs = list(imagenet_epochs())
    assert len(epochs) == 4 * 240 + 5 * 160 + 180 + 95
    for name, images, *errors in epochs:
        assert all(is_fraction(error, images) for error in errors), (name, images, errors)
    of_all = sum(all(is_fraction(error, 50000) for error in errors) for _, _, *errors in epochs)
    assert of_all < 0.02 * len(epochs)


def test_counts_of_errors():
    for name, run in figures.published_runs().items():
        for figure in (run["best"], run["final"], run["published_file"]):
            if figure:
                assert is_fraction(figure["value"], figure["images"]), name
                assert figure["counted"] == round(figure["value"] * figure["images"]), name
    assert figures.published_runs()["release_imagenet_iAFF-ResNeXt-50_0.1978"]["best"]["counted"] == 9825


def test_published_files_have_their_run():
    """Every catalogue entry with a log has its value, and no id of a run is unknown to the catalogue by mistake."""
    catalogue, runs = published.catalogue(), figures.published_runs()
    without = {"paper_cifar100_resnext38_AFF_0.9027", "paper_cifar100_resnext47_AFF_0.9016"}
    files = {name for name, record in catalogue.items() if not record["alternative_reading_of"]}
    assert files - without == {name for name, run in runs.items() if run["published_file"]}
    for name in files - without:
        assert round(runs[name]["published_file"]["value"], 4) == catalogue[name]["value"]
        assert runs[name]["network"] == catalogue[name]["model"]
    for run in runs.values():
        assert (figures.params_directory() / "curves" / f"{run['id']}.csv").is_file()
    assert len(list((figures.params_directory() / "curves").iterdir())) == len(runs)


def test_the_readme_explains_every_column():
    text = (figures.params_directory() / "README-results.md").read_text(encoding="utf-8")
    names = {key for run in figures.published_runs().values() for key in run}
    names |= {key for run in figures.published_runs().values() for key in run["best"]}
    for path in (figures.params_directory() / "curves").iterdir():
        names |= set(path.read_text().split("\n", 1)[0].split(","))
    for name in names:
        assert f"`{name}`" in text, name


# typed from the paper, the README and the logs
def test_known_figures():
    assert row_of("table4", "iaff")["resnet_b3"] == 0.822
    assert row_of("table4", "iaff")["resnet_b4"] is None
    assert row_of("table3", "aff")["imagenet_resnet50"] == 0.784
    assert row_of("table5", "iAFF-ResNeXt-50-32x4d")["top-1 error (%)"] == 20.2
    assert row_of("readme", "AFF-ResNeXt-50-32x4d")["top-1 error stated (%)"] is None
    aff = row_of("logs-imagenet", "release_imagenet_AFF-ResNet-50_0.2028")
    assert (aff["best top-1 (%)"], aff["errors counted"], aff["images counted"]) == (20.2803, 10072, 49664)
    assert (aff["final top-1 (%)"], aff["images counted (final)"]) == (20.3265, 50176)
    fine = row_of("logs-cifar", "release_cifar100_AFF-ResNet-32_fine_0.8357")
    assert (fine["best"], fine["epoch"], fine["final"], fine["labels"]) == (0.8357, 635, 0.8322, "fine (100)")
    assert row_of("logs-cifar", "release_cifar100_AFF-ResNet-32_super_0.9078")["start weights"].startswith("0.9031-")


def test_stated_figures_are_rounded_bests_of_their_runs():
    runs = figures.published_runs()
    for network, (stated, run) in figures.readme_figures()["rows"].items():
        if stated is not None:
            assert abs(100 * runs[run]["best"]["value"] - stated) < 0.06, network
    for row, run in figures.paper_tables()["runs"].items():
        short, name, *column = row.split("/")
        if short == "table5":
            stated = figures.paper_tables()["table5_imagenet"]["rows"][name][0] / 100
        else:
            data = figures.paper_tables()["table3_aggregation_scale"]
            stated = 1 - data["rows"][name][data["columns"].index(column[0])]
        assert abs(runs[run]["published_file"]["value"] - stated) < 0.00065, row


def test_formats(capsys):
    markdown = results(capsys)
    for title in ("Table 3", "Table 4", "Table 5", "README", "CIFAR", "ImageNet", "Ours"):
        assert f"{title}" in markdown
    assert (
        "| release_cifar100_AFF-ResNet-32_super_0.9078 | cifar100 | coarse (20) | 640 | 0.9078 | 617 | 0.9064 |"
        in markdown
    )
    widths = {line.count("|") for line in results(capsys, "--table", "table5").splitlines() if line.startswith("|")}
    assert len(widths) == 1
    (readme,) = json.loads(results(capsys, "--format", "json", "--table", "readme"))
    assert readme["rows"][0][:4] == ["AFF-ResNet-50", 20.3, 20.2803, 49664]
    rows = list(csv.DictReader(io.StringIO(results(capsys, "--format", "csv", "--table", "logs-imagenet"))))
    assert len(rows) == 11
    assert {row["table"] for row in rows} == {"logs-imagenet"}
    with pytest.raises(UsageError, match="no table 'table2': choose from table3, table4"):
        results(capsys, "--table", "table2")


@pytest.fixture
def our_params(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "params_directory", lambda: tmp_path)
    return tmp_path


def test_ours_come_with_interval_images_command_and_commit(our_params):
    assert figures.our_results() == []
    assert figures.our_ablations() == figures.our_evaluations() == {}
    record = {
        **{"what": "AFF-ResNet-32, CIFAR-100", "metric": "accuracy", "value": 0.5, "images": 100},
        **{"command": "gluon-aff evaluate | x", "commit": "abc1234", "date": "2026-01-01"},
    }
    (our_params / "results.json").write_text(json.dumps([record]))
    row = {
        **{"strategy": "aff", "blocks": 1, "seeds": [0, 1], "final_mean": 0.70001, "final_spread": 0.012},
        **{"final_low": 0.68, "final_high": 0.72, "test_images": 500},
    }
    contrast = {
        **{"strategy": "aff", "baseline": "add", "blocks": 1, "seeds": 2, "difference": 0.01, "low": -0.01},
        **{"high": 0.03, "p_holm": 0.2, "verdict": "undecided", "images_drawn": True},
    }
    report = {
        **{"host": "resnet", "command": "gluon-aff ablation", "commits": ["def"]},
        **{"data": {"name": "folder", "train": 9}, "rows": [row], "contrasts": [contrast]},
    }
    (our_params / "ablation" / "first").mkdir(parents=True)
    (our_params / "ablation" / "first" / "report.json").write_text(json.dumps(report))
    ours, paired = result_tables._ours()
    what, metric, value, low, high, *rest = ours.rows[0]
    assert (what, metric, value) == ("AFF-ResNet-32, CIFAR-100", "accuracy", 0.5)
    assert (low, high) == pytest.approx((0.403832, 0.596168), abs=1e-6)  # Wilson's, of 50 of 100
    assert rest == ["images", 100, "gluon-aff evaluate | x", "abc1234"]
    setting = "resnet b=1, aff, folder, 9 training images"
    counted = (500, "gluon-aff ablation", "def")
    assert ours.rows[1] == (f"{setting}, 2 seeds ± 0.0120", "accuracy", 0.70001, 0.68, 0.72, "seeds", *counted)
    assert paired.rows == [
        (f"{setting}, from add, 2 pairs", "difference of accuracy", 0.01, -0.01, 0.03, 0.2, "undecided")
        + ("seeds and images", *counted)
    ]
    assert "| gluon-aff evaluate \\| x | abc1234 |" in render([ours], "md")


def test_scored_segmentations_are_ours(our_params):
    facts = {"data": "sirst test: 86 images", "size": "160x160", "command": "gluon-aff evaluate", "commit": "fed"}
    run = {"fusion": "aff", "blocks": 1, "seed": 0, "epoch": 59, "epochs": 60, "commits": ["abc", "def"]}
    report = {"iou": 0.6, "niou": 0.62, "iou_interval": [0.55, 0.65], "niou_interval": None, "images": 86, "sizes": []}
    (our_params / "evaluations").mkdir()
    (our_params / "evaluations" / "one.json").write_text(json.dumps({**report, "facts": {**facts, "run": run}}))
    what = "fpn b=1, aff, sirst at 160 pixels, epoch 60 of 60, seed 0"
    assert our_tables.figures() == [
        (what, "IoU", 0.6, 0.55, 0.65, "images", 86, "gluon-aff evaluate", "fed, trained at abc, def"),
        (what, "nIoU", 0.62, None, None, None, 86, "gluon-aff evaluate", "fed, trained at abc, def"),
    ]


def test_our_records_are_complete():
    for record in figures.our_results():
        assert set(record) == {"what", "metric", "value", "images", "command", "commit", "date"}
        assert len(record["commit"]) >= 7
