"""What MXNet's C++ log brings to standard error in a command."""

import subprocess
import sys

START = """
import ctypes, os, subprocess, sys, threading
from gluon_aff.runtime import native_log
assert native_log.drop_known_lines() and native_log.drop_known_lines()
library = ctypes.CDLL("libstdc++.so.6")
put = library._ZStlsISt11char_traitsIcEERSt13basic_ostreamIcT_ES5_PKc  # operator<<(std::ostream &, const char *)
put.argtypes, put.restype = (ctypes.c_void_p, ctypes.c_char_p), ctypes.c_void_p
cerr = ctypes.addressof(ctypes.c_char.in_dll(library, "_ZSt4cerr"))
"""


def errors_of(code):
    """Standard error of a process that runs ``code`` behind START, in lines."""
    done = subprocess.run([sys.executable, "-c", START + code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stderr.split("\n")


def test_known_lines_are_dropped_and_others_arrive_whole_and_in_order():
    assert errors_of(
        'put(cerr, b"[1] first "); put(cerr, b"line\\n[2] MKLDNN Pooling: training with prop_kind is x\\n")\n'
        'put(cerr, b"[3] engine.cc: MXNet start using engine: NaiveEngine\\nlast\\n and no end")'
    ) == ["[1] first line", "last", " and no end"]


def test_no_line_of_many_threads_is_lost():
    lines = errors_of(
        "def write(name):\n"
        "    for number in range(500):\n"
        '        put(cerr, f"thread {name} line {number}\\n".encode())\n'
        "threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
    )
    assert sorted(lines[:-1]) == sorted(f"thread {name} line {number}" for name in range(4) for number in range(500))


def test_python_children_and_forks_write_as_ever():
    lines = errors_of(
        'print("python", file=sys.stderr, flush=True)\n'
        'subprocess.run(["sh", "-c", "echo child >&2; ls /proc/self/fd | wc -l"], stdout=2)\n'
        "pid = os.fork()\n"
        'if not pid: put(cerr, b"fork\\n"); os._exit(0)\n'
        "os.waitpid(pid, 0)\n"
    )
    assert lines == ["python", "child", "4", "fork", ""]  # 0, 1, 2 and the folder itself: the pipe is not inherited


def test_a_standard_error_that_is_gone_harms_nothing():
    assert errors_of('os.close(2); put(cerr, b"nobody reads this\\n")') == [""]
