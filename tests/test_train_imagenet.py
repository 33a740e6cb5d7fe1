"""train_imagenet.py from the command line to the files it leaves, on a few drawn images and with small networks."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
from mxnet import recordio
from PIL import Image
from script_runs import ROOT, assert_equal, results, script_fixture

from gluon_aff.cli import main as cli
from gluon_aff.comparison import open_curve, read_log
from gluon_aff.tasks import get_task, imagenet, parts
from gluon_aff.tasks.opening import open_network
from gluon_aff.training.history import History
from gluon_aff.utils import console
from gluon_aff.zoo import create_model

parse_options = get_task("imagenet").options

SCRIPT = ROOT / "train_imagenet.py"
CLASSES = ("ape", "bee", "cow")
SMALL = ["--gpus", "", "--input-size", "32", "--batch-size", "4", "--num-epochs", "1", "-j", "1", "--lr", "0.01"]
PUBLISHED = ["--label-smoothing", "--mixup", "--auto_aug", "--last-gamma", "--no-wd", "--use-rec"]


def jpeg(random, brightness):
    pixels = random.randint(0, 80, (40, 48, 3)) + brightness
    content = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(content, "JPEG")
    return content.getvalue()


def drawn(split, count):
    """(class number, name, JPEG) of ``count`` images of each class."""
    random = np.random.RandomState(len(split))
    for label, name in enumerate(CLASSES):
        for number in range(count):
            yield label, f"{split}/{name}/{number}.JPEG", jpeg(random, 80 * label)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """10 training and 6 validation images of three classes, as files."""
    place = tmp_path_factory.mktemp("images")
    for split, count in (("train", 4), ("val", 2)):
        for _, name, content in drawn(split, count):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
    for number in (2, 3):
        (place / f"train/ape/{number}.JPEG").unlink()
    return place


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """The same as record files; without a manifest, so that their classes are counted."""
    place = tmp_path_factory.mktemp("records")
    for split, count in (("train", 4), ("val", 2)):
        writer = recordio.MXIndexedRecordIO(str(place / f"{split}.idx"), str(place / f"{split}.rec"), "w")
        for key, (label, _, content) in enumerate(drawn(split, count)):
            writer.write_idx(key, recordio.pack(recordio.IRHeader(0, float(label), key, 0), content))
        writer.close()
    return place


def tiny_network(name, classes, fusion, ctx, init, **options):
    """In the place of an ImageNet network: a hundredth of its parameters."""
    return create_model("cifar_resnet", blocks=1, channel_times=1, classes=classes, fusion=fusion, ctx=ctx, init=init)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(parts, "create_model", tiny_network)


@pytest.fixture
def hosts(monkeypatch):
    """The true networks, with one block per stage."""
    monkeypatch.setattr(parts, "create_model", partial(create_model, layers=(1, 1, 1, 1)))


@pytest.fixture
def plain(folder, tmp_path):
    """The training images in class folders, without a train/ around them; one bee is there twice."""
    shutil.copytree(folder / "train", tmp_path / "plain")
    shutil.copy(tmp_path / "plain/bee/0.JPEG", tmp_path / "plain/bee/again.JPEG")
    return tmp_path / "plain"


train = script_fixture("train_imagenet")


def test_a_run_and_what_it_leaves(train, folder, tmp_path):
    argv = ["--data-dir", folder, *SMALL, "--num-epochs", "2", "--log-interval", "2", "--tag", "paper"]
    code, out, err = train(*argv, "--logging-file", "mine.log")
    assert code == 0, err
    run = tmp_path / f"runs/{folder.name}-aff_resnet50-0"
    lines = out.splitlines()
    assert lines[1] == (
        f"data: 3 classes, 10 training images from {folder}, 6 validation images from {folder}, at 32x32"
    )
    assert lines[2].startswith("model: aff_resnet50, paper, fusion aff, first fused stage 3; ")
    assert lines[3] == "training: 2 epochs of 3 batches, nag, cosine schedule, float32, seed 0"
    assert lines[4].startswith("note: the run ends within its warm-up of 5 epochs")
    assert lines[5] == "images per update: 4, 1 x 4 on 1 device"
    assert lines[6] == "note: float16, the published runs' type, needs a GPU: training in float32"
    (batch,) = [line for line in lines if line.startswith("Epoch[1]")]
    assert batch.startswith("Epoch[1] Batch [1]\tSpeed: ") and "samples/sec\taccuracy=" in batch
    schedule = get_task("imagenet").schedule(parse_options(map(str, argv)))
    assert batch.endswith(f"\tlr={schedule(5):f}")
    assert sum(line.startswith("pace: ") for line in lines) == 1
    (speed,) = [line for line in lines if line.startswith("[Epoch 1] speed: ")]
    assert " samples/sec\ttime cost: " in speed
    assert (tmp_path / "mine.log").read_text() == out
    epochs = History(run / "history.jsonl").epochs()
    assert [(record["images"], record["val_images"], record["left_out"]) for record in epochs] == [(10, 6, 0)] * 2
    best = max(epochs, key=lambda record: record["val"])
    (named,) = (run / "best").glob("*-best.params")
    assert named.name == f"{1 - best['val']:.4f}-imagenet-ImageNet-ASKCFuse-resnet--50-s-3-{best['epoch']}-best.params"
    assert f"best top-1 error {1 - best['val']:.4f} (" in lines[-3]
    # the authors' tools and ours read the log and the run as one of ImageNet
    (logged,) = read_log(tmp_path / "mine.log")
    assert logged.metric == "top-1 error"
    assert [point.value for point in logged.points] == pytest.approx([1 - r["val"] for r in epochs], abs=1e-6)
    assert open_curve(str(run)).settings["host"] == "resnet50 (paper)"
    subject = open_network(str(run))
    assert subject.data["dataset"] == "imagenet" and subject.data["data"] == str(folder)
    assert (subject.network, subject.claim.value) == ("aff_resnet50", best["val"])


@pytest.mark.parametrize(
    "host",
    ["--model resnet --askc-type ASKCFuse", "--model resnext --askc-type ResGlobLocaforGlobLocaCha"],
)
def test_the_published_command_lines_run(train, records, hosts, host):
    """Verbatim but for the paths; the small size and the short run come from a configuration file."""
    Path("small.yaml").write_text(
        "{input_size: 32, batch_size: 6, num_epochs: 1, mixup_off_epoch: 0, classes: 1000, gpus: ''}"
    )
    paths = f"--rec-train {records}/train.rec --rec-train-idx {records}/train.idx"
    paths += f" --rec-val {records}/val.rec --rec-val-idx {records}/val.idx"
    code, out, err = train(*host.split(), *PUBLISHED, *paths.split(), "--config", "small.yaml")
    assert code == 0, err
    assert "note: float16, the published runs' type, needs a GPU: training in float32" in out
    assert "1000 classes, 12 training images" in out
    assert "no AutoAugment" not in out
    assert "augmentation: AutoAugment (ImageNet's policy, published) besides the usual" in out
    (run,) = Path("runs").iterdir()
    (record,) = results(run)[2]
    assert (record["images"], record["val_images"], record["train_metric"]) == (12, 6, "rmse")


def test_records_that_name_no_classes(train, records, monkeypatch):
    """The labels tell how many; a run of 1,000 outputs, as earlier versions gave them, goes on with these."""
    argv = ["--use-rec", "--rec-train", records / "train.rec", "--rec-val", records / "val.rec", *SMALL]
    for more, outputs in (([], 3), (["--classes", "3"], 3), (["--classes", "4"], 4)):
        code, out, err = train(*argv, *more, "--save-dir", f"run{len(more)}", "--overwrite")
        assert code == 0 and f"data: {outputs} classes, 12 training images" in out, err
    code, _, err = train(*argv, "--classes", "2", "--save-dir", "two")
    assert (code, err) == (2, "error: --classes 2: the images have 3 classes\n")
    with monkeypatch.context() as before:
        before.setattr(imagenet, "classes_of", lambda *given: tuple(map(str, range(1000))))
        assert train(*argv, "--save-dir", "old")[0] == 0
    code, out, err = train("--resume", "old")
    assert code == 0 and "resumed old at epoch 1" in out and "data: 1000 classes" in out, err


def test_release_leaves_autoaugment_out_on_records_and_says_so(train, records):
    place = ["--use-rec", "--rec-train", records / "train.rec", "--rec-val", records / "val.rec"]
    argv = [*place, "--recipe", "release", "--auto_aug", *SMALL, "--train-images", "4", "--test-images", "2"]
    code, out, err = train(*argv, "--save-dir", "one")
    assert code == 0, err
    assert "note: no AutoAugment: the authors' script never read --auto_aug with --use-rec" in out
    assert train(*argv, "--no-auto-aug", "--save-dir", "two")[0] == 0
    assert train(*argv, "--auto-aug-input", "any", "--save-dir", "three")[0] == 0
    one, two, three = (results(run)[2][0]["loss"] for run in ("one", "two", "three"))
    assert one == two != three
    settings = [open_curve(run).settings["AutoAugment"] for run in ("one", "two", "three")]
    assert settings == ["none", "none", "published"]


def test_distillation_from_a_file(train, folder):
    argv = ["--data-dir", folder, *SMALL]
    assert train(*argv, "--save-dir", "teacher")[0] == 0
    student = [*argv, "--seed", "1", "--teacher", "teacher/best/model.params"]
    code, out, err = train(*student, "--mixup", "--mixup-off-epoch", "0", "--save-dir", "student")
    assert code == 0, err
    assert "teacher: teacher/best/model.params, temperature 20; labels' share of the loss 0.5" in out
    (record,) = results("student")[2]
    assert record["train_metric"] == "rmse" and np.isfinite(record["loss"])
    code, _, err = train(*student, "--classes", "5", "--save-dir", "other")
    assert code == 2
    assert "--teacher teacher/best/model.params gives (3,) values per image: a student of 5 classes" in err
    code, _, err = train(*argv, "--teacher", "resnet50_v9", "--save-dir", "other")
    assert code == 2 and "--teacher resnet50_v9 is neither a file" in err
    assert len(err.splitlines()) == 1


def test_other_weights_to_start_from(train, folder):
    argv = ["--data-dir", folder, *SMALL, "--mode", "imperative"]
    assert train(*argv, "--save-dir", "one")[0] == 0
    more = ["--train-images", "4", "--test-images", "2"]
    with pytest.warns(UserWarning, match="stay as initialised"):
        code, out, err = train(*argv, *more, "--classes", "7", "--use-pretrained", "one/best/model.params")
    assert code == 0, err
    assert "weights: from one/best/model.params; optimizer, schedule and best start over" in out
    code, out, err = train(*argv, *more, "--resume-params", "one/best/model.params", "--save-dir", "two")
    assert code == 0, err
    assert "weights: from one/best/model.params" in out
    code, _, err = train(
        *argv, *more, "--classes", "7", "--resume-from", "one/best/model.params", "--save-dir", "three"
    )
    assert code == 2 and "does not fit this CIFARResNet" in err
    code, _, err = train(*argv, "--use-pretrained", "--save-dir", "three")
    assert code == 1 and "release_imagenet_AFF-ResNet-50_0.2028" in err  # the catalogue knows it, its file is not here


def test_flags_that_would_do_nothing_are_refused(train, folder):
    for options, message in [
        (["--authors-last-gamma"], "--authors-last-gamma: resnet50 has no such option"),
        (["--use-gn"], "--use-gn: it did nothing in the authors' script"),
        (["--resume-epoch", "3"], "--resume RUN"),
        (["--dtype", "float16"], "float16 needs a GPU"),
        (["--num-gpus", "two"], "'two' is not a number of GPUs"),
        (["--rec-train", "a.rec"], "--rec-train names a record file: add --use-rec"),
        (["--use-rec", "--rec-train", "a.rec", "--rec-train-idx", "b.idx"], "link it to a.idx"),
        (["--model", "resnext", "--num-layer", "152"], "unknown model 'resnext152_32x4d'"),
        (["--classes", "2"], "--classes 2: the images have 3 classes"),
        (["--val-dir", "elsewhere"], "no data at elsewhere"),
        (["--use-se"], "--use-se: resnet50 has no such option"),
        (["--batch-norm"], "--batch-norm: it is for GluonCV's VGG"),
        (
            ["--resume-states", "a.states"],
            "--resume-states: the optimizer's state is restored with the rest of the run",
        ),
        (["--val-fraction", "0.4", "--val-dir", "elsewhere"], "--val-fraction takes validation images from --data-dir"),
        (["--val-fraction", "0.4", "--use-rec"], "--val-fraction takes validation images from --data-dir"),
        (["--resume-from", "a", "--use-pretrained"], "give one of them"),
        (["--train-images", "11"], "has 10 images, 11 were asked for"),
    ]:
        code, _, err = train("--data-dir", folder, *SMALL, "--save-dir", "run", *options)
        assert code == 2, options
        assert message in err
        assert len(err.splitlines()) == 1
    assert not os.path.exists("run/history.jsonl")


def test_images_that_cannot_be_read_are_named_counted_and_left_out(train, folder):
    shutil.copytree(folder, "images")
    Path("images/train/bee/1.JPEG").write_bytes(b"no image")
    Path("images/val/cow/0.JPEG").write_text("no image")
    argv = ["--data-dir", "images", *SMALL, "--num-epochs", "2", "--mixup"]
    code, out, err = train(*argv, "--save-dir", "run")
    assert code == 0, err
    for name in ("train/bee/1.JPEG", "val/cow/0.JPEG"):
        assert out.count(f"left out: images/{name} cannot be read as an image") == 1
    records = results("run")[2]
    assert [(r["images"], r["val_images"], r["left_out"]) for r in records] == [(9, 5, 2)] * 2
    code, _, err = train(*argv, "--strict", "--save-dir", "strict")
    assert code == 1
    assert "images/train/bee/1.JPEG cannot be read as an image" in err


def test_schedules_and_summaries_need_no_data(train):
    code, out, _ = train("--recipe", "release", "--gpus", "", "--num-epochs", "6", "--dry-run", "--save-plot-dir", ".")
    assert code == 0
    lines = out.splitlines()
    assert lines[1].split()[2] == "0.015001"  # a fifth of the way to 0.075
    assert lines[-1] == "2503 updates per epoch; plot: schedule.png"  # 1281167 / 512
    code, out, _ = train("--model", "resnext", "--askc-type", "ResGlobLocaforGlobLocaCha", "--summary")
    assert code == 0 and "trained parameters" in out


def test_last_gamma_and_squeeze_and_excitation_reach_the_hosts(hosts):
    def parameters(*argv):
        return get_task("imagenet").network(parse_options(argv), 3, mx.cpu())._collect_params_with_prefix()

    def zeros(*argv):
        gammas = [p for name, p in parameters(*argv).items() if name.endswith("gamma")]
        return sum(not gamma.data().asnumpy().any() for gamma in gammas)

    for model in ("resnet", "resnext"):
        assert zeros("--model", model) == 0
        assert zeros("--model", model, "--last-gamma") == 4
    assert zeros("--model", "resnext", "--authors-last-gamma") == 4
    assert zeros("--model", "resnext", "--authors-last-gamma", "--last-gamma") == 0
    assert sum(".se." in name for name in parameters("--model", "resnext", "--use-se")) == 4 * 4


LONG = [*SMALL, "--batch-size", "2", "--num-epochs", "6", "--mixup", "--ema", "0.9", "--label-smoothing"]
TINY_SCRIPT = f"""
import sys
sys.path[:0] = [{str(SCRIPT.parent)!r}, {str(Path(__file__).parent)!r}]
import train_imagenet
from gluon_aff.utils import console
from gluon_aff.tasks import parts
from test_train_imagenet import tiny_network
parts.create_model = tiny_network
sys.exit(console.run(train_imagenet.main))
"""


def test_a_run_stopped_in_the_middle_of_an_epoch_goes_on_to_the_bit(train, folder, tmp_path):
    argv = ["--data-dir", str(folder), *LONG]
    with subprocess.Popen(
        [sys.executable, "-c", TINY_SCRIPT, *argv, "--save-dir", "parts", "--log-interval", "1"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            for line in process.stdout:
                if line.startswith("Epoch[0] Batch [2]"):
                    process.send_signal(signal.SIGTERM)
                    break
            process.stdout.read()
            assert process.wait(60) == 143
        finally:
            process.kill()
    name = max(Path("parts/checkpoints").glob("epoch-*")).name
    assert "epoch-00000-batch-000003" <= name < "epoch-00006"
    code, out, err = train("--resume", "parts", "-j", "0")
    assert code == 0, err
    assert f"resumed parts at epoch {int(name[6:11])}, batch {int(name[-6:])}" in out
    assert train(*argv, "--save-dir", "whole")[0] == 0
    assert_equal("whole", "parts")


@pytest.mark.slow
def test_event_files_for_tensorboard(train, folder):
    pytest.importorskip("tensorboardX")
    argv = ["--data-dir", folder, *SMALL, "--lr-mode", "step", "--tensorboard", "--save-dir", "run"]
    assert train(*argv)[0] == 0
    assert train("--resume", "run", "--num-epochs", "2")[0] == 0
    (events,) = Path("run/tensorboard").iterdir()
    assert events.read_bytes().count(b"validation/val") == 2


def test_training_images_are_no_validation_images(train, plain, capsys):
    """A folder of classes alone is refused, with the way out; held out are others than are trained on."""
    argv = ["--data-dir", plain, *SMALL, "--save-dir", "run"]
    code, _, err = train(*argv)
    assert code == 2 and "validation would be on the images of training" in err and "--val-fraction 0.1" in err
    code, out, _ = train(*argv, "--val-fraction", "0.4")
    assert code == 0 and "note: 1 of 11 images are copies of another one" in out
    assert "3 classes, 6 training images" in out and "5 validation images" in out
    run = open_network("run")
    assert run.data["val_fraction"] == 0.4 and run.claim.images == 5
    words = ["evaluate", "--weights", "run", "--gpus", "", "--json", "-"]
    assert console.run(cli.main, words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 5 and found["top1"] == run.claim.value and found["claim"]
    assert console.run(cli.main, words[:-2]) == 0
    printed = capsys.readouterr().out
    assert "5 of 5 counted" in printed and "official set" not in printed
    shutil.copytree(plain, "copy")
    assert console.run(cli.main, [*words, "--data", "copy"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["images"] == 11
    assert "if copy is that folder, --val-fraction 0.4 scores these images alone" in printed.err
    assert console.run(cli.main, [*words, "--data", "copy", "--val-fraction", "0.4"]) == 0
    assert json.loads(capsys.readouterr().out)["top1"] == run.claim.value
    code, _, err = train("--resume", "run", "--val-fraction", "0.2")
    assert code == 2 and "val-fraction" in err
