"""What every command here shares: exit codes, one-line errors, output that may be lost, progress, tables."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import platform
import re
import signal
import sys
import tempfile
import time
import traceback
import warnings
from typing import Any, Callable, Iterable, Iterator, NoReturn, Optional, Sequence, TextIO

from .._version import __version__
from ..errors import GluonAFFError, last_line
from . import streams

DEBUG = "GLUON_AFF_DEBUG"  # a variable: with any value, unforeseen errors keep their traceback
EVERY = 60.0  # seconds between two signs of life where there is no terminal
#: What MXNet, the system and Python's threads say where memory is short.
_NO_MEMORY = re.compile(
    "bad_alloc|Resource temporarily unavailable|Cannot allocate memory|ut of memory|start new thread"
)
FAILED, STOPPED, READER_GONE = 1, 128 + signal.SIGINT, 128 + signal.SIGPIPE

Main = Callable[[Optional[Sequence[str]]], Optional[int]]


@functools.lru_cache(maxsize=None)
def tell_once(line: str) -> None:
    """Say something on standard error, once in a process: a command may read one place several times."""
    print(line, file=sys.stderr)


def run_program(main: Main) -> NoReturn:
    """`run` as a program of its own, with the command line's arguments; the process ends with its exit code."""
    streams.open_missing()
    streams.end_imports()
    streams.take_any_name(sys.stdout)
    streams.take_any_name(sys.stderr)
    streams.watch_output()
    warnings.formatwarning = lambda message, *place: f"warning: {message}\n"  # without a line of code
    code = run(main)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # what remains is Python's own end
    sys.exit(code)


def run(main: Main, argv: Optional[Sequence[str]] = None) -> int:
    """Call ``main(argv)`` and turn what becomes of it into an exit code and at most one line on standard error.

    ``main`` goes from the arguments (None: the command line's) to an exit code; None is 0.

    Returns
    -------
    int
        What ``main`` returns; a GluonAFFError's own code (1, for wrong usage 2); 130 after Ctrl-C; 141 when the reader
        of standard output has gone (``| head``); 1 when standard output cannot be written, and for an error that nobody
        foresaw, whose traceback goes to a file; where the variable GLUON_AFF_DEBUG is set, such an error passes.
    """
    try:
        code = int(main(argv) or 0)
    except SystemExit:  # argparse's, after --help for instance
        lost = _lost_output()
        if not lost:
            raise
        return lost
    except GluonAFFError as error:
        code = _failed(str(error), error.exit_code)
    except KeyboardInterrupt:
        code = _failed("stopped", STOPPED, prefix="")
    except Exception as error:
        lost = _lost_output() if isinstance(error, OSError) and error.filename is None else 0
        if lost:
            return lost
        code = _unforeseen(error)
    return _lost_output() or code


def _failed(message: str, code: int = FAILED, prefix: str = "error: ") -> int:
    """Print an error's line; a parameter that the library names, `val_fraction`, is the option --val-fraction here."""
    message = re.sub("`([a-z_]+)`", lambda name: "--" + name[1].replace("_", "-"), message)
    with contextlib.suppress(OSError, ValueError):  # nobody may be there to read it
        print(prefix + message, file=sys.stderr)
    return code


def _unforeseen(error: Exception) -> int:
    """The exit code after an error that is not one of ours."""
    if isinstance(error, BrokenPipeError):
        return READER_GONE
    text = last_line(error)
    if isinstance(error, MemoryError) or _NO_MEMORY.search(text):
        reason = "" if isinstance(error, MemoryError) and not str(error) else f": {text}"
        return _failed(f"out of memory{reason}; take smaller images or batches, or lift the limit (ulimit -v)")
    if isinstance(error, RuntimeError) and "home directory" in text:  # pathlib's, for "~nobody/photo.png"
        return _failed("a name begins with ~ and a user who is not here: write the folder out, or ./~name", 2)
    if os.environ.get(DEBUG):
        raise error
    if isinstance(error, OSError) and error.filename is not None:  # a name that the system cannot take, for one
        name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else str(error.filename)
        name = name if len(name) <= 80 else name[:77] + "..."
        return _failed(f"{name}: {error.strerror}; choose another name or place")
    context: Optional[BaseException] = error
    while context:  # an import that Ctrl-C breaks off may fail in another way; GluonCV says "no mxnet" for any
        if isinstance(context, KeyboardInterrupt):
            return _failed("stopped", STOPPED, prefix="")
        if isinstance(error, ImportError) and isinstance(context, ModuleNotFoundError) and context.name:
            package = context.name.partition(".")[0]
            return _failed(
                f"the Python package {package} is missing or incomplete: `gluon-aff doctor` says what to install"
            )
        context = context.__context__
    what = " ".join(str(error).split("\n")[0].split())
    return _failed(f"unexpected {type(error).__name__}{what and ': '}{what}; {_write_details(error)}")


def _write_details(error: Exception) -> str:
    """Keep the traceback in a new file of the folder for temporary files; where that is, or why there is none."""
    about = (
        f"command: {sys.argv}\nfolder: {os.getcwd()}\n"
        f"gluon_aff {__version__}, Python {platform.python_version()}, {platform.platform()}\n\n"
    )
    try:
        handle, path = tempfile.mkstemp(prefix="gluon-aff-error-", suffix=".txt")
        with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(about + "".join(traceback.format_exception(type(error), error, error.__traceback__)))
    except OSError as reason:
        return f"the details cannot be written ({reason.strerror}), {DEBUG}=1 shows them"
    return f"details in {path}"


def _lost_output() -> int:
    """0 when all that was printed has been written, otherwise the exit code; told unless the reader has gone."""
    error = streams.output_failure()
    if error is None:
        return 0
    if error.errno == errno.EPIPE:
        return READER_GONE
    return _failed(f"cannot write to standard output: {error.strerror}")


def on_terminal(stream: Optional[TextIO]) -> bool:
    """Whether somebody looks at ``stream`` as it is written, and has not asked for quiet."""
    return not _quiet and stream is not None and stream.isatty()


_quiet = False


@contextlib.contextmanager
def quietly(quiet: bool = True) -> Iterator[None]:
    """While entered, `say` and `progress` print nothing; errors are printed as ever."""
    global _quiet
    before, _quiet = _quiet, _quiet or quiet
    try:
        yield
    finally:
        _quiet = before


def say(line: str) -> None:
    """Print a line to standard output, above the bar that may be on the terminal."""
    if _quiet:
        return
    tqdm = sys.modules.get("tqdm")
    with tqdm.tqdm.external_write_mode(file=sys.stdout) if tqdm else contextlib.nullcontext():
        print(line, flush=True)


def bar(total: Optional[int], label: str = "", unit: str = "batch", initial: int = 0) -> Any:
    """A tqdm bar on standard error, where that is a terminal; None where it is not."""
    if not on_terminal(sys.stderr):
        return None
    from tqdm import tqdm

    return tqdm(total=total, desc=label, unit=unit, initial=initial, leave=False, dynamic_ncols=True)


def progress(iterable: Iterable, total: Optional[int] = None, label: str = "", unit: str = "batch") -> Iterator:
    """An iterable with a progress bar on a terminal; in a file or a pipe, with a line every EVERY seconds.

    ``total`` is its length, ``label`` stands in front of the bar, ``unit`` is what is counted.
    """
    shown = bar(total, label, unit)
    told = time.monotonic()
    try:
        for count, item in enumerate(iterable):
            if shown is not None:
                shown.update(int(count > 0))
            elif time.monotonic() - told >= EVERY and not _quiet:
                told = time.monotonic()
                of = "" if total is None else f" of {total}"
                with contextlib.suppress(OSError, ValueError):
                    print(f"{label}: {unit} {count}{of}", file=sys.stderr, flush=True)
            yield item
    finally:
        if shown is not None:
            shown.close()
