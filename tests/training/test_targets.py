"""Label smoothing, mixup and distillation against their formulas."""

import mxnet as mx
import numpy as np
import pytest

from gluon_aff.errors import UsageError
from gluon_aff.training import Targets, hits
from gluon_aff.training.targets import Distillation

X = np.arange(12, dtype=np.float32).reshape(3, 4)


def apply(targets, epoch=0, batch=0, devices=1):
    images = [mx.nd.array(X) + number for number in range(devices)]
    labels = [mx.nd.array([0, 1, 3]) for _ in range(devices)]
    return [(x.asnumpy(), y.asnumpy()) for x, y in targets(images, labels, epoch, batch)]


def test_hard_labels_pass_and_others_are_smoothed():
    targets = Targets(5)
    assert targets.sparse
    ((x, y),) = apply(targets)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, [0, 1, 3])
    targets = Targets(5, smoothing=True)
    assert not targets.sparse
    ((x, y),) = apply(targets)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_allclose(y[0], [0.92, 0.02, 0.02, 0.02, 0.02], rtol=1e-6)
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)


def test_mixup_mixes_each_devices_batch_and_its_smoothed_labels_with_itself_reversed():
    targets = Targets(5, mixup_alpha=1.0, epochs=10, mixup_off_epoch=2)
    lam = targets.lam(3, 4)
    for number, (x, y) in enumerate(apply(targets, 3, 4, devices=2)):
        np.testing.assert_allclose(x, lam * (X + number) + (1 - lam) * (X[::-1] + number), rtol=1e-5)
        np.testing.assert_allclose(y[0], [lam, 0, 0, 1 - lam, 0], rtol=1e-5)
        np.testing.assert_allclose(y[1], [0, 1, 0, 0, 0], rtol=1e-5)

    smoothed = Targets(5, smoothing=True, mixup_alpha=1.0, epochs=10)
    ((_, y),) = apply(smoothed, 3, 4)
    assert smoothed.lam(3, 4) == lam
    np.testing.assert_allclose(y[0], np.array([0.9 * lam, 0, 0, 0.9 * (1 - lam), 0]) + 0.02, rtol=1e-5)
    assert 0 < targets.lam(7, 0) < 1  # and it is off in the last epochs
    assert targets.lam(8, 0) == targets.lam(9, 5) == 1.0
    ((x, y),) = apply(targets, epoch=8)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y[2], [0, 0, 0, 1, 0])


def test_lambda_is_a_pure_function_of_seed_epoch_and_batch_and_follows_its_distribution():
    targets = Targets(5, mixup_alpha=1.0, epochs=10)
    values = {(epoch, batch): targets.lam(epoch, batch) for epoch in range(4) for batch in range(4)}
    assert len(set(values.values())) == 16
    again = Targets(5, mixup_alpha=1.0, epochs=99)
    assert all(again.lam(*place) == value for place, value in values.items())
    assert Targets(5, mixup_alpha=1.0, epochs=10, seed=1).lam(0, 0) != values[0, 0]
    for alpha in (0.2, 1.0):  # Beta(α, α): mean 1/2, variance 1 / (4 (2α + 1)); α 1 is uniform
        targets = Targets(5, mixup_alpha=alpha, epochs=10)
        draws = np.array([targets.lam(0, batch) for batch in range(2000)])
        assert draws.mean() == pytest.approx(0.5, abs=0.03)
        assert draws.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.fixture
def teacher():
    net = mx.gluon.nn.Dense(3, in_units=4)
    net.initialize(mx.init.Normal(1.0))
    return net


@pytest.mark.parametrize("options", [{}, {"smoothing": True, "mixup_alpha": 0.2, "epochs": 2}])
def test_loss_is_the_formula(teacher, options):
    random = np.random.RandomState(0)
    x, output = random.randn(6, 4).astype("float32"), random.randn(6, 3).astype("float32")
    labels = mx.nd.array([0, 1, 2, 2, 1, 0])
    targets = Targets(3, **options)
    distillation = Distillation(targets, teacher, temperature=4.0, hard_weight=0.3)
    ((data, target),) = distillation([mx.nd.array(x)], [labels], 0, 5)
    ((mixed, hard),) = targets([mx.nd.array(x)], [labels], 0, 5)
    hard = np.eye(3)[labels.asnumpy().astype(int)] if hard.ndim == 1 else hard.asnumpy()
    np.testing.assert_array_equal(data.asnumpy(), mixed.asnumpy())
    p, q = softmax(teacher(data).asnumpy() / 4), softmax(output / 4)
    expected = -0.3 * (hard * np.log(softmax(output))).sum(axis=1) + 0.7 * 16 * (p * np.log(p / q)).sum(axis=1)
    np.testing.assert_allclose(distillation.loss(mx.nd.array(output), target).asnumpy(), expected, rtol=1e-4)
    np.testing.assert_allclose(distillation.hard(target).asnumpy(), hard, rtol=1e-6)


def test_an_agreeing_student_learns_from_labels_alone(teacher):
    distillation = Distillation(Targets(3), teacher, hard_weight=0.0)
    ((data, target),) = distillation([mx.nd.ones((2, 4))], [mx.nd.array([0, 1])], 0, 0)
    output = teacher(data)
    output.attach_grad()
    with mx.autograd.record():
        loss = distillation.loss(output, target)
    loss.backward()
    np.testing.assert_allclose(loss.asnumpy(), 0, atol=1e-3)  # T² = 400 times float32's rounding
    np.testing.assert_allclose(output.grad.asnumpy(), 0, atol=1e-4)


def test_the_metric_sees_the_labels_and_the_teacher_gets_no_gradient(teacher):
    distillation = Distillation(Targets(3), teacher)
    before = teacher.weight.data().asnumpy()
    ((data, target),) = distillation([mx.nd.ones((2, 4))], [mx.nd.array([0, 1])], 0, 0)
    found, count = hits(mx.nd.array([[9, 0, 0], [9, 0, 0]]), distillation.hard(target))
    assert (float(found.asscalar()), count) == (1.0, 2)
    student = mx.gluon.nn.Dense(3, in_units=4)
    student.initialize()
    with mx.autograd.record():
        loss = distillation.loss(student(data), target)
    loss.backward()
    assert student.weight.grad().asnumpy().any() and not teacher.weight.grad().asnumpy().any()
    np.testing.assert_array_equal(teacher.weight.data().asnumpy(), before)


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"hard_weight": 1.5}])
def test_settings_out_of_range(teacher, settings):
    with pytest.raises(UsageError, match="expected above 0, and 0 to 1"):
        Distillation(Targets(3), teacher, **settings)
    for classes, alpha in ((0, 0.0), (5, -1.0)):
        with pytest.raises(UsageError):
            Targets(classes, mixup_alpha=alpha)
