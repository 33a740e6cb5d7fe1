"""Command lines, recipes and configuration files: what wins, and what is refused."""

import pytest

from gluon_aff.errors import UsageError
from gluon_aff.tasks import get_task
from gluon_aff.tasks import options as groups
from gluon_aff.tasks.config import check_same, list_recipes, read_recipe, read_yaml, without
from gluon_aff.tasks.options import OptionParser, Role, Switch
from gluon_aff.training import Run
from gluon_aff.utils.arguments import number


@pytest.fixture
def parser():
    parser = OptionParser()
    parser.add_argument("--blocks", type=number(int, 1), default=1)
    parser.add_argument("--lr", type=number(float, above=True), default=0.2)
    parser.add_argument("--mixup", action=Switch, off=("--no-mixup",))
    parser.add_argument("--mode", choices=("a", "b"), default="a")
    parser.add_argument("--classes", type=number(int, 1))
    return parser


def test_given_are_only_those_on_the_command_line(parser):
    assert parser.given([]) == {}
    assert parser.given(["--blocks", "1", "--no-mixup"]) == {"blocks": 1, "mixup": False}
    assert parser.given(["--mixup", "--no-mixup", "--mixup"]) == {"mixup": True}
    assert parser.defaults() == {"blocks": 1, "lr": 0.2, "mixup": False, "mode": "a", "classes": None}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--blocks", "0"], "'0' is not a whole number of at least 1"),
        (["--blocks", "1.5"], "'1.5' is not a whole number"),
        (["--lr", "0"], "'0' is not a number above 0"),
        (["--lr", "nan"], "'nan' is not a number above 0"),
        (["--lr", "inf"], "'inf' is not a number above 0"),
        (["--mode", "c"], "invalid choice"),
        (["--bolcks", "2"], r"unrecognized arguments: --bolcks 2 \(did you mean --blocks\?\)"),
        (["--bloc", "2"], "unrecognized arguments"),
    ],
)
def test_wrong_command_lines_are_usage_errors(parser, argv, message):
    with pytest.raises(UsageError, match=message):
        parser.given(argv)


def test_values_of_files_are_held_to_the_same_rules(parser):
    values = {"blocks": "3", "lr": "1e-1", "mixup": True, "mode": "b", "classes": None}
    assert parser.checked(values, "f.yaml") == {"blocks": 3, "lr": 0.1, "mixup": True, "mode": "b", "classes": None}
    for wrong, message in [
        ({"block": 3}, "f.yaml: 'block' is not an option; did you mean blocks?"),
        ({"blocks": 0}, "f.yaml: blocks: '0' is not a whole number"),
        ({"mixup": "yes"}, "f.yaml: mixup is 'yes': expected true or false"),
        ({"mode": "c"}, "f.yaml: mode: invalid choice"),
        ({"blocks": None}, "f.yaml: blocks: 'None' is not"),
        (["blocks"], "f.yaml is not a list of 'option: value' lines"),
    ]:
        with pytest.raises(UsageError) as caught:
            parser.checked(wrong, "f.yaml")
        assert str(caught.value).startswith(message)


def every_group():
    parser = OptionParser()
    groups.data_options(parser, ("cifar10", "cifar100", "digits", "folder"), "cifar100")
    groups.model_options(parser, ("resnet", "resnext", "inception"))
    groups.optimisation_options(parser)
    groups.mixing_options(parser)
    groups.run_options(parser)
    return parser


def test_recipes_that_are_not_there():
    assert list_recipes("cifar") == ["paper", "published", "quick", "release"]
    with pytest.raises(UsageError, match="recipe 'release' has no inception: it is for resnet, resnext"):
        read_recipe("cifar", "release", "inception")
    with pytest.raises(UsageError, match="recipe 'fast' is unknown: choose one of paper, published, quick, release;"):
        read_recipe("cifar", "fast")


def test_configurations_come_back_as_they_were(tmp_path):
    parser = every_group()
    options = {**parser.defaults(), "lr": 1e-5, "lr_decay_epoch": [3, 5], "gpus": "", "resume": True}
    run = Run(tmp_path, {})
    run.write_config(without(parser, options, Role.COMMAND))
    read = parser.checked(read_yaml(tmp_path / "config.yaml"), "config.yaml")
    assert "resume" not in read
    assert read == {name: options[name] for name in read}
    assert len(read) > 40


def test_files_that_are_no_yaml(tmp_path):
    with pytest.raises(UsageError, match="cannot read .*none.yaml: No such file"):
        read_yaml(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1,\nb: }")
    with pytest.raises(UsageError, match="bad.yaml is not YAML"):
        read_yaml(tmp_path / "bad.yaml")
    (tmp_path / "code.yaml").write_text("a: !!python/object/apply:os.getcwd []")
    with pytest.raises(UsageError, match="code.yaml is not YAML"):
        read_yaml(tmp_path / "code.yaml")


def test_what_differs_on_resuming_is_named():
    saved = {"fusion": "aff", "blocks": 1, "num_epochs": 10}
    check_same(saved, {"fusion": "aff"}, "runs/x", independent_of_length=False)
    check_same(saved, {"num_epochs": 20}, "runs/x", independent_of_length=True)
    with pytest.raises(UsageError) as caught:
        check_same(saved, {"fusion": "iaff", "blocks": 2, "num_epochs": 10}, "runs/x", independent_of_length=True)
    assert "--fusion was aff, is iaff, --blocks was 1, is 2;" in str(caught.value)
    with pytest.raises(UsageError, match="--num-epochs was 10, is 20 \\(the schedule"):
        check_same(saved, {"num_epochs": 20}, "runs/x", independent_of_length=False)


@pytest.mark.parametrize(
    ("task", "argv", "message"),
    [
        ("seg", ["--dataset", "shapes", "--category", "dog"], "--category has no effect with --dataset shapes"),
        ("imagenet", ["--hard-weight", "0.5"], "--hard-weight has no effect without --teacher"),
        ("imagenet", ["--temperature", "4"], "--temperature has no effect without --teacher"),
    ],
)
def test_options_without_effect_are_refused(task, argv, message):
    with pytest.raises(UsageError, match=message):
        get_task(task).options(argv)


def test_a_run_of_another_task_is_called_so(tmp_path):
    Run(tmp_path / "run", {"task": "cifar", "options": {}}).history.start({"task": "cifar"})
    (tmp_path / "run" / "config.yaml").write_text("blocks: 1\n")
    with pytest.raises(UsageError, match="is a run of task cifar, not of seg: gluon-aff train cifar resumes it"):
        get_task("seg").options(["--resume", str(tmp_path / "run")])
