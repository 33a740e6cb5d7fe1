"""Where built operators are kept, a folder for each MXNet, processor and source text, and what is in it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Dict, List, Optional

import mxnet as mx

VARIABLE = "GLUON_AFF_NATIVE"  # "0": neither build nor load it
MANIFEST = "operator.json"
SOURCE = Path(__file__).parent / "source"
MXNET = Path(mx.__file__).parent
INTERFACE = [MXNET / "include" / "mxnet" / "lib_api.h", MXNET / "src" / "lib_api.cc"]


class State(Enum):
    """What a cache folder holds."""

    BUILT = "built"
    NONE = "not built"
    FAILED = "failed to build"
    DAMAGED = "damaged"


@dataclass(frozen=True)
class Entry:
    """What the cache has for this MXNet, this processor and this source text.

    Attributes
    ----------
    folder : Path
    state : State
    library : Path or None
        The file to load, when it is built and whole.
    identity : str or None
        What the bits of its results depend on: source, processor, compiler and options.
    detail : str
        The compiler and its options, or what is wrong.
    """

    folder: Path
    state: State
    library: Optional[Path] = None
    identity: Optional[str] = None
    detail: str = ""


def switched_off() -> bool:
    """Whether the user wants no native operator."""
    return os.environ.get(VARIABLE) == "0"


def root() -> Path:
    """The folder of all built operators: ``$XDG_CACHE_HOME/gluon_aff/native``, else under ``~/.cache``."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if os.path.isabs(given) else Path(os.path.expanduser("~")) / ".cache"
    return base / "gluon_aff" / "native"


def folder() -> Path:
    """Of the operator for this MXNet, this processor and this source text."""
    return root() / f"{mx.__version__}-{processor()}-{source_digest()}"


def sources() -> List[Path]:
    return sorted(path for path in SOURCE.iterdir() if path.suffix in (".cc", ".h"))


def source_digest() -> str:
    """Of the operator's source text and of MXNet's extension interface."""
    digest = hashlib.sha256()
    for path in [*sources(), *INTERFACE]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def processor() -> str:
    """The kind of processor: a library built for one may not run on another."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    lines = re.findall(r"^(?:model name|flags|Features|CPU part)\s*:.*$", text.split("\n\n")[0], re.MULTILINE)
    return f"{platform.machine()}-{hashlib.sha256('|'.join(lines).encode()).hexdigest()[:8]}"


def entry() -> Entry:
    """What the cache holds; the library is checked against the digest that was noted when it was built."""
    place = folder()
    manifest = place / MANIFEST
    try:
        record: Dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))
        if "failed" in record:
            return Entry(place, State.FAILED, detail=str(record["failed"]))
        library = place / str(record["library"])
        found = digest_of(library)
        if found != record["sha256"]:
            return Entry(place, State.DAMAGED, detail=f"{library} is not the file that was built")
        return Entry(place, State.BUILT, library, str(record["identity"]), str(record["detail"]))
    except FileNotFoundError as error:
        if manifest.exists():
            return Entry(place, State.DAMAGED, detail=f"{error.filename} is gone")
        return Entry(place, State.NONE)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Entry(place, State.DAMAGED, detail=f"{manifest} cannot be read: {error}")


def digest_of(library: Path) -> str:
    """SHA-256, in hexadecimal. A library is small enough to be read at once."""
    return hashlib.sha256(library.read_bytes()).hexdigest()


def note(place: Path, record: Dict[str, Any]) -> None:
    """Write what was built in ``place``, or why it was not. Only the process that holds its lock may."""
    temporary = place / f"operator.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as handle:
        json.dump(record, handle, indent=1)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, place / MANIFEST)


def clean() -> int:
    """Remove all built operators, of other machines and versions too. Returns how many there were."""
    there = [path for path in root().iterdir() if path.is_dir()] if root().is_dir() else []
    for path in there:
        shutil.rmtree(path, ignore_errors=True)
    return len(there)
