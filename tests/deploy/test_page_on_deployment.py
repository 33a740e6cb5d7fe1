"""The three ways of docs/deploy.md, as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

import golden
import numpy as np
import pytest
from PIL import Image

import gluon_aff
from gluon_aff import deploy
from gluon_aff.data.class_names import ClassNames
from gluon_aff.data.pictures import NetworkInput

PAGE = Path(__file__).resolve().parents[2] / "docs/deploy.md"
NAMES = tuple(f"kind {number}" for number in range(10))


def example(word):
    """The page's block of Python that holds ``word``, without its indentation."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (block,) = [block for block in blocks if word in block]
    return "\n".join(line[3:] if line.startswith("   ") else line for line in block.splitlines())


@pytest.fixture
def deployed(tmp_path):
    if not PAGE.exists():
        pytest.skip("the page is not in an installed package")
    net = gluon_aff.create_model("cifar_resnet8", channel_times=1, classes=10)
    golden.fill(net, gain=1)
    pixels = np.random.RandomState(3).randint(0, 256, (50, 40, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return net, tmp_path, NetworkInput(32, classes=ClassNames(NAMES))


def run(code, cwd, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=cwd, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_onnx_runtime_and_numpy_alone(deployed):
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    net, place, seen = deployed
    deploy.export(net, place / "out", "onnx", input=seen, with_preprocessing=True, fold=True)
    code = example("onnxruntime")
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    assert "gluon_aff" not in code and "mxnet" not in code
    *name, score = run(code, place, "out", "picture.png").split()
    (found,) = gluon_aff.predict(net, str(place / "picture.png"), input=seen)
    assert " ".join(name) == found.top(1)[0][1]
    assert float(score) == pytest.approx(found.logits.max(), abs=1e-4 * np.ptp(found.logits))


def test_plain_mxnet(deployed):
    net, place, seen = deployed
    deploy.export(net, place / "deployed/symbol", input=seen, fold=True)
    lazily = f"import gluon_aff\n{example('SymbolBlock')}\nprint(logits.shape)"  # MXNet needs old NumPy, or gluon_aff
    assert run(lazily, place).strip() == "(1, 10)"


def test_features():
    if not PAGE.exists():
        pytest.skip("the page is not in an installed package")
    code = f"import gluon_aff, mxnet as mx\n{example('features_only')}\nprint(maps[-1].shape, features.channels)"
    assert run(code, None).split("\n")[0] == "(1, 2048, 7, 7) (256, 512, 1024, 2048)"
