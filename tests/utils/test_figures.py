"""Figures are drawn without a display, whatever backend the environment asks for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import gluon_aff

ROOT = Path(gluon_aff.__file__).resolve().parents[1]
DRAW = """
import os, sys
from gluon_aff.utils.figures import new_figure, write_figure
figure = new_figure(1, 1)
figure.subplots().plot([1, 2])
write_figure(figure, sys.argv[1])
assert "matplotlib.pyplot" not in sys.modules
print(os.environ["MPLBACKEND"], type(figure.canvas).__name__)
"""


@pytest.mark.parametrize("backend", ["module://ipykernel.pylab.backend_inline", "no_such_backend", "qtagg"])
def test_the_backend_does_not_matter(tmp_path, backend):
    path = tmp_path / "figure.png"
    done = subprocess.run(
        [sys.executable, "-c", DRAW, str(path)],
        cwd=ROOT,
        env={**os.environ, "MPLBACKEND": backend},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [backend, "FigureCanvasAgg"]
    assert path.read_bytes()[:4] == b"\x89PNG"
