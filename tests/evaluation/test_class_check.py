"""A network is not scored on labels that mean other classes."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn
from PIL import Image

from gluon_aff.errors import UsageError
from gluon_aff.evaluation import ClassificationReport, DataOptions, TrainedNetwork, open_images, score


class Constant(nn.HybridBlock):
    """Gives zero logits."""

    def __init__(self, outputs):
        super().__init__()
        self.outputs = outputs

    def hybrid_forward(self, F, x):
        return F.zeros((x.shape[0], self.outputs))


def folders(place, names):
    for split in ("train", "test"):
        for name in names:
            (place / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(place / split / name / "0.png")
    return str(place)


def scored(place, outputs, data):
    trained = TrainedNetwork("run", None, "cifar", "toy", Constant(outputs), data=data)
    return score(trained, open_images(DataOptions("folder", place)), [mx.cpu()])


def test_other_classes_are_refused(tmp_path):
    own, other = folders(tmp_path / "own", "0123456789"), folders(tmp_path / "other", "ab")
    for data in ({"dataset": "digits"}, {"dataset": "folder", "data": own}):
        with pytest.raises(
            UsageError, match=r"the data have the classes a, b, the network .* 0, 1, 2, 3, 4, \.\.\. \(10"
        ):
            scored(other, 10, data)
        assert scored(own, 10, data).notes == []


def test_a_part_of_the_classes_is_refused(tmp_path):
    """Labels are numbers: "7" alone would be class 0."""
    with pytest.raises(UsageError, match="a label means another class"):
        scored(folders(tmp_path, "78"), 10, {"dataset": "digits"})


def test_as_many_classes_of_other_names_are_scored_with_a_note(tmp_path):
    found = scored(folders(tmp_path, "abcdefghij"), 10, {"dataset": "digits"})
    assert len(found.predictions) == 10
    (note,) = found.notes
    assert note.endswith("labels are compared by their numbers")
    assert f"note       {note}" in ClassificationReport(found, {}).lines()
    assert found.to_json()["notes"] == [note]


@pytest.mark.parametrize("data", [{}, {"dataset": "folder", "data": "/not/there/any/more"}])
def test_a_wider_head_of_unknown_classes_is_scored_with_a_note(tmp_path, data):
    place = folders(tmp_path, "ab")
    assert scored(place, 10, data).notes == ["the network has 10 outputs, the data 2 classes (a, b)"]
    assert scored(place, 2, data).notes == []


def test_nothing_is_scored_after_a_refusal(tmp_path):
    seen = []

    class Counting(Constant):
        def forward(self, x):
            seen.append(len(x))
            return mx.nd.array(np.zeros((len(x), 10)))

    trained = TrainedNetwork("run", None, "cifar", "toy", Counting(10), data={"dataset": "digits"})
    images = open_images(DataOptions("folder", folders(tmp_path, "ab"), batch_size=1))
    with pytest.raises(UsageError):
        score(trained, images, [mx.cpu()])
    assert seen == [1]
