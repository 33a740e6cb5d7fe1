"""The operator under the address and the undefined behaviour sanitizer."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gluon_aff.nn import native

ROOT = Path(__file__).resolve().parents[2]
PASSES = """
import sys, mxnet as mx
import gluon_aff
from gluon_aff.nn.native import building, loading
from gluon_aff.nn import native
from pathlib import Path
loading.load(Path(sys.argv[1]))
native.identity = "sanitized"
for name in ("aff", "iaff", "ms_gau", "ms_se"):
    for shape in ((2, 16, 8, 8), (3, 20, 7, 9), (2, 6, 37, 41), (1, 300, 5, 5)):
        block = gluon_aff.create_fusion(name, shape[1])
        block.initialize()
        x, residual = (mx.nd.random.normal(shape=shape) for _ in range(2))
        x.attach_grad()
        with mx.autograd.record(train_mode=shape[0] > 1):
            out = block(x, residual)
        out.backward()
        mx.nd.waitall()
        block(x, residual).wait_to_read()
print("clean")
"""


@pytest.mark.slow
def test_no_access_out_of_bounds_and_no_undefined_behaviour(tmp_path):
    compiler = native.compiler()
    if compiler is None:
        pytest.skip("no C++ compiler")
    extra = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-shared-libasan"]
    if "clang" not in compiler:
        extra.pop()
    library, _ = native.building._compile(compiler, tmp_path, extra)
    runtimes = [
        subprocess.run([compiler, f"-print-file-name=lib{name}.so"], capture_output=True, text=True).stdout.strip()
        for name in ("asan", "ubsan", "stdc++")
    ]
    environment = {
        **os.environ,
        "GLUON_AFF_NATIVE": "0",
        "OMP_NUM_THREADS": "2",
        "LD_PRELOAD": ":".join(runtimes),
        "ASAN_OPTIONS": "detect_leaks=0",
    }
    done = subprocess.run(
        [sys.executable, "-c", PASSES, str(library)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "clean"
    assert "runtime error" not in done.stderr
