"""What a command imports: no help and no list of stored figures waits for MXNet."""

import json

import pytest
from script_runs import in_a_process, subcommands

import gluon_aff
from gluon_aff import facts
from gluon_aff.cli.main import build_parser, main
from gluon_aff.cli.networks import _count

# Runs command lines one after the other in a process that counts as ours, and tells after which one MXNet was there.
WATCH = """
import contextlib, io, json, runpy, sys
lines = json.loads(sys.argv[1])
sys.argv = ["gluon-aff"]
from gluon_aff.cli.main import main
from gluon_aff.cli.train import script
for line in lines:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            script(line[0][6:-3], line[1:]) if line[0].startswith("train_") else main(line)
        except SystemExit as end:
            assert end.code == 0, line
    assert out.getvalue(), line
    if "mxnet" in sys.modules:
        sys.exit(f"{' '.join(line)} imports MXNet")
import numpy
assert "bool" in vars(numpy), "MXNet finds no numpy.bool"
import mxnet
"""


def test_no_help_and_no_list_imports_mxnet_and_all_is_prepared_for_it():
    lines = [[*words, "--help"] for words, _ in subcommands(build_parser())]
    lines += [["train", task, "--help"] for task in ("cifar", "imagenet", "seg")]
    lines += [[f"train_{task}.py", "--help"] for task in ("cifar", "imagenet", "seg")]
    lines += [["models"], ["published", "list"], ["published", "path", "paper_cifar100_resnet32_AFF_0.8967"]]
    assert len(lines) > 30
    done = in_a_process(WATCH, json.dumps(lines))
    assert done.returncode == 0, done.stderr


def test_stored_figures_are_of_all_models():
    assert sorted(facts.model_figures()) == gluon_aff.list_models()


SOME = sorted(facts.model_figures())[::14]  # all of them: `-m slow`


@pytest.mark.parametrize("name", SOME)
def test_stored_figures_are_right(name):
    assert facts.model_figures()[name] == _count(name)


@pytest.mark.slow
def test_all_stored_figures_are_right():
    assert {name: _count(name) for name in gluon_aff.list_models()} == facts.model_figures()


def test_count_writes_what_is_stored(tmp_path, capsys):
    assert main(["models", "cifar_aff_resnet8*", "--count", str(tmp_path / "figures.json")]) == 0
    counted = json.loads((tmp_path / "figures.json").read_text())
    assert counted == [facts.model_figures()[name] for name in ("cifar_aff_resnet8", "cifar_aff_resnet8.paper")]
