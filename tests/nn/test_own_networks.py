"""The code of docs/networks.md gives the shapes it states."""

import ast
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "networks.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="only in a clone")
TEXT = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
EXAMPLES = [code for code in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL) if "fused" in code]


def test_the_shapes_that_are_stated():
    names, stated = {}, []
    for example in EXAMPLES:
        for statement in ast.parse(example).body:
            exec(compile(ast.Module([statement], []), str(PAGE), "exec"), names)
            shape = re.search(r"# \(([\d, ]+)\)$", example.splitlines()[statement.end_lineno - 1])
            if shape:
                stated.append(shape[1])
                assert names["fused"].shape == tuple(map(int, shape[1].split(",")))
    assert len(stated) == 3
