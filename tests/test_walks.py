"""docs/index.md and the walks of docs/walks.md, done step by step as a reader would: in an empty folder, in order."""

import os
import re
import shlex
import subprocess
import sys
from importlib import util
from pathlib import Path

import pytest
from PIL import Image

import gluon_aff

ROOT = Path(gluon_aff.__file__).resolve().parents[1]
WALKS, INDEX = ROOT / "docs" / "walks.md", ROOT / "docs" / "index.md"

pytestmark = pytest.mark.skipif(not WALKS.is_file(), reason="only in a clone")

#: What each section leaves, besides exit codes of 0.
LEFT = {
    "With photos of your own": ["runs/photos/best/model.params", "where.png"],
    "From the authors' repository": ["runs/mine/best/model.params", "compare.png"],
    "With binary masks of your own": ["runs/discs/best/model.params", "report", "masks", "discs.png"],
}


def steps(text):
    """(language, block) of the fenced blocks that a reader types."""
    return [(kind, block) for kind, block in re.findall(r"^```(\w+)\n(.*?)^```", text, re.M | re.S) if block.strip()]


def section(title):
    return re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", WALKS.read_text(encoding="utf-8"), re.M | re.S)[1]


def program(words):
    """A command of the page for this interpreter and this clone."""
    if words[0] == "gluon-aff":
        return [sys.executable, "-m", "gluon_aff", *words[1:]]
    assert words[0] == "python", words
    return [sys.executable, str(ROOT / words[1]), *words[2:]]


def walk(text, folder):
    """Take every step; what the commands printed, by command."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    printed = {}
    for language, block in steps(text):
        lines = [[sys.executable, "-c", block]] if language == "python" else []
        lines += [program(shlex.split(line)) for line in block.splitlines()] if language == "sh" else []
        for words in lines:
            if "onnx" in words and not util.find_spec("onnx"):  # an extra
                continue
            done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
            assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}{done.stderr}"
            assert "CUDA" not in done.stderr
            if language == "sh":
                printed[shlex.join(words[2:])] = done.stdout
    return printed


@pytest.mark.slow
@pytest.mark.parametrize("title", LEFT)
def test_a_walk(title, tmp_path):
    printed = walk(section(title), tmp_path)
    assert all((tmp_path / name).exists() for name in LEFT[title])
    assert [command for command, text in printed.items() if not text.strip()] == []
    for picture in tmp_path.glob("*.png"):
        with Image.open(picture) as image:
            assert min(image.size) > 100


@pytest.mark.slow
def test_five_minutes(tmp_path):
    printed = walk(INDEX.read_text(encoding="utf-8"), tmp_path)
    (line,) = [line for text in printed.values() for line in text.splitlines() if line.startswith("best accuracy")]
    assert float(line.split()[2]) > 0.95
    for name in ("gradcam.png", "attention.png"):
        assert (tmp_path / name).stat().st_size > 10_000


def test_every_walk_has_steps_and_every_step_is_known():
    for title in LEFT:
        kinds = [kind for kind, _ in steps(section(title))]
        assert {"sh", "python"} == set(kinds) and len(kinds) >= 2
        for kind, block in steps(section(title)):
            assert kind == "python" or all(program(shlex.split(line)) for line in block.splitlines())


def test_the_drawing_is_made_by_its_script(tmp_path):
    source = ROOT / "docs" / "images" / "draw_fusions.py"
    spec = util.spec_from_file_location("draw_fusions", source)
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.draw(tmp_path / "fusions.png")
    with Image.open(tmp_path / "fusions.png") as made, Image.open(source.with_name("fusions.png")) as kept:
        assert made.size == kept.size
        assert made.convert("L").resize((64, 36)).histogram() != [64 * 36 if i == 255 else 0 for i in range(256)]
