"""What every command line here shares: exit codes, one-line errors and progress."""

from __future__ import annotations

import sys
from typing import Callable, Iterable, Optional, Sequence

from ..errors import GluonAFFError


def run(main: Callable[[Optional[Sequence[str]]], Optional[int]], argv: Optional[Sequence[str]] = None) -> int:
    """Call ``main(argv)`` and return an exit code: 0, 1 for failure, 2 for wrong usage, 130 for Ctrl-C.

    A GluonAFFError becomes one line on standard error. Other exceptions pass: they are faults of the program.
    """
    try:
        return int(main(argv) or 0)
    except GluonAFFError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader (head, less) has gone: nobody is left to tell
        sys.stderr.close()
        return 0


def progress(iterable: Iterable, total: Optional[int] = None, label: str = "", unit: str = "batch") -> Iterable:
    """Wrap an iterable in a progress bar on a terminal; in a file or a pipe, hand it back as it is."""
    if not sys.stderr.isatty():
        return iterable
    from tqdm import tqdm

    return tqdm(iterable, total=total, desc=label, unit=unit, leave=False)
