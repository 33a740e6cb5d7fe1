"""Every recipe in the package is made of its script's options."""

import pytest

from gluon_aff.tasks import get_task, list_tasks
from gluon_aff.tasks.options.config import RECIPES, list_recipes, read_recipe, read_yaml

AUTHORS = [("cifar", "release"), ("cifar", "published"), ("imagenet", "release")]

TASKS = {name: get_task(name) for name in list_tasks()}


def test_every_recipe_belongs_to_a_task():
    assert {path.name.split("-")[0] for path in RECIPES.glob("*.yaml")} == set(TASKS)


@pytest.mark.parametrize(("task", "name"), [(task, name) for task in TASKS for name in list_recipes(task)])
def test_every_recipe_is_made_of_options(task, name):
    recipe = read_yaml(RECIPES / f"{task}-{name}.yaml")
    assert recipe.keys() == {"about", "options", "models"} and recipe["models"]
    for model in recipe["models"]:
        values = TASKS[task].parser().checked(read_recipe(task, name, model), name)
        assert values["model"] == model


@pytest.mark.parametrize(("task", "name"), AUTHORS)
def test_the_authors_recipes_have_their_autoaugment(task, name):
    recipe = read_recipe(task, name)
    assert (recipe["auto_aug"], recipe["auto_aug_policy"]) == (True, "published")
