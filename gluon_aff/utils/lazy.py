"""Packages whose names are imported when they are first asked for (PEP 562)."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path
from typing import Any, Callable, Iterator, Tuple


def attributes_of(package: str) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package.

    What the package has, and where from, are the imports in its own ``if TYPE_CHECKING:``, so that people, type
    checkers and Python read the same list. Its submodules are attributes as well; a name that is also a submodule's
    must be imported at once, as Python gives the package the submodule under it.

    Parameters
    ----------
    package : str
        Its ``__name__``, while it is being imported.

    Returns
    -------
    callable
        From a name to its value. It raises AttributeError for a name that the package has not.
    """
    source = Path(str(sys.modules[package].__file__))
    homes = dict(_homes(ast.parse(source.read_text(encoding="utf-8"))))

    def attribute(name: str) -> Any:
        if name in homes:
            value = getattr(importlib.import_module(homes[name][0], package), homes[name][1])
        elif _is_submodule(source.parent, name):
            value = importlib.import_module(f".{name}", package)
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        setattr(sys.modules[package], name, value)
        return value

    return attribute


def _homes(tree: ast.Module) -> Iterator[Tuple[str, Tuple[str, str]]]:
    """(name in the package, (its module, relative to the package, and its name there))."""
    for statement in tree.body:
        if isinstance(statement, ast.If) and getattr(statement.test, "id", "") == "TYPE_CHECKING":
            for node in statement.body:
                if isinstance(node, ast.ImportFrom) and node.module:
                    module = "." * node.level + node.module
                    yield from ((alias.asname or alias.name, (module, alias.name)) for alias in node.names)


def _is_submodule(folder: Path, name: str) -> bool:
    return name.isidentifier() and ((folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file())
