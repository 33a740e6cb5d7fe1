"""The options of train_imagenet.py: the authors' and GluonCV's command lines, recipes, names of files."""

from pathlib import Path

import pytest

from gluon_aff.tasks import get_task
from gluon_aff.tasks.imagenet import place_of, registered_name
from gluon_aff.training.optim import resolve_dtype
from gluon_aff.training.schedule import from_options

TASK = get_task("imagenet")
parse_options = TASK.options

PUBLISHED = "--label-smoothing --mixup --auto_aug --last-gamma --no-wd --use-rec"


@pytest.mark.parametrize(
    ("host", "model", "file"),
    [
        ("--model resnet --askc-type ASKCFuse", "aff_resnet50", "ASKCFuse-resnet--50-s-3-235"),
        ("--model resnext --askc-type ASKCFuse", "aff_resnext50_32x4d", "ASKCFuse-resnext--50-s-3-235"),
        (
            "--model resnext --askc-type ResGlobLocaforGlobLocaCha --num-layer 101",
            "iaff_resnext101_32x4d",
            "ResGlobLocaforGlobLocaCha-resnext--101-s-3-235",
        ),
    ],
)
def test_published_flags(host, model, file):
    options = parse_options(f"{host} {PUBLISHED}".split())
    assert (TASK.model_name(options), options.num_epochs, options.lr, options.lr_mode) == (model, 240, 0.075, "cosine")
    assert (options.batch_size, options.warmup_epochs, options.mixup_alpha, options.mixup_off_epoch) == (128, 5, 0.2, 5)
    assert options.label_smoothing and options.mixup and options.auto_aug and options.last_gamma and options.no_wd
    assert (options.init, options.dtype, options.input_size, options.start_layer) == ("kaiming", None, 224, 3)
    name = TASK.best_file(options, {"val": 1 - 0.202803, "epoch": 235})
    assert name == f"0.2028-imagenet-ImageNet-{file}-best.params"


def test_every_option_of_the_authors_scripts_is_known():
    line = (
        "--data-dir d --rec-train t.rec --rec-train-idx t.idx --rec-val v.rec --rec-val-idx v.idx --batch-size 64 "
        "--r 16 --dtype float32 --num-gpus 4 -j 8 --num-epochs 90 --lr 0.1 --momentum 0.9 --wd 1e-4 --lr-mode step "
        "--lr-decay 0.1 --lr-decay-period 30 --lr-decay-epoch 40,60 --warmup-lr 0 --warmup-epochs 5 --mode imperative "
        "--input-size 96 --crop-ratio 0.875 --use-pretrained --use-se --mixup-alpha 0.2 --mixup-off-epoch 5 "
        "--teacher resnet152_v1d --temperature 20 --hard-weight 0.5 --save-frequency 10 --save-dir params "
        "--log-interval 50 --logging-file a.log --start-layer 2 --num-layer 152 --summary"
    )
    options = parse_options(line.split())
    assert (options.gpus, options.save_period, options.logging_file) == ("0,1,2,3", 10, "a.log")
    assert (options.use_pretrained, options.teacher, options.lr_decay_epoch) == (True, "resnet152_v1d", [40, 60])
    assert parse_options(["--resume-params", "a.params"]).resume_from == "a.params"
    assert parse_options(["--num-gpus", "0"]).gpus == ""


def test_names_of_hosts():
    assert registered_name(parse_options(["--tag", "paper"])) == "resnet50.paper"
    assert registered_name(parse_options(["--model", "resnext", "--num-layer", "101"])) == "resnext101_32x4d"
    assert TASK.model_name(parse_options(["--fusion", "add"])) == "resnet50"


def test_release_has_the_logged_learning_rates():
    """AFF-ResNet-50's log: 2502 updates per epoch (a few epochs had 2503), its last line at batch 2499."""
    schedule = from_options(parse_options(["--recipe", "release"]), 2502)
    logged = {0: 0.014989, 1: 0.029996, 4: 0.075, 5: 0.074997, 50: 0.068129, 120: 0.038245, 200: 0.004977, 239: 0.0}
    for epoch, lr in logged.items():
        assert schedule(2502 * epoch + 2500) == pytest.approx(lr, abs=1e-5)


def test_finetune_has_the_published_rate_for_its_batch_and_starts_from_weights():
    options = parse_options(["--recipe", "finetune"])
    schedule = from_options(options, 10)
    assert options.lr == pytest.approx(0.075 * options.batch_size / 512, rel=0.1)
    assert [schedule(update) for update in (0, 10, 20, 110, 199)] == pytest.approx(
        [0, 0.0025, 0.005, 0.0025, 0], abs=3e-4
    )
    assert options.use_pretrained is True  # and so it is read from the run's configuration
    other = ["--recipe", "finetune", "--use-pretrained", "runs/mine"]
    assert parse_options(other).use_pretrained == "runs/mine"
    assert parse_options(["--recipe", "finetune", "--resume-from", "a.params"]).use_pretrained is None


def test_where_the_images_lie(monkeypatch, tmp_path):
    monkeypatch.setenv("MXNET_HOME", str(tmp_path))
    home = tmp_path / "datasets/imagenet"
    assert place_of(parse_options([]), "train") == place_of(parse_options([]), "val") == home
    records = parse_options(["--use-rec"])
    assert (place_of(records, "train"), place_of(records, "val")) == (home / "rec/train.rec", home / "rec/val.rec")
    mixed = parse_options(["--use-rec", "--rec-train", "a.rec", "--rec-train-idx", "a.idx", "--val-dir", "b"])
    assert (place_of(mixed, "train"), place_of(mixed, "val")) == (Path("a.rec"), Path("b"))


def test_precision_follows_the_devices_unless_it_is_given():
    import mxnet as mx

    cpu, gpu = [mx.cpu()], [mx.gpu(0), mx.gpu(1)]
    assert [resolve_dtype(None, where) for where in (cpu, gpu)] == ["float32", "float16"]
    assert resolve_dtype("float16", cpu) == "float16"  # and refused where it cannot be


def test_lines_of_the_log_are_the_authors():
    record = {"epoch": 3, "train_metric": "rmse", "train": 0.02, "loss": 5.5, "images": 1000, "time": 8.0}
    assert TASK.log_line({**record, "val": 0.25, "val_top5": 0.5}).splitlines() == [
        "[Epoch 3] training: rmse=0.020000 loss=5.500000",
        "[Epoch 3] speed: 125 samples/sec\ttime cost: 8.000000",
        "[Epoch 3] validation: err-top1=0.750000 err-top5=0.500000",
    ]
