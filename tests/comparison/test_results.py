"""gluon-aff results, and the data behind it: the authors' runs with what each figure counts."""

import csv
import io
import json

import pytest

from gluon_aff import facts as figures
from gluon_aff import published
from gluon_aff.cli import main as cli
from gluon_aff.comparison.result_tables import tables
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
            if figure and run["metric"] != "IoU":
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
        assert runs[name]["published_file"]["images"] == catalogue[name]["images"]
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
    for title in ("Table 3", "Table 4", "Table 5", "README", "CIFAR", "ImageNet"):
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
