"""The command line ``gluon-aff``: `main` and a file for each command."""

from __future__ import annotations

from ..runtime import importing
from ..utils import streams


def load_mxnet() -> None:
    """Import MXNet, which takes seconds: behind --help, before what needs it. Ctrl-C on the way is one line.

    Raises MXNetImportError, which says what to run.
    """
    streams.begin_command()
    importing.import_mxnet()
    streams.end_imports()
