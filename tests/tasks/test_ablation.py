"""The ablation grid: which cells there are, that finished ones are kept, and what the report says."""

import json

import pytest

from gluon_aff.cli import main as cli
from gluon_aff.comparison import ablation_report
from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.tasks import ablation, rate_search, task_of_host
from gluon_aff.training import Diverged
from gluon_aff.training.history import History
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


def test_rates_are_chosen_on_held_out_images_and_tested_pairs_reported(tmp_path, capsys):
    out = tmp_path / "grid"
    argv = ["ablation", "--strategies", "add,aff", "--epochs", "1", "--seeds", "0,1", "--out", str(out)]
    argv += ["--learning-rates", "0.0001,0.1"]
    assert console.run(cli.main, [*argv, "--", *TINY]) == 2
    assert "-- --hold-out N" in capsys.readouterr().err
    for wrong in (["--learning-rates", ","], ["--rates-of", ","], ["--search-only"], ["--baseline", "afff"]):
        alone = argv[: argv.index("--learning-rates")]
        assert console.run(cli.main, [*alone, *wrong, "--", *TINY, "--hold-out", "60"]) == 2
    argv += ["--", *TINY, "--hold-out", "60"]
    assert console.run(cli.main, [*argv, "--lr", "0.1"]) == 2
    assert console.run(cli.main, argv) == 0
    report = json.loads((out / "report.json").read_text())
    # the search is as it was written down, with a seed of its own, and never saw the test images
    found = {}
    for row in report["search"]:
        run = out / f"search/resnet-{row['strategy']}-r{2 if row['strategy'] == 'aff' else 4}-b1-s1000-lr{row['lr']:g}"
        assert History(run / "history.jsonl").epochs()[0]["val"] == row["held_out"]
        assert not (run / "final-test.json").exists()
        found.setdefault(row["strategy"], []).append(row)
    chosen = {name: max(rows, key=lambda row: (row["held_out"], -row["lr"]))["lr"] for name, rows in found.items()}
    assert {row["strategy"]: row["lr"] for row in report["rows"]} == chosen
    assert {row["strategy"]: row["lr"] for row in report["search"] if row["chosen"]} == chosen
    # every figure is the test's
    for run in report["runs"]:
        cell = out / f"cells/resnet-{run['strategy']}-r{run['r']}-b1-s{run['seed']}"
        tested = json.loads((cell / "final-test.json").read_text())
        assert (run["final"], run["best"]) == (tested["val"], tested["validation"])
    (contrast,) = report["contrasts"]
    assert (contrast["strategy"], contrast["seeds"], contrast["images_drawn"]) == ("aff", 2, True)
    for pair in contrast["pairs"]:
        assert pair["difference"] == pytest.approx((pair["images"]["better"] - pair["images"]["worse"]) / 40)
    text = (out / "report.md").read_text()
    assert "held-out training images" in text and "McNemar" in text and "rank" not in text
    assert "est rate that was tried" in text  # of two, either is at the edge
    # the order in which the seeds are named changes no figure
    assert console.run(cli.main, ["1,0" if word == "0,1" else word for word in argv]) == 0
    turned = json.loads((out / "report.json").read_text())
    assert (turned["rows"], turned["contrasts"]) == (report["rows"], report["contrasts"])
    # a second call trains nothing, and a cell without its test is not finished
    capsys.readouterr()
    assert console.run(cli.main, argv) == 0
    assert capsys.readouterr().out.count("finished already") == 8
    (out / "cells/resnet-aff-r2-b1-s1/final-test.json").unlink()
    assert console.run(cli.main, argv) == 0
    assert "scored once" in capsys.readouterr().out
    other = argv[: argv.index("--learning-rates")] + ["--rates-of", f"{out},{out}", *argv[argv.index("--") :]]
    other[other.index("--out") + 1], other[other.index("--seeds") + 1] = str(tmp_path / "other"), "2"
    assert console.run(cli.main, other) == 0
    assert {
        row["strategy"]: row["lr"] for row in json.loads((tmp_path / "other/report.json").read_text())["rows"]
    } == chosen
    nowhere = [word.replace(f"{out},{out}", f"{out},{tmp_path}") for word in other]
    assert console.run(cli.main, nowhere) == 2 and f"{tmp_path} has no search that has ended" in capsys.readouterr().err
    assert console.run(cli.main, [word.replace("add,aff", "add,iaff") for word in other]) == 2
    assert "no learning rate was chosen for iaff" in capsys.readouterr().err
    again = json.loads((out / "report.json").read_text())
    assert again["rows"] == report["rows"] and again["contrasts"] == report["contrasts"]


def test_cells_of_a_seed_start_with_the_same_host_and_older_grids_are_not_taken_for_such(tmp_path, capsys):
    grid = cells(tmp_path, seeds=[3])
    assert all(cell.options.init_by_name for cell in grid)
    assert not any(cell.options.init_by_name for cell in cells(tmp_path, more=[*TINY, "--no-init-by-name"]))
    argv = ["ablation", "--strategies", "add", "--epochs", "1", "--out", str(tmp_path / "grid"), "--", *TINY]
    assert console.run(cli.main, [*argv, "--no-init-by-name"]) == 0
    config = tmp_path / "grid/cells/resnet-add-r4-b1-s0/config.yaml"
    lines = config.read_text().splitlines()
    config.write_text("\n".join(line for line in lines if "init_by_name" not in line))  # as of an older version
    assert console.run(cli.main, argv) == 2
    assert "--init-by-name was False, is True" in capsys.readouterr().err
    assert console.run(cli.main, [*argv, "--no-init-by-name"]) == 0


def test_a_rate_that_diverges_is_out(tmp_path, monkeypatch):
    candidates = rate_search.make_candidates(
        "resnet", ["add"], [1], [0.1, 0.2], 1, "table4", tmp_path, [*TINY, "--hold-out", "60"]
    )
    task = task_of_host("resnet")
    train = task.train

    def training(options):
        if options.lr == 0.2:
            raise Diverged("the loss is nan")
        return train(options)

    monkeypatch.setattr(task, "train", training)
    assert rate_search.search(candidates, tmp_path) == 0
    rows = rate_search.found(tmp_path)
    assert [(row["lr"], row["chosen"]) for row in rows] == [(0.1, True), (0.2, False)] and rows[1]["held_out"] is None
    assert rate_search.at_the_edge(rows) == [
        "0.1, chosen for add (b = 1), is the lowest rate that was tried: a lower one may be better."
    ]
    with pytest.raises(GluonAFFError, match="ran away at every learning rate"):
        rate_search.search(candidates[1:], tmp_path)


def test_a_chosen_rate_at_the_edge_of_those_tried_is_told_of():
    def searched(strategy, *held_out):
        rows = [
            {"strategy": strategy, "blocks": 1, "lr": lr, "held_out": h} for lr, h in zip((0.1, 0.2, 0.4), held_out)
        ]
        return [{**row, "chosen": row["held_out"] == max(held_out)} for row in rows]

    assert rate_search.at_the_edge(searched("add", 0.5, 0.7, 0.6)) == []
    assert rate_search.at_the_edge(searched("add", 0.5)) == []  # no choice
    told = rate_search.at_the_edge(
        [*searched("add", 0.5, 0.6, 0.7), *searched("aff", 0.7, 0.6, 0.5), *searched("iaff", 0.1, 0.2, 0.3)]
    )
    assert told == [
        "0.4, chosen for add (b = 1), iaff (b = 1), is the highest rate that was tried: a higher one may be better.",
        "0.1, chosen for aff (b = 1), is the lowest rate that was tried: a lower one may be better.",
    ]


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
