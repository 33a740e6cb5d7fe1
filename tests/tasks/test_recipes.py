"""Every recipe in the package is made of its script's options."""

import re

import pytest

from gluon_aff.tasks import get_task, list_tasks
from gluon_aff.tasks.config import RECIPES, disagreements, list_recipes, read_recipe, read_yaml

AUTHORS = [("cifar", "release"), ("cifar", "published"), ("imagenet", "release")]

TASKS = {name: get_task(name) for name in list_tasks()}


def test_every_recipe_belongs_to_a_task():
    assert {path.name.split("-")[0] for path in RECIPES.glob("*.yaml")} == set(TASKS)


@pytest.mark.parametrize(("task", "name"), [(task, name) for task in TASKS for name in list_recipes(task)])
def test_every_recipe_is_made_of_options(task, name):
    recipe = read_yaml(RECIPES / f"{task}-{name}.yaml")
    assert recipe.keys() - {"cases", "differs"} == {"about", "options", "models"} and recipe["models"]
    parser = TASKS[task].parser()
    for case in recipe.get("cases", []):
        assert parser.checked(case["options"], name) and case["when"].keys() <= parser.defaults().keys()
    for line in disagreements(task, name):
        for flag in re.findall(r"--[a-z0-9_-]+", line):
            assert flag in parser._option_string_actions, f"{line}: there is no {flag}"
    for model in recipe["models"]:
        values = TASKS[task].parser().checked(read_recipe(task, name, model), name)
        assert values["model"] == model


@pytest.mark.parametrize(("task", "name"), AUTHORS)
def test_the_authors_recipes_have_their_autoaugment(task, name):
    recipe = read_recipe(task, name)
    assert (recipe["auto_aug"], recipe["auto_aug_policy"]) == (True, "published")


CIFAR_COMMON = {"optimizer": "nag", "momentum": 0.9, "wd": 1e-4, "batch_size": 128, "lr": 0.2, "lr_decay": 0.1}
IMAGENET_COMMON = {
    "optimizer": "nag",
    "momentum": 0.9,
    "wd": 1e-4,
    "lr": 0.075,
    "lr_mode": "cosine",
    "warmup_epochs": 5,
}
PAPER = {"lr_mode": "step", "init": "xavier", "mixup": True, "mixup_alpha": 1.0, "mixup_off_epoch": 20, "tag": "paper"}
RELEASE = {"init": "xavier", "mixup": True, "mixup_alpha": 1.0, "mixup_off_epoch": 40, "label_smoothing": True}
RELEASE = {**RELEASE, "auto_aug": True, "auto_aug_policy": "published", "num_epochs": 640, "warmup_epochs": 10}
RELEASE = {**RELEASE, "step_timing": "published", "lr_decay_epoch": [300, 450], "tag": "release", "channel_times": 4}
STEPS = {"init": "xavier", "num_epochs": 400, "lr_decay_epoch": [300, 350]}
LONG = {"num_epochs": 640, "lr_decay_epoch": [300, 450], "update_parts": 4}
PAPER_IMAGENET = {"mixup_alpha": 0.2, "mixup_off_epoch": 0, "last_gamma": True, "no_wd": True, "auto_aug": False}
PAPER_IMAGENET = {**PAPER_IMAGENET, "mixup": True, "label_smoothing": True, "tag": "paper", "r": 16, "start_layer": 3}
RELEASE_IMAGENET = {"mixup_alpha": 0.2, "mixup_off_epoch": 5, "last_gamma": True, "no_wd": True, "num_epochs": 240}
RELEASE_IMAGENET = {**RELEASE_IMAGENET, "batch_size": 128, "update_parts": 4, "auto_aug_input": "folder", "r": 16}
RELEASE_IMAGENET.update(auto_aug=True, label_smoothing=True, tag="release")

#: (task, command line, what its options must be): the facts of the paper, of its logs and of the release's logs.
FACTS = [
    (
        "cifar",
        "--recipe paper",
        {**PAPER, **STEPS, "update_parts": 1, "blocks": 5, "channel_times": 4, "model": "resnet", "r": 4},
    ),
    ("cifar", "--recipe paper --labels fine --init kaiming", {"labels": "fine", "init": "kaiming"}),
    (
        "cifar",
        "--recipe paper --model resnext",
        {**PAPER, "num_epochs": 400, "lr_decay_epoch": [200, 300, 350], "update_parts": 2, "blocks": 4, "r": 16},
    ),
    ("cifar", "--recipe paper --model resnext --fusion iaff", {**PAPER, **LONG, "blocks": 4, "r": 16}),
    ("cifar", "--recipe paper --model resnext --fusion ResGlobLocaforGlobLocaCha", {**PAPER, **LONG}),
    ("cifar", "--recipe paper --model resnext --blocks 3 --dataset cifar10", {**PAPER, **LONG, "labels": "fine"}),
    ("cifar", "--recipe paper --model inception", {"r": 0, **STEPS, "labels": "coarse"}),
    ("cifar", "--recipe paper --model inception --fusion ms_sa", {"r": 0}),
    ("cifar", "--recipe paper --model inception --fusion iaff", {"r": 4}),
    ("cifar", "--recipe paper --model inception --r 4", {"r": 4}),
    (
        "cifar",
        "--recipe release",
        {**RELEASE, "lr_mode": "cosine", "no_wd": True, "update_parts": 4, "blocks": 5, "labels": "fine"},
    ),
    ("cifar", "--recipe release --model resnext", {**RELEASE, "lr_mode": "cosine", "update_parts": 4, "blocks": 4}),
    ("cifar", "--recipe release --lr-mode step", {**RELEASE, "no_wd": False}),
    ("cifar", "--recipe release --lr-mode step --step-timing stated --no-wd", {"step_timing": "stated", "no_wd": True}),
    (
        "cifar",
        "--recipe published --model resnext",
        {**RELEASE, "lr_mode": "step", "no_wd": False, "update_parts": 2, "blocks": 5, "labels": "fine"},
    ),
    ("imagenet", "--recipe paper", {**PAPER_IMAGENET, "batch_size": 120, "update_parts": 2, "num_epochs": 160}),
    (
        "imagenet",
        "--recipe paper --fusion iaff",
        {**PAPER_IMAGENET, "batch_size": 96, "update_parts": 2, "num_epochs": 180},
    ),
    ("imagenet", "--recipe paper --model resnext", {**PAPER_IMAGENET, "batch_size": 128, "update_parts": 4}),
    (
        "imagenet",
        "--recipe paper --model resnext --fusion iaff",
        {**PAPER_IMAGENET, "batch_size": 128, "update_parts": 4, "num_epochs": 160},
    ),
    (
        "imagenet",
        "--recipe paper --fusion aff_global_global --no-mixup",
        {"batch_size": 128, "update_parts": 2, "num_epochs": 160, "mixup": False},
    ),
    ("imagenet", "--recipe release", {**RELEASE_IMAGENET, "auto_aug_policy": "published"}),
    ("imagenet", "--recipe release --model resnext --fusion iaff", RELEASE_IMAGENET),
    (
        "seg",
        "--recipe paper",
        {"batch_size": 32, "num_epochs": 300, "lr": 0.01, "optimizer": "adagrad", "lr_mode": "poly", "r": 4},
    ),
    ("seg", "--recipe paper", {"init": "kaiming", "blocks": 3, "base_size": 512, "crop_size": 480, "wd": 1e-4}),
]


@pytest.mark.parametrize(("task", "line", "facts"), FACTS, ids=lambda value: value if isinstance(value, str) else "")
def test_every_field_is_that_of_the_published_runs(task, line, facts):
    common = {"cifar": CIFAR_COMMON, "imagenet": IMAGENET_COMMON, "seg": {}}[task]
    options = vars(TASKS[task].options(line.split()))
    if "inception" in line:
        facts = {name: value for name, value in facts.items() if name != "tag"}
    for name, value in {**common, **facts}.items():
        assert options[name] == value, name


def test_a_printed_recipe_says_where_paper_and_code_disagree():
    task = TASKS["cifar"]
    text = task.recipe_text(task.options(["--recipe", "paper", "--model", "resnext", "--fusion", "iaff"]))
    assert "# init: Table 2 says Kaiming for ResNet and Inception, every script had Xavier; --init kaiming" in text
    assert all(len(line) < 130 for line in text.splitlines())
    assert "num_epochs: 640" in text


def test_what_the_release_did_without_cosine():
    """Steps ten epochs early and no warm-up: the published fine-label runs' rates at 290 and 440 of 640 epochs."""
    from gluon_aff.training.schedule import from_options

    schedule = from_options(TASKS["cifar"].options(["--recipe", "release", "--lr-mode", "step"]), 100)
    rates = [schedule(100 * epoch + 50) for epoch in (0, 289, 290, 439, 440)]
    assert rates == pytest.approx([0.2, 0.2, 0.02, 0.02, 0.002])
