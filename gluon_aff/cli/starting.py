"""When a command imports MXNet, which takes seconds: behind its --help, before anything that needs it."""

from __future__ import annotations

from ..runtime import importing, native_log
from ..utils import program


def load_mxnet() -> None:
    """Import MXNet, and let those lines of its log be that tell nothing; Ctrl-C on the way is one line.

    Raises MXNetImportError, which says what to run.
    """
    program.begin()
    native_log.drop_known_lines()
    importing.import_mxnet()
    program.imported()
