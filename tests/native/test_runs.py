"""Runs with the operator: resumed to the bit and in the form they began in; bits do not depend on the threads."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from script_runs import assert_equal

from gluon_aff.nn import native
from gluon_aff.tasks import resuming, train
from gluon_aff.tasks.resuming import keep_form
from gluon_aff.training import LogBuffer, ranks
from gluon_aff.training.state import State

ROOT = Path(__file__).resolve().parents[2]
PASS = """
import hashlib, gluon_aff, mxnet as mx
from gluon_aff.nn import native
assert native.identity
digest = hashlib.sha256()
for name, shape in (("aff", (5, 20, 37, 9)), ("iaff", (2, 64, 8, 8)), ("aff", (1, 16, 50, 50))):
    mx.random.seed(1)
    block = gluon_aff.create_fusion(name, shape[1])
    block.initialize(mx.init.Normal(0.5))
    x, residual, head = (mx.nd.array(mx.nd.random.normal(shape=shape).asnumpy()) for _ in range(3))
    for each in (x, residual):
        each.attach_grad()
    with mx.autograd.record(train_mode=shape[0] > 1):
        out = block(x, residual)
    out.backward(head)
    arrays = [out, x.grad, residual.grad, block(x, residual)]
    arrays += [p.grad() if p.grad_req != "null" else p.data() for p in block.collect_params().values()]
    for array in arrays:
        digest.update(array.asnumpy().tobytes())
print(digest.hexdigest())
"""


def run(*command, cache_home, threads, native="1"):
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache_home), "OMP_NUM_THREADS": str(threads)}
    environment["GLUON_AFF_NATIVE"] = native
    done = subprocess.run(
        [sys.executable, *command], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_bits_do_not_depend_on_the_number_of_threads(filled_cache, own_cache):
    digests = {run("-c", PASS, cache_home=own_cache, threads=threads) for threads in (1, 2, 3)}
    assert len(digests) == 1


def test_a_run_goes_on_in_the_form_it_began_in(operator):
    lines = []
    keep_form({"native": operator.identity}, lines.append)
    assert operator.enabled and lines == []
    keep_form({"native": "another compiler's"}, lines.append)
    assert operator.enabled and "bits differ" in lines.pop()
    keep_form({}, lines.append)
    assert native.active() is None
    assert "goes on without it" in lines.pop()


class SecondRank(ranks.SingleProcess):
    """Of two; hears the header of a run that began without the operator."""

    rank, size = 1, 2

    def broadcast_object(self, value):
        return {"native": None}


def test_every_rank_goes_on_in_the_form_the_run_began_in(operator, monkeypatch, tmp_path):
    form_at_restore = []
    monkeypatch.setattr(resuming, "restore", lambda job, run: form_at_restore.append(native.enabled) or State())
    monkeypatch.setattr(train, "fit", lambda job, state, run, stop: None)
    job = SimpleNamespace(group=SecondRank(), epochs=0)
    train.train_worker(job, SimpleNamespace(save_dir=tmp_path, resume=True), LogBuffer())
    assert form_at_restore == [False]


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("native", ["0", "1"])
def test_resumed_training_is_equal_to_the_bit(filled_cache, own_cache, tmp_path, native, threads):
    settings = {"cache_home": own_cache, "threads": threads, "native": native}
    tiny = ["train_cifar.py", "--dataset", "digits", "--fusion", "aff", "--blocks", "1", "--train-images", "128"]
    tiny += ["--batch-size", "32", "--lr-mode", "step", "--warmup-epochs", "0", "--lr-decay-epoch", "1"]
    run(*tiny, "--num-epochs", "2", "--save-dir", str(tmp_path / "whole"), **settings)
    run(*tiny, "--num-epochs", "1", "--save-dir", str(tmp_path / "parts"), **settings)
    run("train_cifar.py", "--resume", str(tmp_path / "parts"), "--num-epochs", "2", **settings)
    assert_equal(tmp_path / "whole", tmp_path / "parts")
