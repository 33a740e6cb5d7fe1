"""Packages that import their names late."""

import ast
import importlib
from pathlib import Path

import pytest

LAZY = ["gluon_aff", "gluon_aff.tasks", "gluon_aff.training"]


def imports_of(package):
    """(name, module, name there) of the imports that type checkers read."""
    for statement in ast.parse(Path(importlib.import_module(package).__file__).read_text()).body:
        if isinstance(statement, ast.If) and getattr(statement.test, "id", "") == "TYPE_CHECKING":
            for node in statement.body:
                for alias in node.names:
                    yield alias.asname or alias.name, "." * node.level + (node.module or ""), alias.name


@pytest.mark.parametrize("package", LAZY)
def test_python_finds_what_type_checkers_find(package):
    module, found = importlib.import_module(package), list(imports_of(package))
    assert {name for name, *_ in found} <= {*module.__all__, "Listener"}
    for name, home, there in found:
        source = importlib.import_module(home, package)
        expected = getattr(source, there) if home != "." else importlib.import_module(f".{there}", package)
        assert getattr(module, name) is expected
    assert all(getattr(module, name) is not None for name in module.__all__)


@pytest.mark.parametrize("package", LAZY)
def test_other_names_are_an_attribute_error(package):
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        importlib.import_module(package).nothing  # noqa: B018
