"""Predictions on pictures: the figure of evaluate, every kind of weights and place, bad pictures, masks."""

import io
import itertools
import json
import re
import shutil
import sys
import textwrap
import zipfile
from dataclasses import replace
from pathlib import Path

import golden
import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn
from PIL import Image
from sklearn.datasets import load_sample_image

import gluon_aff
from gluon_aff import deploy
from gluon_aff.cli.main import main
from gluon_aff.data.pictures import NetworkInput
from gluon_aff.data.registry import ClassNames
from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.evaluation import TrainedNetwork

KINDS = ("ant", "bee", "cat")
OPTIONS = ["--model", "cifar_resnet8", "--channel-times", "1", "--classes", "3"]


SEEN = NetworkInput(32, classes=ClassNames(KINDS))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A labelled folder of 3 x 5 pictures of 40x36 pixels, train and test alike."""
    rng, root = np.random.RandomState(5), tmp_path_factory.mktemp("pictures")
    for split, kind, number in itertools.product(("train", "test"), KINDS, range(5)):
        place = root / split / kind / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        colours = rng.randint(0, 256, (6, 5, 3)).astype(np.uint8)
        Image.fromarray(colours).resize((40, 36), Image.Resampling.BICUBIC).save(place)
    return root


@pytest.fixture(scope="module")
def net():
    net = gluon_aff.create_model("cifar_resnet8", channel_times=1, classes=3)
    golden.fill(net, gain=2)
    return net


@pytest.fixture
def weights(net, tmp_path):
    net.save_parameters(str(tmp_path / "net.params"))
    return str(tmp_path / "net.params")


def lines_of(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_top1_over_a_labelled_folder_is_evaluates_figure(folder, weights, tmp_path, capsys):
    data = ["--dataset", "folder", "--input-size", "32"]
    assert main(["evaluate", "--weights", weights, *OPTIONS, "--data", str(folder), *data, "--json", "-"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    assert 0 < evaluated["top1_images"] < 15
    assert main(["predict", weights, str(folder), *OPTIONS, *data, "--format", "jsonl", "--batch-size", "4"]) == 0
    found = lines_of(capsys)
    assert len(found) == 15
    right = sum(KINDS.index(each["image"].split("/")[-2]) == each["classes"][0]["number"] for each in found)
    assert right == evaluated["top1_images"]


def test_names_come_from_the_network_and_accuracy_from_folders(folder, net, tmp_path, capsys):
    deploy.export(net, tmp_path / "out", input=SEEN)
    assert main(["predict", str(tmp_path / "out"), str(folder / "test"), "--top", "2"]) == 0
    printed = capsys.readouterr()
    assert [any(kind in line for kind in KINDS) for line in printed.out.splitlines()] == [True] * 15
    right = sum(each.top(1)[0][1] == each.folder for each in gluon_aff.predict(net, str(folder / "test"), input=SEEN))
    assert f"top-1 accuracy {right / 15:.4f} ({right} of 15 images" in printed.err


@pytest.mark.parametrize("to", ["symbol", "onnx", "int8"])
def test_every_form_predicts_alike(folder, net, tmp_path, to):
    if to == "onnx":
        pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
        pytest.importorskip("onnx", reason="the extra onnx is not installed")
    batch = 2 if to == "onnx" else "dynamic"
    deploy.export(net, tmp_path / "out", to, input=SEEN, with_preprocessing=True, batch=batch)
    same_logits(
        gluon_aff.predict(net, str(folder), input=SEEN, batch_size=1, workers=1),
        gluon_aff.predict(tmp_path / "out", [str(folder)], batch_size=4),
        0.2 if to == "int8" else 1e-4,
    )


def same_logits(one, other, tolerance):
    assert [each.name for each in one] == [each.name for each in other] and len(one) == 15
    for first, second in zip(one, other):
        assert np.abs(first.logits - second.logits).max() < tolerance * np.ptp(first.logits)


def test_no_logit_depends_on_batches_and_threads(folder, net):
    one = gluon_aff.predict(net, str(folder), input=SEEN, batch_size=1, workers=1)
    same_logits(one, gluon_aff.predict(net, str(folder), input=SEEN, batch_size=7, workers=3), 1e-5)


def pages_example(folder, picture, monkeypatch, capsys):
    """The block of docs/deploy.md with ONNX Runtime, run as it stands there: its pixels and the two words it prints."""
    page = Path(gluon_aff.__file__).parents[1] / "docs/deploy.md"
    if not page.exists():
        pytest.skip("the page is not in an installed package")
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    (code,) = [textwrap.dedent(block) for block in blocks if "onnxruntime" in block]
    assert "gluon_aff" not in code and "mxnet" not in code
    monkeypatch.setattr(sys, "argv", ["classify.py", str(folder), str(picture)])
    space = {}
    capsys.readouterr()
    exec(code, space)
    return space["pixels"].astype(int), capsys.readouterr().out.split()


IMAGENET = [NetworkInput(size, "crop", ratio) for size, ratio in ((64, None), (224, None), (320, None), (320, 0.8))]


@pytest.mark.parametrize("seen", [*IMAGENET, NetworkInput(32), "segments"], ids=str)
def test_the_pages_example_sees_what_we_see(seen, tmp_path, monkeypatch, capsys):
    """Photographs, one upright, to a level in every pixel; at the border of a bicubic square, to one on average."""
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    segments = seen == "segments"
    if segments:
        seen, net = NetworkInput(64, mean=(0.485, 0.456, 0.406)), gluon_aff.create_model("aff_fpn_resnet8", stem="tiny")
    else:
        seen, net = replace(seen, classes=ClassNames(KINDS)), mx.gluon.nn.HybridSequential()
        net.add(mx.gluon.nn.Conv2D(4, 3, strides=7, in_channels=3), mx.gluon.nn.GlobalAvgPool2D())
        net.add(mx.gluon.nn.Dense(3, in_units=4))
        net.initialize()
    golden.fill(net, gain=2)
    few = np.zeros((1, seen.size, seen.size, 3), np.uint8)
    options = {"with_preprocessing": True, "segments": segments, "pixels": few}
    out = deploy.export(net, tmp_path / "out", "onnx", input=seen, **options).directory
    for photograph in (china := load_sample_image("china.jpg")), china[40:, 200:401]:
        Image.fromarray(photograph).save(tmp_path / "a.png")
        pixels, (name, value) = pages_example(out, tmp_path / "a.png", monkeypatch, capsys)
        differences = np.abs(pixels - seen.fitted(photograph))
        assert differences.mean() < 0.2 and differences[2:-2, 2:-2].max() <= (1 if seen.fit == "crop" else 0)
        (found,) = gluon_aff.predict(out, tmp_path / "a.png")
        if segments:
            assert 0 < float(value) < 1
            assert float(value) == pytest.approx((found.logits[0] > 0).mean(), abs=1e-3)
        else:
            assert name == found.top(1)[0][1]
            assert float(value) == pytest.approx(found.logits.max(), abs=0.05 * np.ptp(found.logits))


def test_scores_are_a_softmax_and_top_is_sorted(net, folder):
    (found,) = gluon_aff.predict(net, str(folder / "test/ant/0.png"))
    assert found.folder == "ant" and found.scores.sum() == pytest.approx(1)
    top = found.top(3)
    assert [score for *_, score in top] == sorted(found.scores.tolist(), reverse=True)
    assert top[0][0] == found.logits.argmax() and top[0][1] == f"class {top[0][0]}"


def test_places(net, folder, tmp_path, capsys, monkeypatch, weights):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, file.relative_to(folder).as_posix())

    def count(*places):
        return len(gluon_aff.predict(net, [str(place) for place in places]))

    assert count(folder) == count(tmp_path / "set.zip") == 15
    assert count(folder / "train") == 15 and count(folder / "test/bee/*.png") == 5
    assert count(f"{tmp_path}/set.zip/test/cat", folder / "test/ant/1.png") == 6
    pixels = np.zeros((2, 20, 30, 3), np.uint8)
    assert len(gluon_aff.predict(net, pixels)) == 2 and len(gluon_aff.predict(net, [pixels[0]])) == 1
    with pytest.raises(UsageError, match="nothing matches"):
        count(folder / "nothing*.png")
    with pytest.raises(UsageError, match="no such file"):
        count(tmp_path / "nowhere")
    listed = f"{folder}/test/ant/0.png\n\n{folder}/missing.png\n{folder}/test/bee/1.png\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(listed.encode())))
    assert main(["predict", weights, "-", *OPTIONS, "--format", "jsonl", "--strict"]) == 1
    found = lines_of(capsys)
    assert ["error" in each for each in found] == [False, True, False]


def test_a_bad_picture_is_named_and_skipped(folder, weights, tmp_path, capsys):
    folder = shutil.copytree(folder, tmp_path / "set")
    (folder / "test/bee/2.png").write_bytes(b"not a picture")
    arguments = ["predict", weights, str(folder), *OPTIONS, "--format", "csv", "--out", str(tmp_path / "found.csv")]
    assert main(arguments) == 0
    error = capsys.readouterr().err
    assert "skipped: " in error and "bee/2.png" in error and "1 could not be read" in error
    table = (tmp_path / "found.csv").read_text().splitlines()
    assert len(table) == 15 and table[0].startswith("image,class_1,score_1,class_2") and "bee/2.png" not in str(table)
    assert {row.count(",") for row in table} == {2 * len(KINDS)}
    assert main([*arguments, "--strict"]) == 1


def test_masks(tmp_path, capsys):
    net = gluon_aff.create_model("aff_fpn_resnet8", stem="tiny")
    golden.fill(net, gain=2)
    net.save_parameters(str(tmp_path / "fpn.params"))
    for name, size in (("a", (50, 40)), ("b", (33, 70))):
        pixels = np.random.RandomState(1).randint(0, 256, (*size, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    places = [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    options = ["--model", "aff_fpn_resnet8", "--stem", "tiny", "--input-size", "64"]
    with pytest.raises(UsageError, match="--out DIR"):
        main(["predict", str(tmp_path / "fpn.params"), *places, *options])
    out = tmp_path / "found"
    arguments = ["--out", str(out), "--format", "csv"]
    assert main(["predict", str(tmp_path / "fpn.params"), *places, *options, *arguments]) == 0
    seen = NetworkInput(64, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    for each, name in zip(gluon_aff.predict(net, places, input=seen), "ab"):
        mask = np.asarray(Image.open(out / f"masks/{name}.png"))
        assert mask.shape == each.image.shape[:2] == each.probability.shape
        np.testing.assert_array_equal(mask > 0, each.probability > 0.5)
        assert (out / f"overlays/{name}.png").is_file()
    assert (out / "sheet-01.png").is_file() and len((out / "predictions.csv").read_text().splitlines()) == 3

    for inner in ("images", "masks", "idx_320"):
        (tmp_path / "set" / inner).mkdir(parents=True)
    for name in "ab":
        Image.open(tmp_path / f"{name}.png").save(tmp_path / f"set/images/{name}.png")
        Image.new("L", (8, 8)).save(tmp_path / f"set/masks/{name}.png")
    (tmp_path / "set/idx_320/test.txt").write_text("b.png\r\n")
    listed = [str(tmp_path / "fpn.params"), str(tmp_path / "set"), *options, "--split", "idx_320/test", "--out"]
    assert main(["predict", *listed, str(tmp_path / "of-split")]) == 0
    assert [mask.name for mask in (tmp_path / "of-split/masks").iterdir()] == ["b.png"]
    assert (tmp_path / "of-split/masks/b.png").read_bytes() == (out / "masks/b.png").read_bytes()


def test_what_cannot_be_predicted(net, tmp_path, folder):
    own = mx.gluon.nn.Dense(3, in_units=2)
    own.initialize()
    with pytest.raises(UsageError, match="give input="):
        gluon_aff.predict(own, str(folder))
    with pytest.raises(UsageError, match="uint8"):
        gluon_aff.predict(net, np.zeros((4, 4)))
    deploy.export(net, tmp_path / "bare", input_size=32)
    with pytest.raises(GluonAFFError, match="does not say how pictures"):
        gluon_aff.predict(tmp_path / "bare", str(folder))
    deploy.export(net, tmp_path / "out", input=NetworkInput(32))
    with pytest.raises(UsageError, match="--split is for a data set's folder or zip"):
        main(["predict", str(tmp_path / "out"), "-", "--split", "test"])
    with pytest.raises(UsageError, match="leave --model out"):
        main(["predict", str(tmp_path / "out"), str(folder), *OPTIONS])
    with pytest.raises(UsageError, match="does not say what it was trained for"):
        main(["evaluate", "--weights", str(tmp_path / "out")])
    with pytest.raises(UsageError, match="is an exported network"):
        main(["export", str(tmp_path / "out"), "--to", "symbol", "--out", str(tmp_path / "again")])


class Own(nn.HybridBlock):
    """Its layer fc is not the last one."""

    def __init__(self, last, both=False):
        super().__init__()
        self.both = both
        with self.name_scope():
            self.fc, self.last = nn.Conv2D(8, 3, padding=1), last

    def hybrid_forward(self, F, x):
        maps = self.fc(x)
        return (maps, self.last(maps)) if self.both else self.last(maps)


@pytest.mark.parametrize(
    ("last", "shape"), [(nn.Conv2D(5, 1), (5, 32, 32)), (nn.Dense(6), (6,))], ids=["maps", "classes"]
)
def test_the_head_of_an_own_network_is_what_its_output_says(last, shape):
    mine, given = Own(last), NetworkInput(32)
    mine.initialize()
    (found,) = gluon_aff.predict(mine, np.zeros((40, 40, 3), np.uint8), input=given)
    assert found.logits.shape == shape
    assert found.probability.shape == (40, 40) if len(shape) == 3 else len(found.top(9)) == 6
    assert TrainedNetwork("mine", Path(), "", "mine", mine, input_shape=(1, 3, 32, 32)).outputs == shape[0]
    with pytest.raises(UsageError, match=r"the head of this Own cannot be told, it gives no single output for images"):
        TrainedNetwork("mine", Path(), "", "mine", Own(last, both=True)).outputs  # noqa: B018
