"""MXNet's C++ log without the lines that tell a user of a command nothing.

MXNet writes "MKLDNN Pooling: training with prop_kind is forward_scoring" for every shape that it averages over in
training, and which engine it starts; no setting turns them off. Average pooling written in another way would have the
same values, but could not be exported to ONNX or quantised, and would not help other people's networks. To read all
of standard error through a pipe would change it for child processes and for the bar, and a crash's last words would be
lost in it. So only C++'s ``std::cerr``, which MXNet logs to, is led through a pipe, whose reader drops the known lines
and writes every other one to standard error at once. What Python, C, crashes and child processes write takes its
usual way. Where the C++ library is another one than expected, nothing is done, and the lines are seen.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
from typing import Any, List, Optional

KNOWN = (b"MKLDNN Pooling: training with prop_kind is", b"MXNet start using engine: ")

_CERR = "_ZSt4cerr"
_SET_BUFFER = "_ZNSt9basic_iosIcSt11char_traitsIcEE5rdbufEPSt15basic_streambufIcS1_E"
_NEW_BUFFER = "_ZN9__gnu_cxx18stdio_sync_filebufIcSt11char_traitsIcEEC1EP8_IO_FILE"
_MAKE_STREAMS = "_ZNSt8ios_base4InitC1Ev"
_ENOUGH = 512  # bytes for an object of either class
_UNBUFFERED = 2  # _IONBF

_kept: List[Any] = []  # what C++ goes on using for as long as the process lives


def drop_known_lines() -> bool:
    """From now on lines with one of KNOWN in them do not reach standard error.

    Returns
    -------
    bool
        Whether that could be done here. A second call changes nothing.
    """
    if _kept:
        return True
    try:
        library, c = ctypes.CDLL("libstdc++.so.6"), ctypes.CDLL(None)
        stream = ctypes.addressof(ctypes.c_char.in_dll(library, _CERR))
        make_streams, new_buffer, set_buffer = (
            getattr(library, name) for name in (_MAKE_STREAMS, _NEW_BUFFER, _SET_BUFFER)
        )
        open_file, set_buffering = c.fdopen, c.setvbuf
    except (OSError, ValueError, AttributeError):
        return False
    set_buffer.argtypes, set_buffer.restype = (ctypes.c_void_p, ctypes.c_void_p), ctypes.c_void_p
    new_buffer.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    open_file.restype = ctypes.c_void_p
    set_buffering.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
    source, sink = os.pipe()  # child processes do not inherit it
    file = open_file(sink, b"w")
    set_buffering(file, None, _UNBUFFERED, 0)
    initialised, buffer = ctypes.create_string_buffer(_ENOUGH), ctypes.create_string_buffer(_ENOUGH)
    make_streams(initialised)  # they may not be there before MXNet is
    new_buffer(buffer, file)
    ios = stream + _offset_of_virtual_base(stream)
    usual = set_buffer(ios, ctypes.addressof(buffer))
    reader = threading.Thread(target=_forward, args=(source,), name="MXNet's log", daemon=True)
    reader.start()
    _kept.extend((initialised, buffer))

    def end() -> None:
        set_buffer(ios, usual)
        os.close(sink)
        reader.join(timeout=5)

    atexit.register(end)
    return True


def _offset_of_virtual_base(stream: int) -> int:
    """From a ``std::ostream`` to its ``std::ios``; C++'s binary interface has it three words before the functions."""
    functions = ctypes.c_void_p.from_address(stream).value or 0
    return ctypes.c_ssize_t.from_address(functions - 3 * ctypes.sizeof(ctypes.c_void_p)).value


def _forward(source: int) -> None:
    """Write what comes out of the pipe to standard error, but for the known lines."""
    rest: bytes = b""
    while True:
        chunk = _read(source)
        *lines, rest = (rest + (chunk or b"")).split(b"\n")
        kept = [line + b"\n" for line in lines if not any(words in line for words in KNOWN)]
        if not chunk and rest:
            kept.append(rest)
        if kept:
            _write(b"".join(kept))
        if not chunk:
            return


def _read(source: int) -> Optional[bytes]:
    try:
        return os.read(source, 65536)
    except OSError:
        return None


def _write(data: bytes) -> None:
    """All of it; a standard error that is gone takes nothing, as always."""
    while data:
        try:
            data = data[os.write(2, data) :]
        except OSError:
            return
