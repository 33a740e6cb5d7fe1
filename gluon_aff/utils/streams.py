"""A process that is a command of ours: Ctrl-C during its imports, and standard streams that exist and may be lost."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import signal
import sys
import warnings
from types import FrameType
from typing import Any, Callable, Iterator, Optional, TextIO

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def is_command() -> bool:
    """Whether this process is ``gluon-aff``, ``python -m gluon_aff`` or one of the training scripts.

    Returns
    -------
    bool
        While Python imports the package of the module that ``-m`` names, and only then, ``sys.argv[0]`` is "-m".
    """
    program = (sys.argv or [""])[0]
    name = os.path.basename(program)
    beside_package = os.path.dirname(os.path.abspath(program)) == _ROOT
    return name in ("-m", "gluon-aff") or (beside_package and name.startswith("train_"))


def begin_command() -> None:
    """Get a command of ours ready for its imports; `end_imports` ends that. In any other process nothing happens."""
    if is_command():
        open_missing()
        if any(option.startswith("e") for option in sys.warnoptions):  # PYTHONWARNINGS=error: libraries warn
            warnings.simplefilter("default")
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _leave)


def end_imports() -> None:
    """From here on Ctrl-C raises KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(number: int, frame: Optional[FrameType]) -> None:
    """At once: there is nothing to save yet, and a KeyboardInterrupt may come back as another error from an import."""
    try:
        os.write(2, b"stopped\n")
    finally:
        os._exit(128 + number)


def open_missing() -> None:
    """Open the null device where a standard stream was closed (``2>&-``).

    Otherwise the next file to be opened would get its number, and messages of libraries would end up in that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            stream = open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8")  # noqa: SIM115
            setattr(sys, name, stream)


def take_any_name(stream: TextIO) -> None:
    """Let a stream take every character; names that are not text in this locale keep their bytes."""
    if not isinstance(stream, io.TextIOWrapper):
        return
    encoding = codecs.lookup(stream.encoding).name
    if encoding in ("ascii", "utf-8"):
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")
    else:
        stream.reconfigure(errors="backslashreplace")


class _Watched:
    """A stream that remembers why it could not write; its users may not have looked."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.failure: Optional[OSError] = None

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except OSError as error:
            self.failure = error
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def watch_output() -> None:
    """From now on `output_failure` also knows what could not be written earlier."""
    sys.stdout = _Watched(sys.stdout)


def output_failure() -> Optional[OSError]:
    """Why standard output did not take all that was printed; from then on the null device does. None when it did."""
    failure: Optional[OSError] = None
    if isinstance(sys.stdout, _Watched):
        failure, sys.stdout.failure = sys.stdout.failure, None
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except ValueError:  # it was closed, after it had taken everything
        pass
    except OSError as error:
        failure = failure or error
    if failure:
        _silence(sys.stdout)
    return failure


def _silence(stream: TextIO) -> None:
    """Let the null device take what is still in a stream's buffer, and all that follows."""
    with contextlib.suppress(OSError, ValueError):
        number = stream.fileno()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, number)
        os.close(null)


class _Tolerant:
    """A stream that takes everything, also after the terminal, pipe or disk behind it has gone."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.lost: Optional[str] = None

    def write(self, text: str) -> int:
        self._attempt(self.stream.write, text)
        return len(text)

    def flush(self) -> None:
        self._attempt(self.stream.flush)

    def _attempt(self, act: Callable[..., Any], *arguments: str) -> None:
        if self.lost is not None:
            return
        try:
            act(*arguments)
        except BlockingIOError:  # it takes no more just now
            pass
        except UnicodeError:
            raise
        except (OSError, ValueError) as error:
            self.lost = getattr(error, "strerror", None) or str(error)
            _silence(self.stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def tolerate_lost_output() -> Iterator[None]:
    """While entered, losing standard output or standard error raises nothing: what is printed there is dropped."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_tolerant, before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _tolerant(stream: Any) -> Any:
    if stream is None or isinstance(stream, _Tolerant):
        return stream
    return _Tolerant(stream.stream if isinstance(stream, _Watched) else stream)


def output_lost() -> Optional[str]:
    """Why standard output was lost within `tolerate_lost_output`; None while it is there."""
    return sys.stdout.lost if isinstance(sys.stdout, _Tolerant) else None
