"""gluon-aff gradcam and gluon-aff attention: files written, verdicts, and one line for what cannot be."""

import csv
import importlib
from argparse import Namespace

import mxnet as mx
import numpy as np
import pytest
from PIL import Image

import gluon_aff
from gluon_aff.cli import main as cli
from gluon_aff.errors import GluonAFFError
from gluon_aff.gradcam import explain, explain_images, find_pictures, fusion_weights
from gluon_aff.gradcam.cam_sheet import enlarged
from gluon_aff.tasks.opening import open_network
from gluon_aff.utils import console

maps_of_fusions = importlib.import_module("gluon_aff.gradcam.fusion_weights")  # beside a function of that name


def save(path, **options):
    mx.random.seed(3)
    net = gluon_aff.create_model(**options)
    net.save_parameters(str(path))
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    place = tmp_path_factory.mktemp("weights")
    small = {"classes": 10, "channel_times": 1}
    save(place / "aff.params", name="cifar_aff_resnet8", **small)
    save(place / "add.params", name="cifar_resnet8", **small)
    save(place / "iaff.params", name="cifar_iaff_resnet8", **small)
    save(place / "fpn.params", name="aff_fpn_resnet8", stem="tiny")
    return place


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    place = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for number, name in enumerate(("airplane", "bird", "elsewhere")):
        (place / name).mkdir()
        Image.fromarray(random.integers(256, size=(32, 32, 3), dtype=np.uint8)).save(place / name / f"{number}.png")
    return place


def run(capsys, *argv):
    code = console.run(cli.main, [*map(str, argv), "--gpus", ""])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_gradcam_writes_what_the_api_says(weights, pictures, tmp_path, capsys):
    add, aff, out = weights / "add.params", weights / "aff.params", tmp_path / "out"
    argv = ["gradcam", "--weights", add, "--compare", aff, "--names", "add,AFF", "--dataset", "cifar10"]
    code, printed, _ = run(capsys, *argv, "--images", pictures, "--out", out, "--batch-size", 2)
    assert code == 0 and "AFF: 3 images, " in printed
    with open(out / "predictions.csv", encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [(row["network"], row["truth"]) for row in rows] == [
        (network, truth) for network in ("add", "AFF") for truth in ("airplane", "bird", "")
    ]
    pixels = [np.asarray(Image.open(picture)) for picture in sorted(pictures.rglob("*.png"))]
    network = open_network(str(aff), data={"dataset": "cifar10"})
    explained = explain(network.net, network.input.transform(np.stack(pixels)))
    for row, logits, index in zip(rows[3:], explained.outputs, explained.classes):
        assert row["predicted"] == row["heat_of"] == network.input.classes[index]
        assert float(row["score"]) == pytest.approx(np.exp(logits[index]) / np.exp(logits).sum(), abs=1e-4)
        assert row["wrong"] == ("" if not row["truth"] else str(int(row["truth"] != row["predicted"])))
    heat = np.asarray(Image.open(out / "AFF/bird-1-heat.png")).astype(int)
    assert heat.shape == (32, 32, 3)
    overlay = np.asarray(Image.open(out / "AFF/bird-1-overlay.png")).astype(int)
    assert overlay.shape == (256, 256, 3)  # small pictures are enlarged, by a whole number
    assert (overlay == enlarged(((heat + pixels[1] + 1) // 2).astype(np.uint8))).all()
    hottest = np.unravel_index(explained.maps[1].argmax(), (32, 32))
    assert heat[hottest][0] > heat[hottest][2]  # red, not blue
    assert (out / "sheet.png").read_bytes().startswith(b"\x89PNG") and len(list(out.iterdir())) == 4


def test_the_class_asked_for_and_the_truth(weights, pictures):
    network = open_network(str(weights / "aff.params"), data={"dataset": "cifar10"})
    explained = explain_images(network, find_pictures([str(pictures)]), target="truck")
    assert [one.truth for one in explained] == ["airplane", "bird", "truck"]  # where no folder tells, what was asked
    assert {one.target for one in explained} == {"truck"}
    assert all(one.wrong == (one.predicted != one.truth) for one in explained)
    default = explain_images(network, find_pictures([str(pictures)]))
    assert default[2].truth is None and default[2].wrong is None
    assert not np.array_equal(explained[0].heat, default[0].heat)


def test_folders_name_the_classes_when_nothing_else_does(weights, tmp_path):
    for name in "jihgfedcba":
        (tmp_path / name).mkdir()
        Image.new("RGB", (32, 32)).save(tmp_path / name / "0.png")
    network = open_network(str(weights / "aff.params"))
    explained = explain_images(network, find_pictures([str(tmp_path)], 2))
    assert [one.truth for one in explained] == ["a", "j"]
    assert explain_images(network, find_pictures([str(tmp_path / "b")]))[0].predicted.startswith("class ")


def test_imagenet_networks_crop_and_know_their_classes(tmp_path):
    mx.random.seed(0)
    file, options = str(tmp_path / "resnet.params"), {"layers": (1, 1, 1, 1)}
    gluon_aff.create_model("resnet50", **options).save_parameters(file)
    network = open_network(file, "resnet50", options, data={"size": 64})
    (tmp_path / "n01443537").mkdir()
    Image.new("RGB", (200, 100), (9, 200, 3)).save(tmp_path / "n01443537" / "fish.png")
    (image,) = explain_images(network, find_pictures([str(tmp_path / "n01443537")]))
    assert image.pixels.shape == (64, 64, 3) and image.heat.shape == (64, 64)
    assert image.truth == "goldfish" and network.outputs == 1000


def test_segmentation_is_judged_by_its_mask(weights, tmp_path, capsys):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(2):
        Image.new("L", (40, 30), 90 * number).save(tmp_path / "images" / f"{number}.png")
    Image.fromarray(np.pad(np.full((8, 8), 255, np.uint8), ((4, 18), (4, 28)))).save(tmp_path / "masks/0.png")
    network = open_network(str(weights / "fpn.params"), data={"size": 32})
    first, second = explain_images(network, find_pictures([str(tmp_path)]))
    assert first.predicted == "IoU" and 0 <= first.score < 1 and first.mask.sum() > 20
    assert second.predicted.endswith("% foreground") and second.score is None and second.wrong is None
    speck = np.zeros((30, 40), np.uint8)
    speck[0, 2] = 255  # no pixel of 32x32 is taken from there
    Image.fromarray(speck).save(tmp_path / "masks/1.png")
    argv = ["--weights", weights / "fpn.params", "--input-size", 32]
    code, printed, _ = run(capsys, "gradcam", *argv, "--images", tmp_path, "--out", tmp_path / "out")
    assert code == 0 and " of 1 with their target found, 1 without a target at 32x32\n" in printed
    assert "1.png,,no target at 32x32,,,\n" in (tmp_path / "out/predictions.csv").read_text()
    code, printed, _ = run(capsys, "attention", *argv, "--image", tmp_path, "--count", 1, "--out", tmp_path / "maps")
    assert code == 0 and "fuse23.fusion" in printed and "-level map" in printed


def test_masks_beside_pictures_are_read_as_the_run_read_its_own(weights, tmp_path):
    """A rim, or greys, that the run's options tell of; the rim is no target, and not predicted."""
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    Image.new("L", (32, 32), 90).save(tmp_path / "images/0.png")
    rim = np.pad(np.ones((8, 8), np.uint8), 2, constant_values=255)
    Image.fromarray(np.pad(rim, ((4, 16), (4, 16)))).save(tmp_path / "masks/0.png")
    network, place = open_network(str(weights / "fpn.params"), data={"size": 32}), find_pictures([str(tmp_path)])
    with pytest.raises(GluonAFFError, match="`mask_ignore` 255"):
        explain_images(network, place)
    network.options = Namespace(mask_threshold=None, mask_ignore=255)
    assert explain_images(network, place)[0].mask.sum() == 64
    network.options = Namespace(mask_threshold=255)  # a run of before
    assert explain_images(network, place)[0].mask.sum() == 12 * 12 - 64


@pytest.mark.parametrize("name, stages", [("aff", 1), ("iaff", 2)])
def test_attention_writes_maps_of_every_fusion(name, stages, weights, pictures, tmp_path, capsys, monkeypatch):
    file = weights / f"{name}.params"
    if name == "aff":
        monkeypatch.setattr(maps_of_fusions, "draw_weight_sheet", lambda *arguments: None)
    code, printed, _ = run(capsys, "attention", "--weights", file, "--image", pictures / "bird", "--out", tmp_path)
    assert code == 0 and printed.count("features.4.0.attention") == stages
    saved = np.load(tmp_path / "bird-1.npz")
    network = open_network(str(file))
    pixels = np.asarray(Image.open(pictures / "bird/1.png"))
    found = fusion_weights(network.net, network.input.transform(pixels[None]))
    assert len(saved.files) == 3 * len(found) == 9 * stages
    for each in found:
        ending = "" if each.stage == 1 else "2"
        maps = saved[f"{each.path}.weight{ending}"]
        np.testing.assert_allclose(maps, each.weight[0].mean(axis=0), rtol=1e-6)
        assert saved[f"{each.path}.local{ending}"].shape == maps.shape
        assert saved[f"{each.path}.context{ending}"].shape == (1, 1)
        named = f"stage {each.stage}" if stages > 1 else ""
        row = next(line for line in printed.splitlines() if each.path in line and named in line)
        assert f"{each.weight.mean():.3f}" in row
        assert ("learned branch" in row) == (each.weight.mean() > 0.5)
    if name == "iaff":
        assert (tmp_path / "bird-1.png").read_bytes().startswith(b"\x89PNG")


GRADCAM = "gradcam --weights {weights}/aff.params --dataset cifar10 "


@pytest.mark.parametrize(
    "words, code, message",
    [
        (GRADCAM + "--images {pictures} --layer features.9", 2, "no layer 'features.9' in this CIFARResNet: choose"),
        (GRADCAM + "--images {pictures} --class 10", 2, "no class 10: the network has 10 (0 to 9)"),
        (GRADCAM + "--images {pictures} --class brid", 2, "no class 'brid': did you mean bird"),
        (GRADCAM + "--images {pictures} --names a,b", 2, "expected a name for each of the 1 networks"),
        (GRADCAM + "--images nowhere.png", 2, "no picture at nowhere.png"),
        (GRADCAM + "--images {own}/broken.png", 1, "cannot be read as an image (unknown format): replace or remove it"),
        (GRADCAM + "--images {pictures} --compare {own}/none.params", 2, "none.params is neither a file nor an id"),
        (GRADCAM + "--images {pictures} --normalisation records", 2, "--normalisation is for ImageNet networks"),
        (
            GRADCAM + "--images {own}/wide.png {pictures} --dataset folder",
            2,
            "give --input-size to resize all images",
        ),
        (
            "gradcam --weights {weights}/fpn.params --images {pictures} --class dog",
            2,
            "--class dog: fpn.params is a segmentation network and has no classes",
        ),
        (
            "attention --weights {weights}/add.params --image {pictures}",
            2,
            "no fusion of this CIFARResNet has weights (fusions: Add)",
        ),
    ],
)
def test_one_line_for_what_cannot_be(words, code, message, weights, pictures, tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    Image.new("RGB", (50, 40)).save(tmp_path / "wide.png")
    argv = words.format(weights=weights, pictures=pictures, own=tmp_path).split()
    found, _, error = run(capsys, *argv, "--out", tmp_path / "out")
    assert (found, error.count("\n")) == (code, 1) and message in error, error
    assert not (tmp_path / "out").exists()


def test_an_out_that_is_a_figure_is_that_figure_alone(weights, pictures, tmp_path, capsys):
    cam = ["--weights", weights / "aff.params", "--dataset", "cifar10", "--images", pictures, "--count", 1]
    assert run(capsys, "gradcam", *cam, "--dpi", 50, "--out", tmp_path / "cam.pdf")[0] == 0
    fpn = ["--weights", weights / "fpn.params", "--input-size", 16, "--images", pictures, "--count", 2]
    assert run(capsys, "attention", *fpn, "--dpi", 50, "--out", tmp_path / "maps.png")[0] == 0
    written = {path.name: path.read_bytes()[:4] for path in tmp_path.iterdir() if path.is_file()}
    assert written == {"cam.pdf": b"%PDF", "maps.png": b"\x89PNG", "maps-2.png": b"\x89PNG"}
