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
    """A stream that remembers why it could not write; its users may not have looked.

    A ``tolerant`` one takes everything, also after the terminal, pipe or disk behind it has gone.
    """

    def __init__(self, stream: TextIO, tolerant: bool = False) -> None:
        self.stream, self.tolerant = stream, tolerant
        self.failure: Optional[Exception] = None

    def write(self, text: str) -> int:
        self._attempt(self.stream.write, text)
        return len(text)

    def flush(self) -> None:
        self._attempt(self.stream.flush)

    def _attempt(self, act: Callable[..., Any], *arguments: str) -> None:
        if self.tolerant and self.failure:
            return
        try:
            act(*arguments)
        except UnicodeError:
            raise
        except (OSError, ValueError) as error:  # ValueError: it is closed
            if self.tolerant and isinstance(error, BlockingIOError):  # it takes no more just now
                return
            self.failure = self.failure or error
            if not self.tolerant:
                raise
            _silence(self.stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def watch_output() -> None:
    """From now on `output_failure` also knows what could not be written earlier."""
    sys.stdout = _Watched(sys.stdout)


def output_failure() -> Optional[OSError]:
    """Why standard output did not take all that was printed; from then on the null device does. None when it did."""
    failure: Optional[Exception] = None
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except ValueError:  # it was closed, after it had taken everything
        pass
    except OSError as error:
        failure = error
    if isinstance(sys.stdout, _Watched):
        failure, sys.stdout.failure = sys.stdout.failure or failure, None
    if not isinstance(failure, OSError):
        return None
    _silence(sys.stdout)
    return failure


def _silence(stream: TextIO) -> None:
    """Let the null device take what is still in a stream's buffer, and all that follows."""
    with contextlib.suppress(OSError, ValueError):
        number = stream.fileno()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, number)
        os.close(null)


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
    if not isinstance(stream, _Watched):
        return stream and _Watched(stream, tolerant=True)
    return stream if stream.tolerant else _Watched(stream.stream, tolerant=True)


def output_lost() -> Optional[str]:
    """Why standard output was lost within `tolerate_lost_output`; None while it is there."""
    failure = sys.stdout.failure if isinstance(sys.stdout, _Watched) and sys.stdout.tolerant else None
    return (getattr(failure, "strerror", None) or str(failure)) if failure else None
