"""The ablation grid: which cells there are, that finished ones are kept, and what the report says."""

import json

import pytest

from gluon_aff.cli import main as cli
from gluon_aff.comparison import ablation_report
from gluon_aff.errors import UsageError
from gluon_aff.tasks import ablation
from gluon_aff.utils import console

TINY = ["--dataset", "digits", "--train-images", "64", "--test-images", "40", "--batch-size", "32", "--no-mixup"]


def cells(tmp_path, **changes):
    settings = {
        "host": "resnet",
        "strategies": ["add", "ASKCFuse", "iaff"],
        "blocks": [1],
        "seeds": [0, 1],
        "epochs": 40,
        "budget": "table4",
        "directory": tmp_path,
        "more": TINY,
    }
    return ablation.make_cells(**{**settings, **changes})


def test_budgets_are_table_2_and_4s(tmp_path):
    grid = cells(tmp_path, strategies=["aff", "iaff", "ms_gau", "sk"], seeds=[0])
    assert {cell.strategy: cell.r for cell in grid} == {"aff": 2, "iaff": 4, "ms_gau": 2, "sk": 4}
    grid = cells(tmp_path, strategies=["aff", "aff_local_local"], seeds=[0], budget="table3")
    assert {cell.r for cell in grid} == {4}


def test_cells_are_the_papers_recipe_scaled(tmp_path):
    cell = cells(tmp_path)[1]
    assert (cell.strategy, cell.seed, cell.options.fusion, cell.options.channel_times) == ("aff", 0, "aff", 1)
    assert (cell.options.tag, cell.options.init, cell.options.lr) == ("paper", "kaiming", 0.2)
    assert list(cell.options.lr_decay_epoch) == [30, 35]
    assert cell.options.mixup_off_epoch == 2


def test_wrong_grids_are_refused_before_anything_runs(tmp_path):
    with pytest.raises(UsageError, match="did you mean"):
        cells(tmp_path, strategies=["afff"])
    with pytest.raises(UsageError, match="none twice"):
        cells(tmp_path, strategies=["aff", "ASKCFuse"])
    assert not list(tmp_path.iterdir())


def test_grid_runs_skips_what_is_finished_and_reports(tmp_path, capsys):
    argv = ["ablation", "--strategies", "add,aff", "--epochs", "1", "--out", str(tmp_path / "grid"), "--", *TINY]
    assert console.run(cli.main, argv) == 0
    history = tmp_path / "grid/cells/resnet-aff-r2-b1-s0/history.jsonl"
    before = history.read_bytes()
    capsys.readouterr()
    assert console.run(cli.main, argv) == 0
    assert capsys.readouterr().out.count("finished already") == 2
    assert history.read_bytes() == before
    report = json.loads((tmp_path / "grid/report.json").read_text())
    assert {row["strategy"]: row["paper"] for row in report["rows"]} == {"add": 0.74, "aff": 0.763}
    assert all(row["test_images"] == 40 for row in report["rows"])
    assert "num-epochs: 1 (paper: 400)" in report["differences"]
    assert (tmp_path / "grid/report.png").read_bytes().startswith(b"\x89PNG")
    # the same cell with other options is not silently taken for this one
    assert console.run(cli.main, [*argv, "--lr", "0.01"]) == 2
    assert "--lr was 0.2, is 0.01" in capsys.readouterr().err


def row(strategy, mean, paper):
    return {"strategy": strategy, "final_mean": mean, "paper": paper}


def test_rank_correlation_follows_the_order():
    same = [row("add", 0.1, 0.7), row("aff", 0.2, 0.8), row("iaff", 0.3, 0.9), row("se", 0.9, None)]
    assert ablation_report.rank_correlation(same) == pytest.approx(1)
    assert ablation_report.rank_correlation([row("a", 0.3, 0.7), row("b", 0.2, 0.8), row("c", 0.1, 0.9)]) == -1
    assert ablation_report.rank_correlation(same[:2]) is None


@pytest.mark.parametrize(
    "host, blocks, strategy, accuracy",
    [("resnet", 1, "iaff", 0.772), ("inception", 4, "aff_local_local", 0.787), ("resnet", 4, "iaff", None)],
)
def test_the_papers_figures(host, blocks, strategy, accuracy):
    assert ablation_report.paper_accuracy(host, blocks, strategy) == accuracy


@pytest.mark.parametrize(
    ("more", "message"),
    [(["--fusion", "iaff"], "--fusion behind --: the grid sets it"), (["--dry-run"], "--dry-run behind --: it is for")],
)
def test_options_that_the_grid_would_ignore_are_refused(tmp_path, more, message):
    with pytest.raises(UsageError, match=message):
        ablation.make_cells("resnet", ["add"], [1], [0], 1, "table4", tmp_path, more)
