"""A run knows what it is: size, normalisation, class names, network and figure, in the run and beside its weights."""

import json
import shutil
from functools import partial

import numpy as np
import pytest
from PIL import Image

import gluon_aff
from gluon_aff.cli import main as cli
from gluon_aff.data import CIFAR_MEAN, CIFAR_STD
from gluon_aff.data.imagenet_batches import mean_and_std
from gluon_aff.data.pictures import NetworkInput
from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.gradcam import explain_images, find_pictures
from gluon_aff.tasks import get_task, parts
from gluon_aff.tasks.opening import commits_of, open_network
from gluon_aff.training.history import History
from gluon_aff.training.weights import find_checkpoint
from gluon_aff.utils import console
from gluon_aff.utils.files import digest_of_document

NAMES = ("heron", "otter", "wren")


def save_images(place, splits, names, size, per_class=4):
    random = np.random.default_rng(0)
    for split in splits:
        for number, name in enumerate(names):
            folder = place / split / name
            folder.mkdir(parents=True)
            for i in range(per_class):
                pixels = random.integers(120, size=(size[1], size[0], 3)) + 45 * number
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name}-{i}.png")
    return place


@pytest.fixture(scope="module")
def folder_run(tmp_path_factory):
    """A run on a folder of pictures of 32x32, for which no option says so."""
    place = tmp_path_factory.mktemp("folder")
    images = save_images(place / "images", ("train", "test"), NAMES, (32, 32))
    argv = ["--dataset", "folder", "--data-dir", images, "--channel-times", 1, "--num-epochs", 2, "--fusion", "aff"]
    argv += ["--batch-size", 4, "--gpus", "", "--save-dir", place / "run"]
    assert get_task("cifar").main([str(word) for word in argv]) == 0
    return place / "run"


def with_description(weights, to):
    """A copy of a file of weights, and of what lies beside it."""
    for ending in (".params", ".json"):
        shutil.copy(weights.with_suffix(ending), to.with_suffix(ending))
    return to


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.jpg"
    x, y = np.meshgrid(np.arange(413), np.arange(580))
    Image.fromarray(np.stack([x % 256, y % 256, (x + y) % 256], axis=-1).astype(np.uint8)).save(path)
    return path


def test_gradcam_feeds_a_photo_at_the_size_of_training(folder_run, photo, tmp_path, capsys, monkeypatch):
    network = open_network(str(folder_run))
    seen = []
    forward = type(network.net).forward
    monkeypatch.setattr(type(network.net), "forward", lambda net, x: seen.append(x.shape) or forward(net, x))
    (image,) = explain_images(network, find_pictures([str(photo)]))
    assert seen == [(1, 3, 32, 32)] and image.heat.shape == (32, 32) and image.predicted in NAMES
    argv = ["gradcam", "--weights", folder_run, "--images", photo, "--gpus", "", "--out", tmp_path / "out"]
    assert console.run(cli.main, [str(word) for word in argv]) == 0
    argv = ["attention", "--weights", folder_run, "--images", photo, "--gpus", "", "--out", tmp_path / "maps"]
    assert console.run(cli.main, [str(word) for word in argv]) == 0
    assert set(seen) == {(1, 3, 32, 32)}


def test_a_run_is_one_object(folder_run, photo):
    run = gluon_aff.load_run(folder_run)
    assert (run.task, run.network, run.classes, run.outputs) == ("cifar", "cifar_aff_resnet8", NAMES, 3)
    assert run.input == NetworkInput(32, "stretch", None, CIFAR_MEAN, CIFAR_STD) and not run.segments
    x = run.prepare([photo, photo.read_bytes(), np.asarray(Image.open(photo))])
    assert x.shape == (3, 3, 32, 32)
    small = np.asarray(Image.open(photo).resize((32, 32), Image.Resampling.BILINEAR))
    expected = (small / 255 - np.array(CIFAR_MEAN)) / np.array(CIFAR_STD)
    np.testing.assert_allclose(x[0].asnumpy(), expected.transpose(2, 0, 1), atol=1e-5)
    assert run.net(x).shape == (3, 3)
    records = History(folder_run / "history.jsonl").epochs()
    best = max(records, key=lambda record: record["val"])
    assert (run.claim.value, run.claim.images, run.claim.epoch) == (best["val"], 12, best["epoch"])
    assert run.figure == f"accuracy {best['val']:.4f} (12 images of folder), logged"
    assert len(repr(run)) < 300 and run.network in repr(run)
    last = gluon_aff.load_run(str(folder_run), "last")
    assert last.claim.value == records[-1]["val"] and last.claim.epoch == 1
    assert last.file.parent == find_checkpoint(folder_run, "last")


def test_weights_alone_know_it_too(folder_run, photo, tmp_path):
    """As a colleague gets them: the file and what lies beside it, under any name, without the run."""
    of_run = gluon_aff.load_run(folder_run)
    alone = gluon_aff.load_run(with_description(of_run.file, tmp_path / "mine.params"))
    assert alone.input == of_run.input and alone.classes == NAMES and alone.figure == of_run.figure
    assert np.array_equal(alone.net(alone.prepare(photo)).asnumpy(), of_run.net(of_run.prepare(photo)).asnumpy())
    text = (tmp_path / "mine.json").read_text(encoding="utf-8")
    assert str(folder_run.parent) not in text  # nothing of the machine it was trained on
    assert len(text) < 2000
    (named,) = (folder_run / "best").glob("*-best.params")  # the authors' name has it as well
    assert gluon_aff.load_run(named).classes == NAMES
    assert len(list(folder_run.glob("checkpoints/*/*-best.json"))) == 1


def test_what_the_user_says_wins(folder_run):
    trained = open_network(str(folder_run), data={"size": 48})
    assert trained.input.size == 48 and trained.classes == NAMES
    other = open_network(str(folder_run), data={"dataset": "digits"})
    assert other.input.size == 32 and other.classes == tuple("0123456789")


def test_a_run_and_its_lone_file_are_scored_as_it_was_validated(folder_run, tmp_path, capsys):
    mine = str(with_description(gluon_aff.load_run(folder_run).file, tmp_path / "mine.params"))
    words = ["evaluate", "--gpus", "", "--json", "-", "--data", str(folder_run.parent / "images"), "--weights"]
    capsys.readouterr()
    best = max(History(folder_run / "history.jsonl").epochs(), key=lambda record: record["val"])
    for place in (folder_run, folder_run / "best", (folder_run / "best").resolve(), mine):
        assert console.run(cli.main, [*words, str(place)]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["dataset"], found["images"], found["top5"]) == ("folder", 12, 1.0)
        assert found["top1"] == best["val"] == found["claim"]["value"]
    save_images(tmp_path / "large", ("test", "train"), NAMES, (50, 50), per_class=1)
    assert console.run(cli.main, [*words, mine, "--data", str(tmp_path / "large")]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 3  # seen at 32x32


@pytest.mark.parametrize(
    "entries, message",
    [
        ({"network": {"name": "cifar_resnet", "pretrained": "x"}}, "no network of ours .*no option pretrained"),
        ({"network": {"fusion": "aff"}}, "describes no network of ours"),
        ({"network": {"name": "nonesuch"}}, "describes no network of ours .*unknown model"),
        ({"network": 7}, "has no network that can be understood"),
        ({"data": None}, "has no data that can be understood"),
        ({"input": {"size": -1}}, "describes no input that can be understood"),
        ({"figure": {"value": "good"}}, "has no figure that can be understood"),
        ({"task": "unheard_of"}, "is of task unheard_of, which is not registered here"),
        ({"format": 99}, "is of format 99, this version reads 1"),
    ],
)
def test_a_description_of_somebody_elses_making(entries, message, folder_run, tmp_path):
    """With digests that are right, it can still say anything."""
    with_description(gluon_aff.load_run(folder_run).file, tmp_path / "a.params")
    document = {**json.loads((tmp_path / "a.json").read_text(encoding="utf-8")), **entries}
    document.pop("sha256")
    (tmp_path / "a.json").write_text(json.dumps({**document, "sha256": digest_of_document(document)}), encoding="utf-8")
    with pytest.raises((GluonAFFError, UsageError), match=message):
        gluon_aff.load_run(tmp_path / "a.params").input  # noqa: B018


def test_what_does_not_belong_together_is_told(folder_run, tmp_path):
    weights = gluon_aff.load_run(folder_run).file
    file, beside = tmp_path / "a.params", tmp_path / "a.json"
    shutil.copy(weights, file)
    with pytest.raises(UsageError, match="there is no a.json of ours beside it"):
        gluon_aff.load_run(file)
    document = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))
    beside.write_text(json.dumps({**document, "name": "another"}), encoding="utf-8")
    with pytest.raises(GluonAFFError, match="a.json is damaged.*remove a.json to use the weights as a file"):
        gluon_aff.load_run(file)
    beside.write_text("{", encoding="utf-8")
    with pytest.raises(GluonAFFError, match="a.json cannot be read"):
        gluon_aff.load_run(file)
    shutil.copy(weights.with_suffix(".json"), beside)
    gluon_aff.create_model("cifar_aff_resnet8", classes=3, channel_times=1).save_parameters(str(file))
    with pytest.raises(GluonAFFError, match="a.json describes other weights: their SHA-256 is"):
        open_network(str(file))
    beside.write_text('{"nodes": []}', encoding="utf-8")  # of another program
    assert open_network(str(file)).network.startswith("cifar_")
    beside.unlink()
    assert open_network(str(file)).claim is None


def test_runs_of_earlier_versions_open(folder_run, tmp_path, photo):
    shutil.copytree(folder_run, tmp_path / "old", symlinks=True)
    for path in tmp_path.glob("old/checkpoints/*/*.json"):
        path.unlink() if path.name != "state.json" else None
    run, now = gluon_aff.load_run(tmp_path / "old"), gluon_aff.load_run(folder_run)
    assert run.classes == NAMES and run.network == now.network and run.claim.value == now.claim.value
    assert run.input.size is None  # nothing tells
    assert np.array_equal(run.net(now.prepare(photo)).asnumpy(), now.net(now.prepare(photo)).asnumpy())


def test_a_run_says_what_it_was_trained_at(folder_run, tmp_path):
    run = shutil.copytree(folder_run, tmp_path / "run", symlinks=True)
    (run / "history.jsonl").write_text(
        '{"record": "resume", "epoch": 1, "commit": "fed"}\n{"record": "header", "commit": "abc"}\n', encoding="utf-8"
    )
    assert commits_of(find_checkpoint(run)) == ["abc", "fed"]
    (run / "history.jsonl").write_text("of another program\n", encoding="utf-8")
    assert commits_of(find_checkpoint(run)) == []


def test_create_model_takes_a_run(folder_run, photo, tmp_path):
    run = gluon_aff.load_run(folder_run)
    x, expected = run.prepare(photo), None
    for name in ("cifar_aff_resnet8", "cifar_resnet"):
        net = gluon_aff.create_model(name, pretrained=folder_run)
        expected = run.net(x).asnumpy()
        assert np.array_equal(net(x).asnumpy(), expected)
    with pytest.warns(UserWarning, match="stay as initialised"):
        assert gluon_aff.create_model("cifar_aff_resnet8", pretrained=folder_run, classes=7)(x).shape == (1, 7)
    with pytest.raises(UsageError, match="does not fit"):
        gluon_aff.create_model("cifar_iaff_resnet8", pretrained=folder_run)
    with pytest.raises(GluonAFFError, match="is a directory without a checkpoint"):
        gluon_aff.create_model("cifar_aff_resnet8", pretrained=tmp_path)
    copy = shutil.copytree(find_checkpoint(folder_run), tmp_path / "copy")
    content = (copy / "model.params").read_bytes()
    (copy / "model.params").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(GluonAFFError, match="model.params is not what was written"):
        gluon_aff.create_model("cifar_aff_resnet8", pretrained=copy)
    with pytest.raises(GluonAFFError, match="model.params has another SHA-256"):
        open_network(str(copy))


@pytest.mark.parametrize(
    "path, which, message",
    [("nowhere", "best", "no run at nowhere"), ("{run}", "newest", "choose 'best' or 'last'")],
)
def test_load_run_says_what_is_wrong(path, which, message, folder_run):
    with pytest.raises(UsageError, match=message):
        gluon_aff.load_run(path.format(run=folder_run), which)


def test_averaged_weights_are_described_and_explained_at_their_size(tmp_path, photo):
    argv = ["--dataset", "digits", "--train-images", 32, "--test-images", 20, "--num-epochs", 1, "--ema", 0.9]
    argv += ["--channel-times", 1, "--resize", 24, "--gpus", "", "--save-dir", tmp_path / "run"]
    assert get_task("cifar").main([str(word) for word in argv]) == 0
    run = gluon_aff.load_run(tmp_path / "run")
    assert run.file.name == "ema.params" and run.input.size == 24 and run.classes == tuple("0123456789")
    assert gluon_aff.load_run(run.file).figure == run.figure and run.title == "run"
    (image,) = explain_images(run, find_pictures([str(photo)]), target="7")
    assert image.heat.shape == (24, 24) and image.truth == "7"


def test_photographs_and_masks(tmp_path, monkeypatch):
    """The other tasks' runs say how they are given a picture, too."""
    images = save_images(tmp_path / "images", ("train", "val"), NAMES, (80, 70), per_class=2)
    argv = ["--data-dir", images, "--input-size", 32, "--batch-size", 6, "--num-epochs", 1, "--warmup-epochs", 0]
    argv += ["--normalisation", "records", "--crop-ratio", 0.8, "--gpus", "", "--save-dir", tmp_path / "run"]
    with monkeypatch.context() as patch:  # the true network, with one block in each stage
        patch.setattr(parts, "create_model", partial(gluon_aff.create_model, layers=(1, 1, 1, 1)))
        assert get_task("imagenet").main([str(word) for word in argv]) == 0
        alone = with_description(tmp_path / "run/best/model.params", tmp_path / "a.params")
    assert gluon_aff.load_run(alone).net.call["layers"] == [1, 1, 1, 1]
    monkeypatch.setattr(parts, "create_model", partial(gluon_aff.create_model, layers=(1, 1, 1, 1)))
    run = gluon_aff.load_run(tmp_path / "run")
    assert run.input == NetworkInput(32, "crop", 0.8, *mean_and_std("records")) and run.classes == NAMES
    assert run.prepare(next(images.rglob("*.png"))).shape == (1, 3, 32, 32)
    monkeypatch.undo()
    argv = ["--dataset", "shapes", "--train-images", 4, "--test-images", 2, "--num-epochs", 1, "--batch-size", 2]
    argv += ["--base-size", 48, "--crop-size", 48, "--blocks", 1, "--gpus", "", "--save-dir", tmp_path / "seg"]
    assert get_task("seg").main([str(word) for word in argv]) == 0
    run = gluon_aff.load_run(tmp_path / "seg")
    assert run.segments and run.input.size == 48 and run.classes is None and run.figure.startswith("IoU ")
    alone = gluon_aff.load_run(with_description(run.file, tmp_path / "alone.params"))
    assert alone.net(run.prepare(next(images.rglob("*.png")))).shape == (1, 1, 48, 48)
