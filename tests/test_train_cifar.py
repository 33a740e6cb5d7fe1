"""train_cifar.py from the command line to the files it leaves, on a few handwritten digits."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from script_runs import ROOT, assert_equal, finished_fixtures, results, script_fixture

from gluon_aff.comparison import open_curve
from gluon_aff.tasks import get_task
from gluon_aff.training.checkpoint import read_checkpoint
from gluon_aff.training.history import History

parse_options = get_task("cifar").options

SCRIPT = ROOT / "train_cifar.py"
TINY = ["--dataset", "digits", "--gpus", "", "--batch-size", "16", "--train-images", "32", "--test-images", "20"]
PUBLISHED = "--askc-type ASKCFuse --auto_aug --mixup --label-smoothing --cosine --no-wd"


train = script_fixture("train_cifar")
finished_run, finished = finished_fixtures("train_cifar", *TINY, "--num-epochs", "1")


def test_a_run_and_what_it_leaves(train, tmp_path):
    code, out, _ = train(*TINY, "--num-epochs", "2")
    assert code == 0
    run = tmp_path / "runs/digits-cifar_aff_resnet8-0"
    lines = out.splitlines()
    assert lines[0].startswith("device: cpu(0); OMP_NUM_THREADS=")
    assert "digits, 10 classes; 32 training and 20 test images of 32x32" in lines[1]
    assert "cifar_aff_resnet8, release, fusion aff, width x1; 84,066 parameters" in lines[2]
    assert "recipe quick; 2 epochs of 2 batches" in lines[3]
    assert lines[4] == "images per update: 16, 1 x 16 on 1 device"
    assert lines[5].startswith("pace: ") and lines[6].startswith("[Epoch 0] train=")
    assert "of 20 test images" in out
    assert f"history: {run.relative_to(tmp_path)}/history.jsonl; plot: " in out
    assert (run / "train.log").read_text() == out
    assert (run / "curves.png").read_bytes()[:4] == b"\x89PNG"
    header = History(run / "history.jsonl").header()
    assert header["options"]["blocks"] == 1
    files = header["data"].pop("files")
    assert header["data"] == {"name": "digits", "train": 32, "test": 20, "classes": 10} and set(files) == {
        "train",
        "test",
    }
    assert header["parameters"] == 84066
    epochs = History(run / "history.jsonl").epochs()
    assert [record["images"] for record in epochs] == [32, 32]
    assert epochs[0]["train_metric"] == "accuracy"
    (named,) = (run / "best").glob("*-best.params")
    best = max(record["val"] for record in epochs)
    assert named.name == f"{best:.4f}-digits-ASKCFuse-resnet-8-c-1-s-1-best.params"
    net = get_task("cifar").network(parse_options([*TINY, "--seed", "5"]))
    net.load_parameters(str(named))
    assert len(list((run / "checkpoints").iterdir())) == 2


def image_folder(place, *splits):
    """Two images of each of two classes in each split, all different."""
    rng = np.random.default_rng(0)
    for split in splits:
        for number in range(4):
            file = place / split / "ab"[number % 2] / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(file)
    return place


def test_epochs_are_chosen_by_val_and_the_test_images_scored_once(train, tmp_path):
    """Unless the run began when they never were, as one of an earlier version."""
    place = image_folder(tmp_path / "set", "Train", "valid", "test")
    argv = ["--dataset", "folder", "--data-dir", place, "--channel-times", "1", "--gpus", ""]
    code, out, _ = train(*argv, "--num-epochs", "1", "--save-dir", "run")
    assert code == 0
    assert "4 training, 4 held-out and 4 test images" in out and "for val the images in valid/ are taken" in out
    assert out.count("test images, scored once, by the weights of epoch 0") == 1
    assert "test images, scored once" not in train(*argv, "--num-epochs", "1", "--save-dir", "b", "--no-final-test")[1]
    shutil.rmtree(place / "valid")
    assert train(*argv, "--num-epochs", "1", "--save-dir", "old")[0] == 0
    image_folder(place, "valid")
    code, out, err = train("--resume", "old", "--num-epochs", "2")
    assert code == 0 and "of 4 test images" in out and "held-out" not in out, err
    assert "note: val/ is not read: the run began by choosing epochs on the test images" in out


def test_images_in_two_splits_are_refused_without_an_option(train, tmp_path):
    place = image_folder(tmp_path / "set", "train", "test")
    shutil.copy(place / "train/a/0.png", place / "test/b/9.png")
    argv = ["--dataset", "folder", "--data-dir", place, "--num-epochs", "1", "--channel-times", "1", "--gpus", ""]
    code, _, err = train(*argv, "--save-dir", "run")
    assert code == 2 and "test/b/9.png, which is train/a/0.png: take them out of one, or --accept-shared-images" in err
    code, out, _ = train(*argv, "--save-dir", "run", "--accept-shared-images")
    assert code == 0 and "note: 1 of 5 test images are in other splits as well" in out


def test_runs_without_a_place_are_named_after_their_data_and_numbered(train, tmp_path):
    """The data are read before a place is taken or refused; --resume and --overwrite alone mean the last run."""
    place = image_folder(tmp_path / "my set", "train", "test")
    argv = ["--dataset", "folder", "--data-dir", place, "--channel-times", "1", "--gpus", "", "--batch-size", "3"]
    code, out, err = train(*argv, "--data-dir", "none", "--num-epochs", "1")
    assert (code, Path("runs").exists()) == (2, False), err
    names = [f"my_set-cifar_aff_resnet8-0{number}" for number in ("", "-2", "-3")]
    for name in names:
        code, out, err = train(*argv, "--num-epochs", "1")
        assert code == 0 and f"history: runs/{name}/history.jsonl" in out, err
        assert ("is there already, this run is runs/" in out) == (name != names[0])
    assert "note: 4 training images, batches of 3: every epoch leaves 1 out, drawn anew each time\n" in out
    assert sorted(os.listdir("runs")) == names
    before = [results(f"runs/{name}") for name in names[:2]]
    code, out, err = train(*argv, "--num-epochs", "2", "--resume")
    assert code == 0 and f"resumed runs/{names[2]} at epoch 1" in out, err
    assert train(*argv, "--num-epochs", "1", "--overwrite")[0] == 0
    assert [len(results(f"runs/{name}")[2]) for name in names] == [1, 1, 1]
    for name, kept in zip(names, before):
        assert results(f"runs/{name}")[2] == kept[2]
    code, _, err = train(*argv, "--save-dir", f"runs/{names[0]}")
    assert code == 2 and "holds a run already" in err
    code, _, err = train(*argv, "--save-dir", f"runs/{names[0]}", "--data-dir", "none")
    assert code == 2 and "no data at none" in err


def test_photographs_are_sent_to_the_script_for_them(train, tmp_path):
    place = image_folder(tmp_path / "my set", "train", "test")
    Image.new("RGB", (20, 30)).save(place / "train/a/0.png")
    code, _, err = train("--dataset", "folder", "--data-dir", place)
    assert code == 1 and "0.png is 20x30, expected a square: give --resize N" in err
    assert f"train_imagenet.py --data-dir '{place}' --recipe finetune" in err


def test_a_second_run_in_the_same_place_must_be_meant(train, finished):
    once = [*TINY, "--num-epochs", "1", "--save-dir", "run"]
    finished("run")
    code, _, err = train(*once)
    assert code == 2
    assert err == "error: run holds a run already: --resume continues it, --overwrite removes it\n"
    before = results("run")
    assert train(*once, "--overwrite", "--seed", "1")[0] == 0
    assert results("run")[2] != before[2]
    assert len(results("run")[2]) == 1
    code, out, _ = train("--resume", "run")
    assert code == 0
    assert "resumed run at epoch 1" in out
    assert len(results("run")[2]) == 1


def test_resuming_with_other_options_says_which(train, finished):
    finished("run")
    for options, message in [
        (["--blocks", "2", "--seed", "3"], "--blocks was 1, is 2, --seed was 0, is 3"),
        (["--classes", "12"], "--classes was None, is 12"),
        (["--recipe", "paper"], "--recipe was quick, is paper"),
        (["--num-epochs", "9"], "--num-epochs was 1, is 9 (the schedule"),
    ]:
        code, out, err = train(*TINY, "--save-dir", "run", "--resume", *options)
        assert code == 2
        assert message in err
        assert len(err.splitlines()) == 1
    code, _, err = train("--resume", "elsewhere")
    assert (code, err) == (2, "error: nothing to resume: elsewhere holds no run (no config.yaml)\n")
    assert train(*TINY, "--resume", "--save-dir", "run", "--askc-type", "ASKCFuse", "-j", "0")[0] == 0


@pytest.mark.parametrize(
    ("file", "edit", "found"),
    [
        ("config.yaml", ("seed: 0\n", "seed: 5\n"), "--seed was 0, is 5"),
        ("history.jsonl", ('"seed": 0', '"seed": 5'), "--seed was 0, is 5"),
        ("history.jsonl", ('"epoch": 0,', '"epoch": 3,'), "it has not the epochs 0 to 0, each once and in order"),
        ("history.jsonl", ('"loss": ', '"loss": 1'), "its epochs are not those that the run wrote"),
    ],
)
def test_a_run_whose_files_were_edited_is_resumed_only_when_that_is_meant(train, finished, file, edit, found):
    finished("run")
    path = Path("run", file)
    text = path.read_text()
    assert text.count(edit[0]) == 1
    path.write_text(text.replace(*edit))
    changed = f"{path} was changed: {found}"
    code, _, err = train("--resume", "run")
    hint = "put it back as it was, or --accept-changed-run goes on with what it says now"
    assert (code, err) == (2, f"error: {changed}; {hint}\n")
    if file == "history.jsonl" and "seed" not in edit[0]:
        assert open_curve("run").notes == (changed,)
    code, out, _ = train("--resume", "run", "--accept-changed-run")
    assert code == 0 and f"note: {changed}" in out


def renamed_class(place):
    for split in ("train", "test"):
        (place / split / "bee").rename(place / split / "wasp")  # behind "cow", so that both change their numbers


def other_image(place):
    Image.new("RGB", (32, 32), (1, 2, 3)).save(place / "test/cow/0.png", compress_level=0)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            renamed_class,
            "the files of train and test are others, in their names, order or sizes; class 1 was 'bee', is",
        ),
        (other_image, "the files of test are others, in their names, order or sizes"),
        (lambda place: (place / "train/ape/3.png").unlink(), "train was 12, is 11; the files of train are others"),
        (lambda place: place.rename("elsewhere"), None),
    ],
)
def test_a_run_on_other_data_is_resumed_only_when_that_is_meant(train, change, told):
    place = Path("set").absolute()
    for split, count in (("train", 4), ("test", 2)):
        for number, name in enumerate(("ape", "bee", "cow")):
            (place / split / name).mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (32, 32), (80 * number, 10 * i, count)).save(place / split / name / f"{i}.png")
    argv = ["--dataset", "folder", *TINY[2:6], "--num-epochs", "1", "--save-dir", "run", "--data-dir"]
    assert train(*argv, place)[0] == 0
    change(place)
    argv = ["--resume", "run", "--data-dir", place if place.exists() else "elsewhere"]
    code, out, err = train(*argv)
    if told is None:
        assert code == 0
        return
    assert code == 2 and f"error: run cannot be resumed, its data have changed: {told}" in err, err
    assert err.endswith("; put them back as they were, or --accept-changed-data goes on with these\n")
    code, out, err = train(*argv, "--accept-changed-data")
    assert code == 0 and f"note: the data have changed (--accept-changed-data): {told}" in out, err


def test_a_run_of_a_version_without_digests_is_resumed(train, monkeypatch):
    task = get_task("cifar")
    with monkeypatch.context() as before:
        data = task.data
        before.setattr(task, "data", lambda *given: (made := data(*given), made.facts.pop("files"))[0])
        assert train(*TINY, "--num-epochs", "1", "--save-dir", "run")[0] == 0
    assert "files" not in History("run/history.jsonl").header()["data"]
    assert train("--resume", "run")[0] == 0


def test_a_run_can_be_made_longer_when_its_schedule_does_not_end(train):
    argv = [*TINY, "--lr-mode", "step", "--warmup-epochs", "0", "--lr-decay-epoch", "1"]
    assert train(*argv, "--num-epochs", "3", "--save-dir", "whole")[0] == 0
    assert train(*argv, "--num-epochs", "2", "--save-dir", "parts")[0] == 0
    assert train("--resume", "parts", "--num-epochs", "3")[0] == 0
    assert_equal("whole", "parts")


def test_an_update_in_parts(train):
    """Images, batches and the schedule are those of as many devices; stopped and resumed it is the same run."""
    argv = [*TINY, "--train-images", "64", "--update-parts", "2", "--num-epochs", "2", "--mixup"]
    code, out, err = train(*argv, "--save-dir", "parts")
    assert code == 0, err
    assert "images per update: 32, 2 x 16 as on 2 devices: on 1 device 2 parts one after another" in out
    assert "2 epochs of 2 batches" in out
    assert [record["updates"] for record in results("parts")[2]] == [2, 4]
    assert train(*argv, "--batch-as-given", "--save-dir", "given")[0] == 0
    assert [record["updates"] for record in results("given")[2]] == [4, 8]
    code, out, _ = train(*argv, "--dry-run", "--save-dir", "dry")
    assert code == 0 and "2 updates per epoch" in out


def test_the_number_of_workers_changes_nothing(train):
    argv = [*TINY, "--train-images", "64", "--num-epochs", "2", "--auto_aug", "--mixup", "--mixup-off-epoch", "1"]
    assert train(*argv, "-j", "0", "--save-dir", "one")[0] == 0
    assert train(*argv, "-j", "2", "--save-dir", "two")[0] == 0
    assert_equal("one", "two")


@pytest.mark.parametrize(
    ("options", "metric"),
    [
        ("--mixup --label-smoothing --mixup-alpha 0.2 --mixup-off-epoch 0", "rmse"),
        ("--model resnext --channel-times 1 --fusion iaff --label-smoothing --no-mixup", "accuracy"),
        ("--model inception --fusion concat --kernel5 true --mid-width output --cosine --warmup-epochs 0", "accuracy"),
        ("--lr-mode step --lr-decay-period 1 --no-wd", "accuracy"),
        ("--optimizer adam --lr 0.001 --ema 0.9 --clip-gradient 1 --accumulate 3", "accuracy"),
        ("--mode imperative --tag paper --init kaiming --deep-stem --fusion SEFuse --r 2", "accuracy"),
        ("--lr-mode poly --optimizer adagrad --start-layer 2 --no-mirror --pad 0 --resize 24", "accuracy"),
    ],
)
def test_flags_work_together(train, options, metric):
    code, _, err = train(*TINY, "--train-images", "32", "--num-epochs", "1", "--save-dir", "run", *options.split())
    assert code == 0, err
    (record,) = results("run")[2]
    assert record["train_metric"] == metric
    assert record["images"] == 32
    assert np.isfinite(record["loss"])


@pytest.mark.parametrize("host", ["--model resnet --blocks 5", "--model resnext --blocks 4"])
def test_the_published_command_lines_are_understood(train, host):
    argv = f"{host} {PUBLISHED}".split()
    options = parse_options(argv)
    assert (options.dataset, options.fusion, options.num_epochs, options.channel_times) == ("cifar100", "aff", 640, 4)
    assert options.lr_mode == "cosine"
    assert options.auto_aug and options.mixup and options.label_smoothing and options.no_wd
    assert options.auto_aug_policy == "published"
    code, out, _ = train(*argv, "--num-epochs", "640", "--dry-run", "--gpus", "", "--save-plot-dir", "plots")
    assert code == 0
    lines = out.splitlines()
    assert lines[1] == "    0  0.000051  0.020005"
    assert [int(line.split()[0]) for line in lines[1:-2]] == [0, 9, 10, 88, 167, 246, 325, 403, 482, 561, 639]
    assert lines[-3].endswith("0.000000") and lines[-2] == "images per update: 128, 1 x 128 on 1 device"
    assert lines[-1] == "390 updates per epoch; plot: plots/schedule.png"
    assert (Path("plots/schedule.png")).exists()


def test_best_files_are_named_as_the_authors():
    def name(*argv):
        return get_task("cifar").best_file(parse_options(argv), {"val": 0.8357, "epoch": 3})

    assert name("--blocks", "5") == "0.8357-cifar100-ASKCFuse-resnet-32-c-4-s-1-best.params"
    resnext = name("--model", "resnext", "--blocks", "4", "--fusion", "iaff")
    assert resnext == "0.8357-cifar100-ResGlobLocaforGlobLocaCha-resneXt-38-32x4-c-4-s-1-best.params"
    assert "-resneXt-11-64x4-c-8-" in name("--model", "resnext", "--channel-times", "8")


def test_recipe_config_and_command_line(train, tmp_path):
    release = parse_options(["--recipe", "release", "--model", "resnext", "--blocks", "1", "--no-mixup"])
    assert (release.blocks, release.mixup, release.lr_mode, release.no_wd) == (1, False, "cosine", True)
    assert parse_options(["--recipe", "paper"]).labels == "coarse"
    code, out, _ = train("--recipe", "release", "--model", "resnext", "--print-recipe")
    assert code == 0
    (tmp_path / "mine.yaml").write_text(out)
    mine = vars(parse_options(["--config", "mine.yaml"]))
    release = vars(parse_options(["--recipe", "release", "--model", "resnext"]))
    assert {name: value for name, value in mine.items() if release[name] != value}.keys() == {"config", "recipe"}
    assert train("--config", "mine.yaml", "--recipe", "paper")[0] == 2
    assert train("--print-recipe")[0] == 2


def test_config_of_a_run_is_reusable(train, finished):
    finished("one")
    argv = ["--config", "one/config.yaml", "--save-dir", "two", "--logging-dir", "logs", "--save-plot-dir", "plots"]
    assert train(*argv)[0] == 0
    assert_equal("one", "two")
    assert sorted(path.name for path in Path("logs").iterdir()) == ["train.log"]
    assert sorted(path.name for path in Path("plots").iterdir()) == ["curves.png"]
    config = yaml.safe_load(Path("two/config.yaml").read_text())
    Path("three.yaml").write_text(yaml.safe_dump({**config, "seed": 1}))
    assert parse_options(["--config", "three.yaml"]).logging_dir is None


def test_a_run_older_than_an_option_goes_on_as_it_was(train):
    """Before there was --auto-aug-policy, --auto_aug was the paper's."""
    argv = [*TINY, "--num-epochs", "2", "--lr-mode", "constant", "--auto_aug"]
    assert train(*argv, "--auto-aug-policy", "paper", "--save-dir", "whole")[0] == 0
    assert train(*argv, "--auto-aug-policy", "paper", "--num-epochs", "1", "--save-dir", "old")[0] == 0
    config = yaml.safe_load(Path("old/config.yaml").read_text())
    del config["auto_aug_policy"], config["update_parts"]
    Path("old/config.yaml").write_text(yaml.safe_dump(config))
    assert parse_options(["--config", "old/config.yaml"]).auto_aug_policy == "paper"
    code, _, err = train("--resume", "old", "--num-epochs", "2", "--auto-aug-policy", "published")
    assert code == 2 and "--auto-aug-policy was paper, is published" in err
    code, _, err = train("--resume", "old", "--num-epochs", "2", "--update-parts", "2")
    assert code == 2 and "--update-parts was None, is 2" in err
    assert train("--resume", "old", "--num-epochs", "2")[0] == 0
    assert_equal("whole", "old")


def test_resume_from_takes_the_weights_alone(train, finished):
    finished("one")
    code, out, _ = train(*TINY, "--num-epochs", "1", "--save-dir", "two", "--resume-from", "one/best/model.params")
    assert code == 0
    assert "weights: from one/best/model.params; optimizer, schedule and best start over" in out
    assert results("two")[2][0]["loss"] < results("one")[2][0]["loss"]
    code, _, err = train(*TINY, "--fusion", "add", "--save-dir", "three", "--resume-from", "one/best/model.params")
    assert code == 2
    assert "one/best/model.params does not fit this CIFARResNet: features.2.0.attention" in err
    code, _, err = train(*TINY, "--save-dir", "three", "--resume-from", "none.params")
    assert (code, err) == (2, "error: none.params is neither a file nor an id of `gluon-aff published list`\n")


def test_periodic_checkpoints_are_kept_and_fewer_images_than_a_batch_are_one_batch(train):
    argv = [*TINY, "--train-images", "10", "--num-epochs", "5"]
    code, out, _ = train(*argv, "--save-period", "2", "--save-dir", "some")
    assert code == 0
    assert "note: 10 training images, batches of 16: none is full, every epoch is one batch of 10\n" in out
    kept = {path.name for path in Path("some/checkpoints").iterdir()}
    assert {f"epoch-{epoch:05d}-batch-000000" for epoch in (2, 4, 5)} <= kept
    assert len(kept) <= 4
    assert len(results("some")[2]) == 5


def test_a_folder_called_params_holds_best_weights_as_the_authors_had_them(train):
    argv = [*TINY, "--train-images", "16", "--save-dir", "params"]
    assert train(*argv, "--num-epochs", "2", "--lr-mode", "constant")[0] == 0
    (best,) = Path("params").glob("*-best.params")
    assert (
        best.name == f"{max(r['val'] for r in results('params')[2]):.4f}-digits-ASKCFuse-resnet-8-c-1-s-1-best.params"
    )
    assert best.read_bytes() == Path("params/best/model.params").read_bytes()
    assert train(*argv, "--num-epochs", "1", "--overwrite")[0] == 0
    assert len(list(Path("params").glob("*-best.params"))) == 1


def test_summary_needs_no_data(train):
    code, out, _ = train("--model", "resnet", "--blocks", "5", "--askc-type", "ASKCFuse", "--summary")
    assert code == 0
    assert "7,897,156 trained parameters" in out
    assert not os.path.exists("runs")


def test_flags_that_would_do_nothing_are_refused(train):
    for options, message in [
        (["--drop-rate", "0.3"], "--drop-rate 0.3: cifar_resnet has no such option"),
        (["--model", "inception", "--start-layer", "2"], "--start-layer 2: cifar_inception has no such option"),
        (["--model", "inception", "--tag", "paper"], "unknown model 'cifar_inception.paper'"),
        (["--askc-type", "AFFF"], "did you mean aff"),
        (["--num-epochs", "0"], "--num-epochs/--epochs: '0' is not a whole number of at least 1"),
        (["--data-dir", "."], "no data directory"),
        (["--model", "resnext38_32x4d"], "type train_cifar.py --model resnext --blocks 4 --tag paper"),
        (["--scenario", "x"], "--scenario: it is of the paper-time scripts; type --model resnet or resnext"),
    ]:
        code, _, err = train(*TINY, "--save-dir", "run", *options)
        assert code == 2, options
        assert message in err
        assert len(err.splitlines()) == 1
    assert not os.path.exists("run/history.jsonl")


def write_cifar100(place):
    """Ten images of random pixels in the official binary layout: fine label 99 - n, coarse label n."""
    place.mkdir()
    random = np.random.RandomState(0)
    for name in ("train.bin", "test.bin"):
        records = [bytes([n, 99 - n]) + random.bytes(3072) for n in range(20)]
        (place / name).write_bytes(b"".join(records))
    (place / "fine_label_names.txt").write_text("".join(f"fine{n}\n" for n in range(100)))
    (place / "coarse_label_names.txt").write_text("".join(f"coarse{n}\n" for n in range(20)))


def test_label_modes_of_cifar100(train, tmp_path):
    write_cifar100(tmp_path / "cifar-100-binary")
    argv = ["--data-dir", "cifar-100-binary", "--channel-times", "1", "--batch-size", "10", "--num-epochs", "1"]
    argv += ["--gpus", ""]
    for number, (options, line) in enumerate(
        [
            ([], "cifar100, fine labels: 100 classes"),
            (["--labels", "coarse"], "cifar100, coarse labels: 20 labels on a 100-way head, as published"),
            (["--labels", "coarse", "--classes", "20"], "cifar100, coarse labels: 20 labels on a 20-way head;"),
        ]
    ):
        code, out, err = train(*argv, *options, "--save-dir", f"run{number}")
        assert code == 0, err
        assert line in out
    code, _, err = train(*argv, "--classes", "20", "--save-dir", "run3")
    assert code == 2
    assert "labels up to 99" in err
    assert "the head has 20 classes" in err


@pytest.mark.parametrize(
    ("recipe", "update"),
    [
        ([], "images per update: 128, 1 x 128 on 1 device"),
        (
            ["--recipe", "release"],
            "images per update: 512, 4 x 128 as on 4 devices: on 1 device 4 parts one after another",
        ),
    ],
)
def test_the_published_command_line_starts_on_an_official_archive(train, tmp_path, recipe, update):
    """Verbatim but for the place of the data; the short run and the narrow network come from the command line."""
    write_cifar100(tmp_path / "cifar-100-binary")
    with tarfile.open("cifar-100-binary.tar.gz", "w:gz") as archive:
        archive.add("cifar-100-binary")
    shutil.rmtree("cifar-100-binary")
    argv = f"--model resnet {PUBLISHED} --blocks 5 --data-dir cifar-100-binary.tar.gz".split()
    code, out, err = train(*argv, *recipe, "--num-epochs", "1", "--channel-times", "1", "--save-dir", "run")
    assert code == 0, err
    introduction = out[: out.index("[Epoch 0]")]
    assert introduction.startswith("device: cpu(0); ")
    assert "cifar100, fine labels: 100 classes; 20 training and 20 test images of 32x32" in introduction
    assert "augmentation: AutoAugment (CIFAR-10's policy, published) before crop and mirror" in introduction
    assert "model: cifar_aff_resnet32, release, fusion aff" in introduction
    assert update in introduction
    assert [record["images"] for record in results("run")[2]] == [20]


def test_what_ends_a_run_is_one_line(train):
    """A loss that explodes, a place that cannot be written, and a place where another process trains."""
    Path("file").write_text("")
    Path("run").mkdir()
    exploding = ["--num-epochs", "3", "--lr-mode", "constant", "--warmup-epochs", "0", "--lr", "1e30"]
    with open("run/.lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        for argv, message in (
            ([*exploding, "--save-dir", "other"], "learning rate 1e+30"),
            (["--save-dir", "file/run"], "error: cannot write to file/run: "),
            (["--num-epochs", "1", "--save-dir", "run"], "another process is training in run"),
        ):
            code, _, err = train(*TINY, *argv)
            assert code == 1 and message in err and len(err.splitlines()) == 1
            if "1e30" in argv:
                assert "the loss is nan at update" in err or "is not finite after update" in err
                assert "no checkpoint has been written yet; try a lower --lr" in err


LONG = [*TINY, "--train-images", "192", "--batch-size", "4", "--num-epochs", "2", "-j", "1"]
LONG += ["--mixup", "--mixup-off-epoch", "0", "--label-smoothing", "--ema", "0.9"]


def start(cwd):
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *LONG, "--save-dir", "parts"],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def stop_in_epoch_1(process, run):
    """Send SIGTERM once epoch 0 is over and its checkpoint written; seconds until the process has ended."""
    deadline = time.monotonic() + 120
    while not (run / "checkpoints/epoch-00001-batch-000000").exists():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    process.stdout.read()
    process.wait(60)
    return time.monotonic() - began


def test_a_run_stopped_in_the_middle_of_an_epoch_goes_on_to_the_bit(train, tmp_path):
    """By SIGTERM; tests/faults/test_kills.py has the other signals."""
    process = start(tmp_path)
    try:
        assert stop_in_epoch_1(process, tmp_path / "parts") < 20
    finally:
        process.kill()
    assert process.returncode == 143
    name = max(Path("parts/checkpoints").glob("epoch-*")).name
    assert name.startswith("epoch-00001-batch-") and name != "epoch-00001-batch-000000"
    assert train("--resume", "parts")[0] == 0
    assert train(*LONG, "--save-dir", "whole")[0] == 0
    assert_equal("whole", "parts")


@pytest.mark.slow
def test_bfloat16_where_the_cpu_has_it(tmp_path):
    """In processes of its own: AMP changes MXNet's operators for good."""
    argv = [sys.executable, str(SCRIPT), *TINY, "--dtype", "bfloat16", "--lr-mode", "constant", "--warmup-epochs", "0"]

    def run(*more):
        return subprocess.run([*argv, *more], cwd=tmp_path, capture_output=True, text=True, timeout=300)

    done = run("--num-epochs", "2", "--save-dir", "whole")
    if "this CPU (or this build of MXNet) has no bfloat16" in done.stderr:
        assert done.returncode == 2
        pytest.skip("no bfloat16 on this CPU")
    assert done.returncode == 0, done.stderr
    assert run("--num-epochs", "1", "--save-dir", "parts").returncode == 0
    assert run("--num-epochs", "2", "--save-dir", "parts", "--resume").returncode == 0
    assert_equal(tmp_path / "whole", tmp_path / "parts")
    state = read_checkpoint(tmp_path / "whole/checkpoints/epoch-00002-batch-000000").state
    assert len(state["trainer"]["loss_scale"]) == 3


def test_a_damaged_newest_checkpoint_costs_an_epoch_and_nothing_else(train):
    assert train(*TINY, "--num-epochs", "3", "--save-dir", "whole")[0] == 0
    shutil.copytree("whole", "parts", symlinks=True)
    newest = max(Path("parts/checkpoints").glob("epoch-*"))
    (newest / "model.params").write_bytes(b"")
    code, out, _ = train("--resume", "parts")
    assert code == 0
    assert f"checkpoint {newest} is damaged (model.params has 0 bytes" in out
    assert "resumed parts at epoch 2, batch 0" in out
    assert_equal("whole", "parts")
