"""The command line's exit codes and what it prints."""

import json
import re

import pytest

from gluon_aff.cli import main as cli
from gluon_aff.utils import console


def run(capsys, *argv):
    code = console.run(cli.main, list(argv))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_models_lists_figures_and_published_weights(capsys):
    code, out, _ = run(capsys, "models", "cifar_aff_resnet32*", "--json")
    records = {record["name"]: record for record in json.loads(out)}
    assert code == 0
    assert records["cifar_aff_resnet32"]["trained_parameters"] == 7_897_156
    assert len(records["cifar_aff_resnet32"]["published"]) == 2
    assert set(records) == {"cifar_aff_resnet32", "cifar_aff_resnet32.paper"}


def test_models_refuses_a_wrong_place_before_it_counts(capsys, tmp_path, monkeypatch):
    from gluon_aff.cli import networks

    monkeypatch.setattr(networks, "_counted", lambda pattern: pytest.fail("it began to count"))
    code, _, err = run(capsys, "models", "--count", str(tmp_path))
    assert (code, err) == (1, f"error: cannot write {tmp_path}: Is a directory\n")


@pytest.mark.parametrize(
    ("line", "printed"),
    [
        ("models iaff_resnext50*", r"\A.*\n.*\niaff_resnext50_32x4d .*\niaff_resnext50_32x4d\.paper .*\n\Z"),
        (
            "summary cifar_resnet --fusion ASKCFuse --blocks 1 --channel-times 1",
            "features.4.0.attention.global_att.5",
        ),
        ("fusions", "^iaff.*ResGlobLocaforGlobLocaCha"),
    ],
)
def test_tables(capsys, line, printed):
    code, out, _ = run(capsys, *line.split())
    assert code == 0 and re.search(printed, out, re.MULTILINE)


@pytest.mark.parametrize(
    "argv, message",
    [
        (["summary", "cifar_aff_resnet23"], "did you mean cifar_aff_resnet32, "),
        (["summary", "aff_resnet50", "--blocks", "3"], "has no option blocks"),
        (["summary", "cifar_resnet", "--fusion", "afff"], "did you mean aff"),
        (["models", "nothing*"], "no model's name matches"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(capsys, argv, message):
    code, out, err = run(capsys, *argv)
    assert code == 2
    assert message in err
    assert err.startswith("error: ") and err.count("\n") == 1


def test_recipes_say_what_they_are_for(capsys):
    code, out, _ = run(capsys, "recipes", "--json")
    found = json.loads(out)
    assert code == 0 and {"cifar-quick", "imagenet-release", "seg-acm"} <= set(found)
    assert all(len(about) > 40 for about in found.values())
    code, out, _ = run(capsys, "recipes", "seg-*")
    assert "gluon-aff train seg --recipe acm" in out and "cifar" not in out
    assert run(capsys, "recipes", "nothing")[0] == 2
