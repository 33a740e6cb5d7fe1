"""Distillation's loss against its formula in NumPy, and its targets."""

import mxnet as mx
import numpy as np
import pytest

from gluon_aff.errors import UsageError
from gluon_aff.training import Targets, hits
from gluon_aff.training.targets import Distillation


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


def test_the_metric_sees_the_labels(teacher):
    distillation = Distillation(Targets(3), teacher)
    ((_, target),) = distillation([mx.nd.ones((2, 4))], [mx.nd.array([0, 1])], 0, 0)
    found, count = hits(mx.nd.array([[9, 0, 0], [9, 0, 0]]), distillation.hard(target))
    assert (float(found.asscalar()), count) == (1.0, 2)


def test_the_teacher_gets_no_gradient(teacher):
    distillation = Distillation(Targets(3), teacher)
    before = teacher.weight.data().asnumpy()
    ((data, target),) = distillation([mx.nd.ones((2, 4))], [mx.nd.array([0, 1])], 0, 0)
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
