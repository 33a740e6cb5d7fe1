"""The ablation grid: which cells there are, that finished ones are kept, and what the report says."""

import json

import pytest

from gluon_aff.cli import main as cli
from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.facts import paper_accuracy
from gluon_aff.tasks import ablation, task_of_host
from gluon_aff.training import Diverged
from gluon_aff.training.history import History
from gluon_aff.utils import console

TINY = ["--dataset", "digits", "--train-images", "64", "--test-images", "40", "--batch-size", "32", "--no-mixup"]


def grid(tmp_path, strategies=("add", "ASKCFuse", "iaff"), budget="table4", more=TINY):
    return ablation.Grid("resnet", list(strategies), [1], budget, tmp_path, more)


def command(out, *argv, more=()):
    words = ["ablation", "--epochs", "1", "--out", str(out), *argv, "--", *TINY, *more]
    return console.run(cli.main, words)


def test_budgets_are_table_2_and_4s(tmp_path):
    cells = grid(tmp_path, ["aff", "iaff", "ms_gau", "sk"]).cells([0], 40)
    assert {cell.strategy: cell.r for cell in cells} == {"aff": 2, "iaff": 4, "ms_gau": 2, "sk": 4}
    assert {cell.r for cell in grid(tmp_path, ["aff", "aff_local_local"], "table3").cells([0], 40)} == {4}


def test_cells_are_the_papers_recipe_scaled_and_start_with_the_same_host(tmp_path):
    cells = grid(tmp_path).cells([0, 1], 40)
    cell = cells[1]
    assert (cell.strategy, cell.seed, cell.options.fusion, cell.options.channel_times) == ("aff", 0, "aff", 1)
    assert (cell.options.tag, cell.options.init, cell.options.lr) == ("paper", "kaiming", 0.2)
    assert list(cell.options.lr_decay_epoch) == [30, 35]
    assert cell.options.mixup_off_epoch == 2
    assert all(cell.options.init_by_name for cell in cells)
    assert not any(
        cell.options.init_by_name for cell in grid(tmp_path, more=[*TINY, "--no-init-by-name"]).cells([0], 1)
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strategies": ["afff"]}, "did you mean"),
        ({"strategies": ["aff", "ASKCFuse"]}, "none twice"),
        ({"more": ["--fusion", "iaff"]}, "--fusion behind --: the grid sets it, use --strategies before --"),
        ({"more": ["--dry-run"]}, "--dry-run behind --: it is for a single run"),
    ],
)
def test_wrong_grids_are_refused_before_anything_runs(tmp_path, changes, message):
    with pytest.raises(UsageError, match=message):
        grid(tmp_path, **changes)
    assert not list(tmp_path.iterdir())


def test_grid_runs_skips_what_is_finished_and_reports(tmp_path, capsys):
    out = tmp_path / "grid"
    assert command(out, "--strategies", "add,aff") == 0
    history = out / "cells/resnet-aff-r2-b1-s0/history.jsonl"
    before = history.read_bytes()
    capsys.readouterr()
    assert command(out, "--strategies", "add,aff") == 0
    assert capsys.readouterr().out.count("finished already") == 2
    assert history.read_bytes() == before
    report = json.loads((out / "report.json").read_text())
    assert {row["strategy"]: row["paper"] for row in report["rows"]} == {"add": 0.74, "aff": 0.763}
    assert all(row["test_images"] == 40 for row in report["rows"])
    assert "num-epochs: 1 (paper: 400)" in report["differences"]
    assert (out / "report.png").read_bytes().startswith(b"\x89PNG")
    # the same cell with other options is not silently taken for this one
    assert command(out, "--strategies", "add", more=["--lr", "0.01"]) == 2
    assert "--lr was 0.2, is 0.01" in capsys.readouterr().err
    # nor one of an older version, whose cells did not start with the same host
    config = out / "cells/resnet-add-r4-b1-s0/config.yaml"
    config.write_text("\n".join(line for line in config.read_text().splitlines() if "init_by_name" not in line))
    assert command(out, "--strategies", "add") == 2
    assert "--init-by-name was False, is True" in capsys.readouterr().err
    assert command(out, "--strategies", "add", more=["--no-init-by-name"]) == 0


def test_rates_are_chosen_on_held_out_images_and_tested_pairs_reported(tmp_path, capsys):
    out, held_out = tmp_path / "grid", ["--hold-out", "60"]
    two, rates = ("--strategies", "add,aff", "--seeds", "0,1"), ("--learning-rates", "0.0001,0.1")
    assert command(out, *two, *rates) == 2
    assert "-- --hold-out N" in capsys.readouterr().err
    for wrong in (["--learning-rates", ","], ["--rates-of", ","], ["--search-only"], ["--baseline", "afff"]):
        assert command(out, *two, *wrong, more=held_out) == 2
    assert command(out, *two, *rates, more=[*held_out, "--lr", "0.1"]) == 2
    assert command(out, *two, *rates, more=held_out) == 0
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
    # the order in which the seeds are named changes no figure; nothing is trained again but a cell without its test
    capsys.readouterr()
    (out / "cells/resnet-aff-r2-b1-s1/final-test.json").unlink()
    assert command(out, "--strategies", "add,aff", "--seeds", "1,0", *rates, more=held_out) == 0
    told = capsys.readouterr().out
    assert told.count("finished already") == 7 and "scored once" in told
    again = json.loads((out / "report.json").read_text())
    assert (again["rows"], again["contrasts"]) == (report["rows"], report["contrasts"])
    # another grid takes the rates
    other, one = tmp_path / "other", ("--seeds", "2")
    assert command(other, "--strategies", "add,aff", *one, "--rates-of", f"{out},{out}", more=held_out) == 0
    rows = json.loads((other / "report.json").read_text())["rows"]
    assert {row["strategy"]: row["lr"] for row in rows} == chosen
    assert command(other, "--strategies", "add", *one, "--rates-of", f"{out},{tmp_path}", more=held_out) == 2
    assert f"{tmp_path} has no search that has ended" in capsys.readouterr().err
    assert command(other, "--strategies", "add,iaff", *one, "--rates-of", str(out), more=held_out) == 2
    assert "no learning rate was chosen for iaff" in capsys.readouterr().err


def test_a_rate_that_diverges_is_out(tmp_path, monkeypatch):
    candidates = grid(tmp_path, ["add"], more=[*TINY, "--hold-out", "60"]).candidates([0.1, 0.2], 1)
    task = task_of_host("resnet")
    train = task.train

    def training(options):
        if options.lr == 0.2:
            raise Diverged("the loss is nan")
        return train(options)

    monkeypatch.setattr(task, "train", training)
    assert ablation.search(candidates, tmp_path) == 0
    rows = ablation.read_search(tmp_path)
    assert [(row["lr"], row["chosen"]) for row in rows] == [(0.1, True), (0.2, False)] and rows[1]["held_out"] is None
    with pytest.raises(GluonAFFError, match="ran away at every learning rate"):
        ablation.search(candidates[1:], tmp_path)


def test_a_chosen_rate_at_the_edge_of_those_tried_is_told_of():
    def searched(strategy, *held_out):
        rows = [
            {"strategy": strategy, "blocks": 1, "lr": lr, "held_out": h} for lr, h in zip((0.1, 0.2, 0.4), held_out)
        ]
        return [{**row, "chosen": row["held_out"] == max(held_out)} for row in rows]

    assert ablation.at_the_edge(searched("add", 0.5, 0.7, 0.6)) == []
    assert ablation.at_the_edge(searched("add", 0.5)) == []  # no choice
    told = ablation.at_the_edge(
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
    assert paper_accuracy(host, blocks, strategy) == accuracy
