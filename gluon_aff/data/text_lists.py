"""Lists that users write or tools export: ids, ground truth, standard input. One entry a line, in their many forms."""

from __future__ import annotations

import codecs
import io
import re
from typing import Any, Iterator, List, Tuple, cast

from .trees import IMAGE_SUFFIXES

#: What the first field of a heading is called, in lower case.
HEADINGS = ("file", "filename", "id", "image", "image_id", "imageid", "name", "path")

_ENDINGS = "|".join(map(re.escape, IMAGE_SUFFIXES))
_WAYS = (
    r'"(?P<name>[^"]+)"\s*[\t;,]?(?P<rest>.*)',
    rf"(?P<name>.*?(?i:{_ENDINGS}))(\s*[\t;,]|\s)(?P<rest>.*)",
    *(rf"(?P<name>[^{separator}]+){separator}(?P<rest>.*)" for separator in "\t;,"),
    r"(?P<name>.*\S)\s+(?P<rest>\S+)",
    r"(?P<name>\S+)\s+(?P<rest>.*)",
)
_SUFFIX = re.compile(r"\.\w{1,5}$")


def lines_of(handle: Any, errors: str = "strict") -> Iterator[str]:
    """Yield the lines, without what ends them, as soon as they are there.

    The text is UTF-8 or UTF-16, with or without a byte order mark. Raises UnicodeDecodeError.
    """
    buffered = handle if hasattr(handle, "peek") else io.BufferedReader(cast(io.RawIOBase, handle))
    head = buffered.peek(2)[:2]
    encoding = "utf-8-sig"
    if head in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        encoding = "utf-16"
    elif b"\0" in head:
        encoding = "utf-16-be" if head.startswith(b"\0") else "utf-16-le"
    text = io.TextIOWrapper(buffered, encoding, errors)
    try:
        for line in text:
            yield line.rstrip("\n")
    finally:
        text.detach()  # the stream is not ours to close


def lines_in(content: bytes) -> List[str]:
    """Return the lines of a file's content that are not blank, stripped. Raises UnicodeDecodeError."""
    return [line.strip() for line in lines_of(io.BytesIO(content)) if line.strip()]


def fields_of(line: str) -> Iterator[Tuple[str, str]]:
    """Yield the ways to part a line into a name and what follows it, the likeliest first.

    Between them are tabs, semicolons, commas or blanks, any of which a name may hold as well, in quotes or not.
    """
    for way in _WAYS:
        found = re.fullmatch(way, line.strip())
        if found:
            yield found["name"].strip(' \t"'), found["rest"].strip(' \t"')


def names_in(line: str) -> Iterator[str]:
    """Yield what a line may name, the likeliest first: all of it, or its first field."""
    yield from dict.fromkeys((line, line.strip()))
    yield from (name for name, _ in fields_of(line))


def tails_of(path: str) -> Iterator[str]:
    """Yield a path, then without its first folders, the longest first; each with its suffix and without."""
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
    for begin in range(len(parts)):
        tail = "/".join(parts[begin:])
        yield tail
        yield _SUFFIX.sub("", tail)
