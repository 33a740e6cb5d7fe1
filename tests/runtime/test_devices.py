import ctypes
from types import SimpleNamespace

import mxnet as mx
import pytest

from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.runtime import cuda, devices

T4, RTX_4090, H100, K80 = (7, 5), (8, 9), (9, 0), (3, 7)


@pytest.fixture
def gpus(monkeypatch):
    """Call it with compute capabilities to have such GPUs."""

    def install(*capabilities):
        monkeypatch.setattr(mx.context, "num_gpus", lambda: len(capabilities))
        monkeypatch.setattr(cuda, "capabilities", lambda: list(capabilities))

    return install


def test_without_a_gpu_for_mxnet_it_is_the_cpu_and_who_asked_for_one_or_has_one_is_told(gpus, monkeypatch, capsys):
    gpus()
    assert devices.pick(None) == [mx.cpu()]
    assert capsys.readouterr().err == ""
    assert devices.pick("0,1,2,3") == [mx.cpu()]
    assert capsys.readouterr().err.endswith("running on the CPU\n")
    monkeypatch.setattr(cuda, "capabilities", lambda: [T4])
    monkeypatch.setattr(mx.runtime.Features, "is_enabled", lambda features, name: False)
    assert devices.pick(None) == [mx.cpu()]
    assert capsys.readouterr().err == "this MXNet is built without CUDA: running on the CPU\n"


def test_listed_gpus_in_their_order_and_an_empty_list_is_the_cpu_without_a_word(gpus, capsys):
    gpus(T4, T4, RTX_4090)
    assert devices.pick("") == devices.pick(" ") == [mx.cpu()]
    assert capsys.readouterr().err == ""
    assert devices.pick("2, 0") == [mx.gpu(2), mx.gpu(0)]
    assert devices.pick(None) == [mx.gpu(0)]


@pytest.mark.parametrize("text", ["0,0", "a", "0,,1", "-1", "0;1", "1.5"])
def test_malformed_lists_and_unknown_gpus(gpus, text):
    for there in ((), (T4, T4)):
        gpus(*there)
        with pytest.raises(UsageError, match="expected distinct GPU numbers"):
            devices.pick(text)
    with pytest.raises(UsageError, match="--gpus 0,2: no GPU 2 here, GPUs 0 to 1 are available"):
        devices.pick("0,2")


@pytest.mark.parametrize("capability, words", [(H100, "sm_90, newer than"), (K80, "sm_37, older than")])
def test_gpu_that_the_code_cannot_run_on(gpus, capability, words):
    gpus(T4, capability)
    assert devices.pick("0") == [mx.gpu(0)]
    with pytest.raises(GluonAFFError, match=f"GPU 1 cannot be used: it is {words}"):
        devices.pick("0,1")


def test_driver_that_does_not_answer(monkeypatch):
    def num_gpus():
        raise mx.MXNetError("Traceback:\n  CUDA: driver version is insufficient")

    monkeypatch.setattr(mx.context, "num_gpus", num_gpus)
    with pytest.raises(GluonAFFError, match="cannot talk to the NVIDIA driver: CUDA: driver version is insufficient"):
        devices.pick("0")


def test_capabilities_come_from_the_driver(monkeypatch):
    """Through the calls of libcuda that are used, for two GPUs."""

    def give(place, value):
        place._obj.value = value
        return 0

    driver = SimpleNamespace(
        cuInit=lambda flags: 0,
        cuDeviceGetCount=lambda count: give(count, 2),
        cuDeviceGet=give,
        cuDeviceGetAttribute=lambda value, attribute, device: give(
            value, {75: (7, 9)[device.value], 76: device.value}[attribute]
        ),
    )
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    assert cuda.capabilities() == [(7, 0), (9, 1)]
    driver.cuInit = lambda flags: 100  # CUDA_ERROR_NO_DEVICE
    assert cuda.capabilities() == []

    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert cuda.capabilities() == []
