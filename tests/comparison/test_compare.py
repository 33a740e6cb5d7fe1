"""gluon-aff compare: the authors' curves and logs, runs of ours, the paper's rows, and settings side by side."""

import json

import pytest
from PIL import Image

from gluon_aff import comparison
from gluon_aff.cli import main as cli
from gluon_aff.comparison import (
    ACCURACY,
    ERROR,
    Comparison,
    Curve,
    Point,
    draw_comparison,
    draw_runs,
    open_curve,
    read_log,
    reference,
    references,
)
from gluon_aff.comparison.comparison import sampled
from gluon_aff.comparison.settings import settings_of_header, side_by_side
from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.facts import published_runs
from gluon_aff.tasks import get_task
from gluon_aff.tasks.config import identity

parse_options = get_task("cifar").options

FINE = "release_cifar100_AFF-ResNet-32_fine_0.8357"
AFF50 = "release_imagenet_AFF-ResNet-50_0.2028"
UNET = "acm_sirst_ACM-U-Net-26_0.7442"


def compare(capsys, *argv):
    assert cli.main(["compare", *map(str, argv)]) in (0, None)
    return capsys.readouterr().out


@pytest.fixture
def undrawn(monkeypatch):
    """Nothing is drawn: what is tested is what is said."""
    monkeypatch.setattr(comparison, "draw_comparison", lambda found, path, dpi: None)


# what the authors' logs say, typed from them
@pytest.mark.parametrize(
    ("name", "best", "epoch", "final"),
    [
        (FINE, 0.8357, 635, 0.8322),
        ("release_cifar100_AFF-ResNeXt-47_fine_0.8538", 0.8538, 605, 0.8504),
        ("release_cifar100_AFF-ResNeXt-47_super_0.9184", 0.9184, 607, 0.9157),
        ("paper_cifar10_resnext29_AFF_0.9705", 0.9705, 592, 0.9684),
        ("paper_cifar100_resnet32_AFF_0.8967", 0.8967, 381, 0.8967),
        (AFF50, 0.202803, 235, 0.203265),
        ("release_imagenet_iAFF-ResNet-50_0.2022", 0.202159, 238, 0.202766),
        ("release_imagenet_iAFF-ResNeXt-50_0.1978", 0.197829, 238, 0.198382),
        ("paper_imagenet_resnet50_iAFF_0.2043", 0.204347, 178, 0.205669),
    ],
)
def test_bests_of_the_authors_curves(name, best, epoch, final):
    curve = open_curve(name)
    assert curve.best() == (epoch, best)
    assert curve.final().value == final


def test_every_curve_is_what_its_record_says():
    for name, record in published_runs().items():
        curve = reference(name)
        best, final = (record[each] and (record[each]["epoch"], record[each]["value"]) for each in ("best", "final"))
        found = (curve.metric, curve.best(), len(curve.points))
        assert found == (record["metric"], best, record["epochs_logged"]), name
        assert final in (None, curve.final()), name


def test_two_of_the_authors_curves(tmp_path, capsys):
    out = compare(capsys, FINE, "--with", "AFF-ResNeXt-47_fine_0.8538", "--plot", tmp_path / "a.png")
    assert "0.8357 (epoch 635)  0.8538 (epoch 605)     -0.0181" in out
    assert "the reference's best, 0.8538: not reached" in out
    settings = {line.split("  ")[0]: line for line in out.splitlines()}
    assert settings["host"].endswith("differs")
    assert settings["decay at epochs"].split()[3:] == ["290,440", "290,440"]  # and not 300,450, as flagged
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[0] > 500
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 20


def test_two_of_the_authors_errors(undrawn, capsys):
    out = compare(capsys, AFF50, "--with", "release_imagenet_iAFF-ResNet-50")
    assert "20.2803 (epoch 235)  20.2159 (epoch 238)     +0.0644" in out
    assert "20.3265 (epoch 239)  20.2766 (epoch 239)     +0.0499" in out
    assert [line.split()[0] for line in out.splitlines() if line.endswith("differs")] == ["fusion"]


def history(directory, options, values, planned=None, devices=1):
    """A run of ours that has come as far as ``values``."""
    directory.mkdir(exist_ok=True)
    chosen = identity(get_task("cifar").parser(), vars(options))
    chosen["num_epochs"] = planned or chosen["num_epochs"]
    data = {"classes": 100, "train": 45000, "test": 10000, "held_out": 5000}
    header = {"record": "header", "options": chosen, "devices": ["gpu"] * devices, "data": data}
    records = [header, *({"record": "epoch", "epoch": n, "val": value} for n, value in enumerate(values))]
    (directory / "history.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return directory


IMAGES = ["training images", "validation images"]  # in which these runs differ from the published


def published_recipe(*argv):
    return parse_options(["--recipe", "published", "--model", "resnet", *argv])


def test_a_run_in_progress(tmp_path, capsys):
    theirs = dict(reference(FINE).points)
    values = [theirs[epoch] + 0.01 for epoch in range(300)] + [0.84]
    run = history(tmp_path / "run", published_recipe(), values, devices=2)
    with open(run / "history.jsonl", "a") as handle:
        handle.write('{"record": "epoch", "epo')  # being written
    document = json.loads(compare(capsys, run, "--with", FINE, "--json", "-"))
    assert document["epochs_matched"] == 301
    assert document["differing"] == IMAGES
    assert document["reached_at_epoch"] == 300
    assert document["best"]["run"] == {"epoch": 300, "value": 0.84}
    assert document["best_difference"] == pytest.approx(0.84 - 0.8357)
    assert all(0.0099 < pair["run"] - pair["reference"] < 0.0101 for pair in document["matched"][:300])
    out = compare(capsys, run, "--with", FINE, "--every", 100)
    assert "epochs 0 to 300 of 640, not finished" in out
    assert "the reference's best, 0.8357: reached at epoch 300" in out
    so_far = max(theirs[epoch] for epoch in range(301))
    assert next(line for line in out.splitlines() if line.startswith("best so far")).split()[6] == f"{so_far:.4f}"
    assert [line.split()[0] for line in out.splitlines() if line[:5].strip().isdigit()] == ["0", "100", "200", "300"]
    assert (run / "comparison.png").stat().st_size > 10_000


def test_settings_that_differ_are_marked(tmp_path, undrawn, capsys):
    argv = ["--lr", "0.1", "--no-mixup", "--cosine", "--labels", "coarse", "--accumulate", "2", "--batch-as-given"]
    run = history(tmp_path / "run", published_recipe(*argv), [0.5], devices=1)
    out = compare(capsys, run, "--with", FINE)
    marked = {line.split("  ")[0] for line in out.splitlines() if line.endswith("differs")}
    assert marked == {
        *IMAGES,
        *("labels", "devices", "learning rate", "schedule", "warm-up epochs", "decay at epochs", "decay factor"),
        *("mixup alpha", "last epochs without mixup"),
    }
    assert "labels differ: the figures cannot be compared" in out


@pytest.mark.parametrize(
    ("argv", "name", "devices"),
    [
        (["--recipe", "published", "--model", "resnet"], FINE, 2),
        (["--recipe", "published", "--model", "resnext"], "release_cifar100_AFF-ResNeXt-47_fine_0.8538", 2),
        (["--recipe", "paper", "--model", "resnet"], "paper_cifar100_resnet32_AFF_0.8967", 1),
    ],
)
def test_our_recipes_are_what_the_logs_say(argv, name, devices):
    options = identity(get_task("cifar").parser(), vars(parse_options(argv)))
    header = {"options": options, "devices": ["gpu"] * devices, "data": {"classes": 100}}
    rows = side_by_side(settings_of_header(header), reference(name).settings)
    assert not any(row.same is False for row in rows)
    assert sum(row.same is True for row in rows) >= 20


def test_segmentation_is_compared_with_its_base_size():
    task = get_task("seg")
    options = identity(task.parser(), vars(task.options(["--recipe", "acm-unet", "--base-size", "96"])))
    rows = side_by_side(settings_of_header({"task": "seg", "options": options}), reference(UNET).settings)
    assert [row[:3] for row in rows if row.same is False] == [("base size", 96, 512)]


def cifar_log(path, *runs):
    """Each run: flags or None, then the accuracies of its epochs."""
    with open(path, "w") as handle:
        for flags, values in runs:
            handle.write(f"Namespace({flags})\n" if flags is not None else "")
            for epoch, value in enumerate(values):
                handle.write(
                    f"[Epoch {epoch}] train{'-rmse' * (epoch % 2)}=0.07 val={value:f} loss=4.5 lr: 0.2 time: 29.4\n"
                )
    return path


def test_several_runs_in_one_log(tmp_path, undrawn, capsys):
    path = cifar_log(
        tmp_path / "train.log",
        ("lr=0.2, gpus='0,1', batch_size=128, num_epochs=640, mixup=True, resume_from=None", [0.1, 0.2]),
        ("lr=0.3, gpus='0'", []),
        ("lr=0.02, gpus='0,1,2,3', batch_size=128, num_epochs=4, cosine=True, model='resnet'", [0.3, 0.5, 0.4]),
        (None, [0.25]),
    )
    runs = read_log(path)
    assert [(run.number, len(run.points), run.flags["lr"]) for run in runs] == [(0, 2, 0.2), (2, 3, 0.02), (3, 1, 0.02)]
    assert [runs[0].flags[name] for name in ("resume_from", "mixup", "gpus")] == [None, True, "0,1"]
    out = compare(capsys, path, "--with", FINE)
    assert "run 2: epochs 0 to 2 of 4, not finished" in out
    assert "this is segment 2; there are also 0 (2 epochs), 3 (1 epochs)" in out
    assert "0.5000 (epoch 1)" in out
    document = json.loads(compare(capsys, path, "--with", FINE, "--segment", 0, "--json", "-"))
    assert document["best"]["run"] == {"epoch": 1, "value": 0.2}
    settings = {row["name"]: row["run"] for row in document["settings"]}
    assert (settings["learning rate"], settings["images per update"], settings["devices"]) == (0.2, 256, 2)
    with pytest.raises(UsageError, match="no run 1 with epochs: choose 0 .2 epochs., 2 .3 epochs., 3 .1 epochs."):
        open_curve(str(path), 1)


def test_an_imagenet_log(tmp_path):
    path = tmp_path / "train_imagenet.log"
    flags = "INFO:root:Namespace(askc_type='ASKCFuse', batch_size=128, num_gpus=4, lr=0.075, lr_mode='cosine')\n"
    lines = (
        "Epoch[{0}] Batch [49]\tSpeed: 2100.1 samples/sec\trmse=0.026\tlr=0.01\n"
        "[Epoch {0}] training: rmse=0.026\n[Epoch {0}] speed: 2106 samples/sec\ttime cost: 621.9\n"
        "[Epoch {0}] validation: err-top1={1:f} err-top5=0.05\n"
    )
    path.write_text(flags + "".join(lines.format(n, 0.9 - 0.1 * n) for n in range(4)))
    curve = open_curve(str(path))
    assert curve.metric == ERROR
    assert curve.best() == (3, 0.6)
    assert (curve.settings["fusion"], curve.settings["images per update"]) == ("aff", 512)


def test_a_published_log_is_known_again(tmp_path):
    """Its flags say 300,450 and auto_aug; what the run did is known, and stated."""
    theirs = reference(FINE)
    path = cifar_log(
        tmp_path / "x.log", ("lr=0.2, num_epochs=640, lr_decay_epoch='300,450'", [p.value for p in theirs.points])
    )
    curve = open_curve(str(path))
    assert curve.settings == theirs.settings
    assert curve.settings["decay at epochs"] == "290,440"
    changed = cifar_log(tmp_path / "y.log", ("lr=0.2, lr_decay_epoch='300,450'", [p.value for p in theirs.points[:-1]]))
    assert open_curve(str(changed)).settings["decay at epochs"] == "300,450"
    assert "flags as logged" in open_curve(str(changed)).notes[0]


EPOCH = '{"record": "epoch", "epoch": 0, "val": 1}\n'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.log", "Namespace(lr=1)\n", "no line of a finished epoch"),
        ("x.csv", "epoch,loss\n0,1\n", "expected the columns epoch and val_acc or err_top1 or iou, found epoch, loss"),
        ("x.csv", "epoch,val_acc\n0,high\n", "not a number"),
        ("history.jsonl", "", "has no finished epoch yet"),
        ("history.jsonl", '{"record": "header"}\n', "has no finished epoch yet"),
        ("history.jsonl", '{"record": "epoch"}\n', "an epoch without number or validation figure"),
        ("history.jsonl", EPOCH.replace("0", '"x"').replace("1", "null"), "an epoch without number or validation"),
        ("history.jsonl", '{"record": "header", "options": {"dataset": "digits"}}\n' + EPOCH, "its header is not one"),
    ],
)
def test_files_that_are_no_curves(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    for place in [tmp_path / name] + [tmp_path] * (name == "history.jsonl"):
        with pytest.raises(GluonAFFError, match=message):
            open_curve(str(place))


def test_a_csv_of_ones_own(tmp_path):
    table = tmp_path / "x.csv"
    table.write_text("epoch,val_acc,loss\n0,0.5,1\n1,nan,2\n2,0.6,3\n3,0.6,3\n")
    curve = open_curve(str(table))
    assert curve.best() == (2, 0.6)  # the first of equal ones, and never a NaN
    with pytest.raises(UsageError, match="`segment` chooses a run of a log file"):
        open_curve(str(table), 1)


# the paper's tables, typed from them
@pytest.mark.parametrize(
    ("name", "metric", "value"),
    [
        ("table3/aff_local_local/inception_b4", ACCURACY, 0.787),
        ("table4/iaff/resnet_b3", ACCURACY, 0.822),
        ("table4/aff/resnet_b4", ACCURACY, 0.826),
        ("table5/SENet-101", ERROR, 0.209),
        ("table5/iAFF-ResNeXt-50-32x4d", ERROR, 0.202),
        ("readme/iAFF-ResNeXt-50-32x4d", ERROR, 0.1978),
    ],
)
def test_rows_of_the_paper(name, metric, value):
    row = reference(name)
    assert (row.metric, row.points) == (metric, ())
    assert row.goal() == pytest.approx(value, abs=1e-9)


def test_a_run_against_a_row(tmp_path, undrawn, capsys):
    options = parse_options(["--recipe", "paper", "--model", "resnet", "--blocks", "4", "--channel-times", "1"])
    run = history(tmp_path / "run", options, [0.7, 0.81, 0.83, 0.82], planned=400)
    document = json.loads(compare(capsys, run, "--with", "table4/aff/resnet_b4", "--json", "-"))
    assert document["differing"] == IMAGES
    assert document["reached_at_epoch"] == 2
    assert document["best_difference"] == pytest.approx(0.83 - 0.826)
    out = compare(capsys, AFF50, "--with", "table5/AFF-ResNet-50")
    assert "the reference's figure, 20.9000: reached at epoch 213" in out
    assert dict(reference(AFF50).points)[213] <= 0.209 < min(dict(reference(AFF50).points)[n] for n in range(213))


def test_several_references_and_those_that_fit(tmp_path, capsys):
    run = history(tmp_path / "run", published_recipe("--blocks", "5"), [0.5])
    document = json.loads(compare(capsys, run, "--json", "-"))
    assert document["fitting"] == [FINE] and not (run / "comparison.png").exists()
    with pytest.raises(UsageError, match="add --with NAME"):  # there is nothing to draw
        compare(capsys, run, "--plot", tmp_path / "none.png")
    names = [FINE, "table4/aff/resnet_b4", str(run)]
    found = json.loads(compare(capsys, run, "--with", f"{FINE},{names[1]}", "--with", run, "--json", "-"))
    assert [each["reference"] for each in found] == names
    counts = {row["name"]: (row["run"], row["reference"]) for row in found[0]["settings"] if row["name"] in IMAGES}
    assert counts == {"training images": (45000, 50000), "validation images": (5000, 10000)}
    assert "validated on 5,000 images, the reference on 10,000" in compare(capsys, run, "--with", FINE)
    assert all((run / name).is_file() for name in ("comparison.png", "comparison-2.png", "comparison-3.png"))
    assert "nothing published" in compare(
        capsys, history(tmp_path / "digits", parse_options(["--dataset", "digits"]), [1])
    )


def test_an_accuracy_against_an_error():
    run = Curve("run", ACCURACY, (Point(0, 0.5), Point(1, 0.8)))
    theirs = Curve("theirs", ERROR, (Point(0, 0.4), Point(1, 0.3), Point(2, 0.1)))
    found = Comparison(run, theirs)
    assert [pair.difference for pair in found.pairs] == [pytest.approx(0.1), pytest.approx(-0.1)]
    assert found.reached is None
    assert found.reference_best_so_far() == (1, 0.3)
    assert Comparison(run, Curve("row", ERROR, value=0.45)).reached == Point(1, pytest.approx(0.2))


def test_names(capsys):
    names = compare(capsys, "--list").split()
    assert names == references()
    assert FINE in names
    assert not any("fpn" in name or "__r4" in name for name in names)
    assert reference("paper_cifar100_resnext29_AFF_0.8973__r4").name == "paper_cifar100_resnext29_AFF_0.8973"
    without_log = reference("paper_cifar100_resnext47_AFF_0.9016__s3")
    assert (without_log.goal(), without_log.points) == (0.9016, ())
    for call, name, message in (
        (reference, "release_imagenet_AFF", "it could be release_imagenet_AFF-ResNeXt-50"),
        (reference, "no such name", "compare --list"),
        (open_curve, "table4/aff/resnet_b4", "single figure without epochs"),
        (open_curve, "nothing-here", "nothing-here is neither a file or directory nor a published run"),
        (lambda name: cli.main([name]), "compare", "--list prints the names"),
    ):
        with pytest.raises(UsageError, match=message):
            call(name)


def test_rows_that_are_printed():
    for epochs in (1, 3, 14, 15, 37, 400, 1000):
        curve = Curve("x", ACCURACY, tuple(Point(epoch, 0.5) for epoch in range(epochs)))
        shown = [pair.epoch for pair in sampled(Comparison(curve, curve).pairs)]
        assert (shown[0], shown[-1]) == (0, epochs - 1) and min(epochs, 6) <= len(shown) <= 14


def test_runs_without_a_common_epoch(tmp_path):
    found = Comparison(Curve("a", ACCURACY, (Point(0, 0.1),)), Curve("b", ACCURACY, (Point(5, 0.2), Point(6, 0.3))))
    assert found.to_json()["epochs_matched"] == 0
    assert "not reached" in "\n".join(found.lines())
    draw_comparison(found, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5_000


def test_epochs_without_a_loss_are_drawn(tmp_path):
    (curve,) = draw_runs([str(history(tmp_path / "run", published_recipe(), [0.5, 0.6]))], tmp_path / "a.png")
    assert curve.best() == (1, 0.6) and (tmp_path / "a.png").is_file()
