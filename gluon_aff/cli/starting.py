"""When a command imports MXNet, which takes seconds: behind its --help, before anything that needs it."""

from __future__ import annotations

from ..runtime import importing
from ..utils import program


def load_mxnet() -> None:
    """Import MXNet. Raises MXNetImportError, which says what to run; Ctrl-C on the way is one line."""
    program.begin()
    importing.import_mxnet()
    program.imported()
