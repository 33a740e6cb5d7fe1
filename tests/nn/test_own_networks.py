"""The code of docs/networks.md runs as it stands, gives the shapes it states, and its blocks can be trained."""

import ast
import re
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "networks.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="only in a clone")
TEXT = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
EXAMPLES = [code for code in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL) if "fused" in code]


@pytest.fixture(scope="module")
def page():
    """What the page's code defines, and the results of the lines that state a shape: [(stated, found)]."""
    names, shapes = {}, []
    for example in EXAMPLES:
        for statement in ast.parse(example).body:
            exec(compile(ast.Module([statement], []), str(PAGE), "exec"), names)
            stated = re.search(r"# \(([\d, ]+)\)$", example.splitlines()[statement.end_lineno - 1])
            if stated:
                shapes.append((tuple(map(int, stated[1].split(","))), names["fused"].shape))
    return names, shapes


def test_the_shapes_that_are_stated(page):
    assert len(page[1]) == 4
    for stated, found in page[1]:
        assert stated == found


@pytest.mark.parametrize("fusion", ["aff", "concat"])
@pytest.mark.parametrize("make, channels", [("TopDown", (8, 12)), ("UpBlock", (12, 8))])
def test_the_blocks_hybridize_and_train(page, make, channels, fusion):
    block = page[0][make](*channels, fusion)
    block.initialize()
    high, low = mx.nd.random.normal(shape=(3, 12, 4, 5)), mx.nd.random.normal(shape=(3, 8, 7, 10))
    imperative = block(high, low).asnumpy()
    block.hybridize()
    np.testing.assert_allclose(block(high, low).asnumpy(), imperative, rtol=0, atol=1e-5)
    parameters = block._collect_params_with_prefix()
    before = {name: parameter.data().asnumpy() for name, parameter in parameters.items()}
    trainer = mx.gluon.Trainer(block.collect_params(), "sgd", {"learning_rate": 0.1})
    with mx.autograd.record():
        loss = (block(high, low) ** 2).sum()
    loss.backward()
    trainer.step(3)
    for name, parameter in parameters.items():
        changed = not np.array_equal(parameter.data().asnumpy(), before[name])
        assert changed or name.endswith("bias"), name  # a norm takes the biases before it out again
