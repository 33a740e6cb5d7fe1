"""--init-by-name: every array comes from the seed and its own name, so networks share what they have in common."""

from functools import partial

import numpy as np
import pytest

from gluon_aff.tasks import get_task, parts
from gluon_aff.tasks.parts import array_seed
from gluon_aff.zoo import create_model

HOSTS = {
    ("cifar", "resnet"): ["--dataset", "cifar10", "--blocks", "1", "--channel-times", "1"],
    ("cifar", "inception"): ["--dataset", "cifar10", "--blocks", "1"],
    ("imagenet", "resnet"): ["--num-layer", "50", "--classes", "10"],
    ("seg", "fpn"): ["--dataset", "shapes", "--blocks", "1", "--decoder", "expand"],
}
STRATEGIES = ("add", "aff", "iaff", "aff_global_global", "aff_local_local")


def arrays(host, fusion, *more):
    """Structural name -> values of a network as a run would begin with it."""
    task = get_task(host[0])
    given = ["--gpus", "", "--model", host[1], *HOSTS[host], "--fusion", fusion, "--init", "kaiming", *more]
    net = task.network(task.options([*given, "--no-init-by-name"] if not more else given))
    return {name: parameter.data().asnumpy() for name, parameter in net._collect_params_with_prefix().items()}


def unequal(one, other):
    return [name for name in sorted(set(one) & set(other)) if not np.array_equal(one[name], other[name])]


@pytest.mark.parametrize(
    "host", [pytest.param(host, marks=[pytest.mark.slow] * (host[0] == "imagenet")) for host in HOSTS], ids="-".join
)
def test_hosts_of_all_fusions_start_alike(host):
    found = {fusion: arrays(host, fusion, "--init-by-name") for fusion in STRATEGIES}
    for fusion in STRATEGIES[1:]:
        assert set(found["add"]) < set(found[fusion])  # the host's arrays are all there, and the fusion's besides
        assert not unequal(found["add"], found[fusion])


def test_without_it_hosts_differ():
    assert unequal(arrays(("cifar", "resnet"), "add"), arrays(("cifar", "resnet"), "aff"))


def test_seeds_and_names_draw_other_values_and_a_second_time_the_same():
    host = "cifar", "resnet"
    first = arrays(host, "aff", "--init-by-name")
    assert not unequal(first, arrays(host, "aff", "--init-by-name"))
    drawn = [name for name, values in first.items() if values.std() > 0]
    assert set(unequal(first, arrays(host, "aff", "--init-by-name", "--seed", "1"))) == set(drawn)
    shapes = {}
    for name in drawn:
        shapes.setdefault(first[name].shape, []).append(first[name].tobytes())
    assert any(len(values) > 1 for values in shapes.values())
    assert all(len(set(values)) == len(values) for values in shapes.values())
    assert array_seed(0, "a") != array_seed(1, "a") != array_seed(1, "b")


def test_every_array_keeps_its_own_initializer(monkeypatch):
    """Gammas are 1 or, where the network says so, 0; the others are drawn as wide as without the option."""
    monkeypatch.setattr(parts, "create_model", partial(create_model, layers=(1, 1, 1, 1)))  # one block in each stage
    host, more = ("imagenet", "resnet"), ("--last-gamma",)
    by_name, in_order = arrays(host, "aff", "--init-by-name", *more), arrays(host, "aff", *more)
    gammas = [name for name in by_name if name.endswith("gamma")]
    assert {float(by_name[name].mean()) for name in gammas} == {0.0, 1.0}
    for name, values in in_order.items():
        if values.std() == 0:
            assert np.array_equal(by_name[name], values), name
        elif values.size > 1000:
            assert by_name[name].std() == pytest.approx(values.std(), rel=0.15), name
            assert not np.array_equal(by_name[name], values)
