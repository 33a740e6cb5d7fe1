"""gluon-aff evaluate: what is counted under each protocol, on which classes, and what is reported."""

import csv
import io
import json

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn
from PIL import Image

import gluon_aff
from gluon_aff import published
from gluon_aff.cli import main as cli
from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.evaluation import (
    Claim,
    ClassificationReport,
    DataOptions,
    Score,
    TrainedNetwork,
    open_images,
    predict,
    score,
)
from gluon_aff.evaluation.protocol import record_passes
from gluon_aff.evaluation.scoring import claimed_pass, pass_scores
from gluon_aff.facts import imagenet_classes

CPU = [mx.cpu()]


class Fixed(nn.HybridBlock):
    """Gives the row of ``logits`` that an image's first channel names."""

    def __init__(self, logits):
        super().__init__()
        with self.name_scope():
            self.table = nn.Embedding(*logits.shape)
        self.table.initialize()
        self.table.weight.set_data(mx.nd.array(logits))

    def hybrid_forward(self, F, x):
        return self.table(F.slice_axis(x, axis=1, begin=0, end=1).mean(axis=(1, 2, 3)))


class Brightness(nn.HybridBlock):
    """Looks an image's logits up by its brightness, undoing the normalisation of red."""

    def __init__(self, logits):
        super().__init__()
        self.inner = Fixed(logits)

    def hybrid_forward(self, F, x):
        red = F.slice_axis(x, axis=1, begin=0, end=1) * 58.393 + 123.68
        return self.inner(F.round(red / 5))


class Constant(nn.HybridBlock):
    """Gives zero logits, and counts the batches that it has seen."""

    def __init__(self, outputs):
        super().__init__()
        self.outputs, self.seen = outputs, 0

    def forward(self, x):
        self.seen += 1
        return mx.nd.zeros((x.shape[0], self.outputs))


def toy(net, **more):
    return TrainedNetwork("toy", None, "cifar", "toy", net, **more)


def batches(labels, size):
    """Images whose only content is their number."""
    x = np.arange(len(labels), dtype=np.float32)[:, None, None, None] * np.ones((1, 3, 1, 1), np.float32)
    return [(x[i : i + size], np.array(labels[i : i + size])) for i in range(0, len(labels), size)]


def save(path, classes):
    mx.random.seed(1)
    net = gluon_aff.create_model("cifar_aff_resnet8", classes=classes, channel_times=1)
    net(mx.nd.zeros((1, 3, 32, 32)))
    net.save_parameters(str(path))
    return path


def numbered_records(path, labels):
    """Record i is one grey of brightness 5 i; JPEG keeps it to the digit."""
    writer = mx.recordio.MXRecordIO(str(path), "w")
    for number, label in enumerate(labels):
        content = io.BytesIO()
        Image.new("RGB", (8, 8), (5 * number,) * 3).save(content, "JPEG", quality=100)
        writer.write(mx.recordio.pack(mx.recordio.IRHeader(0, float(label), number, 0), content.getvalue()))
    writer.close()
    return str(path)


def evaluate(*argv):
    assert cli.main(["evaluate", "--gpus", "", "--workers", "0", *map(str, argv)]) in (0, None)


def evaluate_json(capsys, *argv):
    evaluate(*argv, "--json", "-")
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small CIFAR network with ten outputs."""
    return save(tmp_path_factory.mktemp("weights") / "small.params", 10)


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """Arguments for a small network with ImageNet's outputs."""
    file = save(tmp_path_factory.mktemp("wide") / "net.params", 1000)
    return ["--weights", file, "--dataset", "imagenet", "--input-size", 32]


# ---- what is counted


def test_ranks_ties_and_confusion():
    logits = np.array([[3, 2, 1, 0], [0, 1, 2, 3], [1, 1, 1, 1], [0, 5, 5, 9]], dtype=np.float32)
    for size in (1, 3, 4):
        found = predict(Fixed(logits), batches([0, 1, 2, 1], size), CPU, 4)
        assert found.ranks.tolist() == [0, 2, 2, 1]  # of equal logits the lower number comes first
        assert found.predicted.tolist() == [0, 3, 0, 3]
        assert [found.hits(k) for k in (1, 2, 3, 4)] == [1, 2, 4, 4]
        assert found.confusion(3).tolist() == [[1, 0, 0, 0], [0, 0, 0, 2], [1, 0, 0, 0]]  # last column: class 3


def test_logits_and_labels_that_cannot_be_counted(monkeypatch):
    predict(Fixed(np.array([[1e5, -1.0]])), batches([1], 2), CPU, 1)
    with pytest.warns(UserWarning, match="logits beyond 1e.06: the running statistics"):
        predict(Fixed(np.array([[0.0, -1e10]])), batches([1], 2), CPU, 1)
    with pytest.raises(GluonAFFError, match="not finite"):
        predict(Fixed(np.array([[np.nan, 1.0]])), batches([1], 2), CPU, 1)
    with pytest.raises(UsageError, match="the label 4, but the head has 4 classes .0 to 3."):
        predict(Fixed(np.zeros((2, 4))), batches([0, 4], 2), CPU, 1)
    images = open_images(DataOptions("digits"))
    everything = images.loader.batches
    monkeypatch.setattr(images.loader, "batches", lambda epoch: list(everything(epoch))[:-1])
    with pytest.raises(GluonAFFError, match="256 images were counted and 0 could not be read, of 359"):
        score(toy(Constant(10)), images, CPU)


def test_a_bad_image_is_counted_as_such(imagenet, tmp_path, capsys):
    wnids = [wnid for wnid, _ in imagenet_classes()[:3]]
    for number, wnid in enumerate(wnids):
        (tmp_path / "val" / wnid).mkdir(parents=True)
        Image.new("RGB", (8, 8), (number,) * 3).save(tmp_path / "val" / wnid / "a.JPEG")
    (tmp_path / "val" / wnids[1] / "a.JPEG").write_bytes(b"not an image")
    argv = [*imagenet, "--data", tmp_path]
    with pytest.raises(UsageError, match="`split` is not for classification: leave it out"):
        evaluate(*argv, "--split", "val")
    with pytest.raises(GluonAFFError, match=f"{wnids[1]}/a.JPEG cannot be read"):
        evaluate(*argv)
    evaluate(*argv, "--skip-bad")
    out = capsys.readouterr().out
    assert "2 of 3 counted, 1 could not be read" in out
    assert f"{wnids[1]}/a.JPEG" in out


# ---- the authors' protocol


def test_upstream_counts_what_the_authors_script_would(tmp_path):
    random = np.random.RandomState(3)
    labels, logits = random.randint(0, 8, 50), random.standard_normal((50, 8)).astype(np.float32)
    path = numbered_records(tmp_path / "val.rec", labels)
    subject = toy(Brightness(logits))
    options = DataOptions("imagenet", path, size=7, batch_size=8)
    exact = score(subject, open_images(options), CPU)
    found = score(subject, open_images(options, "upstream"), CPU, "upstream", 8, passes=9)
    wrong = logits.argmax(axis=1) != labels
    assert exact.top1 == found.top1 == 50 - wrong.sum()
    assert exact.top5 == found.top5
    assert (exact.images_run, found.images_run) == (50, 56)
    # the authors' way, with nothing of ours: pass after pass of the iterator, whatever comes is counted
    iterator = mx.io.ImageRecordIter(path_imgrec=path, batch_size=8, data_shape=(3, 7, 7), verbose=False)
    for number, row in enumerate(found.passes):
        if number:
            iterator.reset()
        errors, count = 0, 0
        for batch in iterator:
            seen = (batch.data[0].mean(axis=(1, 2, 3)).asnumpy() / 5).round().astype(int)
            errors += int((logits[seen].argmax(axis=1) != batch.label[0].asnumpy()).sum())
            count += 8
        assert (row["pass"], row["top1_errors"], row["images"]) == (number + 1, errors, count)
        assert row["top1_error"] == errors / count
    assert {row["images"] for row in found.passes} == {48, 56}


def test_another_order_of_records_is_noticed():
    found = predict(Fixed(np.eye(56, 8)), batches(list(range(8)) * 7, 8), CPU, 7)
    assert len(found) == record_passes(50, 8, 1)[0].images
    with pytest.raises(GluonAFFError, match="gave 56 images, expected 56, the last 6 of them those of the beginning"):
        pass_scores(found.take(np.r_[0:50, 1:7]), 50, 8, 3)


@pytest.mark.parametrize(
    ("identity", "batch_size", "number", "images"),
    [
        ("release_imagenet_AFF-ResNet-50_0.2028", 512, 236, 49664),
        ("release_imagenet_AFF-ResNeXt-50_0.2028", 512, 232, 50176),
        ("release_imagenet_iAFF-ResNet-50_0.2022", 512, 239, 49664),
        ("release_imagenet_iAFF-ResNeXt-50_0.1978", 512, 239, 49664),
        ("release_imagenet_iAFF-ResNeXt-50_0.1978", 256, None, 0),
        ("paper_imagenet_resnet50_AFF_nomixup_0.2162", 256, 91, 0),  # resumed: its log begins with epoch 65
        (None, 512, None, 0),
    ],
)
def test_the_pass_that_a_published_file_was_scored_in(identity, batch_size, number, images):
    """The epoch in the file's name, the passes before it, and the images that its error is a fraction of."""
    claim = identity and Claim("", "top-1 error", 0.2, images, "imagenet", run=identity)
    assert claimed_pass(claim, batch_size) == number
    if images:
        assert record_passes(50000, 512, number)[-1].images == images == published.record(identity)["images"]


def test_passes_are_printed_below_the_figures(imagenet, tmp_path, capsys):
    argv = [*imagenet, "--data", numbered_records(tmp_path / "val.rec", range(12))]
    evaluate(*argv, "--protocol", "upstream", "--batch-size", 5, "--passes", 4)
    out = capsys.readouterr().out
    assert "upstream: 15 images in 3 batches, 12 different ones" in out
    assert "the official set has 50,000 images, this one 12" in out
    rows = [line.split() for line in out.splitlines() if line[:1].isdigit()]
    assert [row[1:4] for row in rows[:4]] == [["0", "3", "15"], ["3", "2", "10"], ["1", "3", "15"], ["4", "2", "10"]]
    exact = evaluate_json(capsys, *argv)
    assert (exact["protocol"], exact["images"], exact["passes"]) == ("exact", 12, [])


# ---- whose classes


def folders(place, names):
    for split in ("train", "test"):
        for name in names:
            (place / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(place / split / name / "0.png")
    return str(place)


def scored(place, net, data):
    return score(toy(net, data=data), open_images(DataOptions("folder", place, batch_size=1)), CPU)


def test_other_classes_are_refused(tmp_path):
    own, other = (folders(tmp_path / names, names) for names in ("0123456789", "ab"))
    for data in ({"dataset": "digits"}, {"dataset": "folder", "data": own}):
        net = Constant(10)
        told = r"the data have the classes a, b, the network .* 0, 1, 2, 3, 4, \.\.\. \(10"
        with pytest.raises(UsageError, match=told):
            scored(other, net, data)
        assert net.seen == 1  # nothing is scored after a refusal
        assert scored(own, net, data).notes == []


WNIDS = [wnid for wnid, _ in imagenet_classes()]


@pytest.mark.parametrize(
    ("knows", "outputs", "names", "labels", "said"),
    [
        ("abc", 3, "bc", [1, 2], "images are matched by the names"),
        ("abc", 3, "bcd", [1, 2], "images are matched by the names; those of d are left out"),
        ("cba", 3, "abc", [2, 1, 0], "images are matched by the names"),
        ("0123456789", 10, "78", [7, 8], "images are matched by the names"),
        (None, 12, ["7", "10"], [7, 10], "the network has 12 outputs: the names are taken for its class numbers"),
        (WNIDS, 1000, ["7", "10"], [10, 7], "the names are taken for its class numbers"),
        (WNIDS[4:7], 3, WNIDS[5:8], [1, 2], f"the names; those of {imagenet_classes()[7][1]} are left out"),
        (WNIDS, 1000, WNIDS[5:8], [5, 6, 7], None),
    ],
)
def test_classes_are_matched_by_their_names(tmp_path, knows, outputs, names, labels, said):
    """Whatever their order and number; what the network has not is refused, or left out."""
    place = folders(tmp_path, names)
    data = {} if knows is None else {"dataset": "folder", "classes": list(knows)}
    options = DataOptions("imagenet" if knows and knows[-1] in WNIDS else "folder", f"{place}/test", batch_size=2)
    if options.dataset == "folder":
        options.data = place
    network = toy(Constant(outputs), data=data)
    if said and said.endswith("left out"):
        with pytest.raises(UsageError, match=r"lacks 1 of the former \(.*\): `skip_unknown` leaves their images out"):
            score(network, open_images(options), CPU)
    found = score(network, open_images(options), CPU, skip_unknown=True)
    assert found.predictions.labels.tolist() == labels
    assert found.left_out == len(names) - len(labels)
    assert [note.endswith(said) for note in found.notes] == [True] * bool(said)
    rows = found.class_rows()
    if knows and knows != WNIDS:
        assert [row["name"] for row in rows] == [knows[label] for label in sorted(labels)]
    counted = "every image once, {} of {} counted{}".format(
        len(labels), len(names), ", 1 of classes unknown to the network left out" * found.left_out
    )
    assert any(counted in line for line in ClassificationReport(found, {}).lines())


@pytest.mark.parametrize(
    ("names", "outputs", "data", "note"),
    [
        ("abcdefghij", 10, {"dataset": "digits"}, "labels are compared by their numbers"),
        ("ab", 10, {}, "the network has 10 outputs, the data 2 classes (a, b)"),
        ("ab", 10, {"dataset": "folder", "data": "/gone"}, "the network has 10 outputs, the data 2 classes (a, b)"),
        ("ab", 2, {}, None),
        ("ab", 2, {"dataset": "folder", "data": "/gone"}, None),
    ],
)
def test_classes_that_may_be_others_are_scored_with_a_note(tmp_path, names, outputs, data, note):
    found = scored(folders(tmp_path, names), Constant(outputs), data)
    assert len(found.predictions) == len(names) and len(found.notes) == (note is not None)
    for each in found.notes:
        report = ClassificationReport(found, {})
        assert each.endswith(note) and report.to_json()["notes"] == [each] and f"note       {each}" in report.lines()


def test_labels_come_from_the_weights_or_the_user(tmp_path, own_mxnet_home, capsys):
    """A published id of coarse labels, its file made by us, on a made-up CIFAR-100."""
    identity = "release_cifar100_AFF-ResNet-32_super_0.9078"
    path = published.place_of(identity)
    path.parent.mkdir(parents=True)
    published.build(identity).save_parameters(str(path))
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    random = np.random.RandomState(0)
    fine = random.randint(20, 100, 6)
    content = np.column_stack([fine % 20, fine, random.randint(0, 256, (6, 3072))]).astype(np.uint8).tobytes()
    for split in ("train", "test"):
        (folder / f"{split}.bin").write_bytes(content)
    for kind, count in (("coarse", 20), ("fine", 100)):
        (folder / f"{kind}_label_names.txt").write_text("".join(f"{kind}{i}\n" for i in range(count)))
    with pytest.warns(UserWarning, match="loading it all the same"):
        found = evaluate_json(capsys, "--weights", identity, "--data-dir", tmp_path, "--labels", "super")
    with pytest.warns(UserWarning), pytest.raises(
        UsageError, match="on 100 outputs: .* leave `labels` out, or say coarse"
    ):
        evaluate_json(capsys, "--weights", identity, "--data", tmp_path, "--labels", "fine")
    assert (found["dataset"], found["labels"], found["images"]) == ("cifar100", "coarse", 6)
    assert sorted(row["name"] for row in found["per_class"]) == sorted({f"coarse{label % 20}" for label in fine})
    assert found["claim"] is None  # six images are not the test split that 0.9078 is of
    found = evaluate_json(capsys, "--weights", path, "--dataset", "cifar100", "--data", tmp_path, "--labels", "fine")
    assert sorted(row["name"] for row in found["per_class"]) == sorted({f"fine{label}" for label in fine})


@pytest.mark.parametrize(
    ("dataset", "labels", "images", "held"),
    [
        ("cifar100", "coarse", 10000, True),
        ("cifar100", "fine", 10000, False),
        ("cifar100", "coarse", 9999, False),
        ("cifar10", "coarse", 10000, False),
    ],
)
def test_the_claim_is_held_against_the_whole_set_only(dataset, labels, images, held):
    claim = Claim("published", "accuracy", 0.9, 10000, "cifar100", "coarse", run="x")
    subject = toy(None, claim=claim)
    found = open_images(DataOptions("digits"))
    found.dataset, found.labels, found.count = dataset, labels, images
    assert (Score(subject, found, "exact", None, 1.0, images, [], []).claim() is claim) == held


# ---- the command


def test_a_file_is_recognised_scored_and_written(weights, tmp_path, capsys):
    evaluate("--weights", weights, "--dataset", "digits", "--out", tmp_path / "out")
    assert "exact: every image once, 359 of 359 counted" in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert found["images"] == found["images_expected"] == 359
    assert found["network"].startswith("cifar_aff_resnet8")
    assert found["top1"] == found["top1_images"] / 359
    assert found["top1_interval"][0] < found["top1"] < found["top1_interval"][1]
    for name, total in (("images", 359), ("top1", found["top1_images"]), ("top5", found["top5_images"])):
        assert sum(row[name] for row in found["per_class"]) == total
    assert found["environment"]["devices"] == ["cpu(0)"]
    with open(tmp_path / "out" / "per_class.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["class"] for row in rows] == list("0123456789")
    confusion = np.loadtxt(tmp_path / "out" / "confusion.csv", delimiter=",", skiprows=1)[:, 1:]
    assert confusion.shape == (10, 11)
    assert confusion.sum() == 359
    assert [int(row["top1"]) for row in rows] == confusion.diagonal().tolist()
    assert found["top1_images"] == confusion.trace()
    with Image.open(tmp_path / "out" / "confusion.png") as picture:
        assert len(picture.convert("L").getcolors(1 << 16)) > 10
    named = evaluate_json(
        capsys, "--weights", weights, "--model", "cifar_aff_resnet8", "--classes", 10, "--channel-times", 1,
        "--dataset", "digits", "--batch-size", 50,
    )  # fmt: skip
    for report in (found, named):
        for name in ("seconds", "images_per_second", "environment", "network"):
            report.pop(name)
    assert named == found


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ("", "no data set is known for these weights: give --dataset"),
        ("--dataset digits --classes 10", "--classes describes a network: say which with --model"),
        ("--dataset digits --protocol upstream", "record iterator was for ImageNet only"),
        ("--dataset digits --skip-bad", "`skip_bad` is for ImageNet"),
        ("--dataset digits --normalisation folder", "`normalisation` is for ImageNet"),
        ("--dataset imagenet", "ImageNet needs its place: `data`"),
        ("--dataset digits --model cifar_aff_resnet14", "does not fit"),
        ("--dataset digits --labels coarse", "only cifar100 has coarse labels"),
        ("--weights nothing.params", "neither a file nor an id"),
        ("--weights release_cifar100_AFF-ResNet-32_fine_0.8357", "gluon-aff published fetch"),
        ("--weights .", "neither a run with a checkpoint nor a checkpoint"),
    ],
)
def test_weights_and_options_that_cannot_be_used(weights, argv, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GluonAFFError if argv.startswith("--weights") else UsageError, match=told):
        evaluate("--weights", weights, *argv.split())


def test_the_classes_of_imagenet():
    wnids, names = zip(*imagenet_classes())
    assert len(wnids) == 1000 and list(wnids) == sorted(set(wnids))
    assert (names[0], names[1], names[999]) == ("tench", "goldfish", "toilet tissue")
