"""Training metrics and validation, against NumPy."""

import mxnet as mx
import numpy as np
import pytest

from gluon_aff.training import Diverged, State, Stop, accuracy, hits, soft_rmse
from gluon_aff.training.metrics import Tally
from gluon_aff.training.state import split_batch

LOGITS = np.random.RandomState(0).randn(6, 7).astype(np.float32)
LABELS = np.array([3, 1, 0, 6, 2, 2])


def test_hits_counts_right_answers_of_hard_and_of_smoothed_labels():
    labels = mx.nd.array(LABELS)
    for target in (labels, mx.nd.one_hot(labels, 7, 0.9, 0.02)):
        found, count = hits(mx.nd.array(LOGITS), target)
        assert (float(found.asscalar()), count) == ((LOGITS.argmax(1) == LABELS).sum(), 6)


def test_soft_rmse_is_the_authors_metric():
    target = np.random.RandomState(1).dirichlet(np.ones(7), 6).astype(np.float32)
    softmax = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
    value, count = soft_rmse(mx.nd.array(LOGITS), mx.nd.array(target))
    assert count == 1
    assert float(value.asscalar()) == pytest.approx(np.sqrt(np.square(target - softmax).mean()), rel=1e-5)


class Loader:
    """Batches of 3, 2 and 1 images, which are the logits of a network that hands its input on."""

    def __len__(self):
        return 3

    def batches(self, epoch):
        return ((LOGITS[start:end], LABELS[start:end]) for start, end in ((0, 3), (3, 5), (5, 6)))


NET = mx.gluon.nn.Lambda(lambda x: x)


@pytest.mark.parametrize("devices", [1, 2, 3])
def test_accuracy_counts_every_image_once(devices):
    score = accuracy(NET, Loader(), 6, [mx.cpu(number) for number in range(devices)])
    order = np.argsort(-LOGITS, axis=1)
    assert score["val"] == pytest.approx((order[:, 0] == LABELS).mean())
    assert score["val_top5"] == pytest.approx((order[:, :5] == LABELS[:, None]).any(1).mean())
    assert score["val_images"] == 6


def test_fewer_classes_have_no_top5_and_a_stop_is_no_score():
    loader = Loader()
    loader.batches = lambda epoch: iter([(LOGITS[:, :3], LABELS % 3)])
    assert accuracy(NET, loader, 6, [mx.cpu()]).keys() == {"val", "val_images"}
    stop = Stop()
    stop.request()
    assert accuracy(NET, Loader(), 6, [mx.cpu()], stop) is None


def test_split_batch_keeps_every_image():
    x, y = split_batch(LOGITS, LABELS, [mx.cpu(0), mx.cpu(1), mx.cpu(2), mx.cpu(3)])
    assert [len(part) for part in x] == [len(part) for part in y]
    np.testing.assert_array_equal(np.concatenate([part.asnumpy() for part in x]), LOGITS)
    assert [part.context.device_id for part in x] == [0, 1, 2, 3]


def test_tally_adds_up_and_names_the_batch_at_fault():
    state = State()
    tally = Tally(state)
    tally.add("first", [mx.nd.array([1, 2]), mx.nd.array([3])], [(mx.nd.array([2]), 2), (mx.nd.array([0]), 1)])
    tally.finish()
    assert (state.images, state.loss_sum, state.metric_sum, state.metric_count) == (3, 6.0, 2.0, 3)
    assert tally.loss == 2.0
    tally.add("second", [mx.nd.array([np.inf, 0])], [])
    with pytest.raises(Diverged, match="inf at second"):
        tally.add("third", [mx.nd.array([np.nan])], [])
