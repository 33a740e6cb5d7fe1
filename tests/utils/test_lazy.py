"""Packages that import their names late."""

import importlib
import sys

import pytest

from gluon_aff.utils import lazy

LAZY = ["gluon_aff", "gluon_aff.published", "gluon_aff.tasks", "gluon_aff.training"]


@pytest.mark.parametrize("package", LAZY)
def test_all_that_is_promised_is_there(package):
    module = importlib.import_module(package)
    for name in module.__all__:
        assert getattr(module, name) is not None
        assert not lazy._is_submodule(lazy.Path(module.__file__).parent, name) or name in ("catalogue", "published")


@pytest.mark.parametrize("package", LAZY)
def test_other_names_are_an_attribute_error(package):
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        importlib.import_module(package).nothing  # noqa: B018


def test_a_name_is_imported_when_it_is_asked_for(tmp_path, monkeypatch):
    (tmp_path / "lazily").mkdir()
    (tmp_path / "lazily" / "__init__.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n"
        "    from .part import value as renamed\n"
        "else:\n"
        "    from gluon_aff.utils.lazy import attributes_of\n"
        "    __getattr__ = attributes_of(__name__)\n"
    )
    (tmp_path / "lazily" / "part.py").write_text("value = object()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    package = importlib.import_module("lazily")
    try:
        assert "lazily.part" not in sys.modules
        assert package.renamed is sys.modules["lazily.part"].value
        assert package.part is sys.modules["lazily.part"]
        assert "renamed" in vars(package)  # found at once the next time
    finally:
        sys.modules.pop("lazily"), sys.modules.pop("lazily.part", None)
