"""Runs one command for `gluon-aff launch`, on this machine or at the far end of ssh, and leaves nothing of it behind.

Stand-alone, as it must not import MXNet: ``python supervisor.py SILENCE COMMAND...``. Each byte on standard input is a
signal for the command (i: SIGINT, t: SIGTERM), ends its whole process group (k: SIGKILL), or says that the launcher is
still there (any other). When standard input ends, or brings nothing for SILENCE seconds (0: for ever), the launcher or
the connection to it is gone: SIGTERM, and after GRACE seconds SIGKILL. A machine that is cut off would otherwise learn
it from its own TCP, after hours. The exit code is the command's, 128 + n when signal n ended it.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

GRACE = 20.0
SIGNALS = {b"i": signal.SIGINT, b"t": signal.SIGTERM}
_PR_SET_PDEATHSIG = 1


def main() -> int:
    silence, command = float(sys.argv[1]), sys.argv[2:]
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def die_with_the_supervisor() -> None:
        if libc:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    try:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=die_with_the_supervisor
        )
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    threading.Thread(target=obey, args=(child, silence), daemon=True).start()
    code = child.wait()
    kill_group(child)
    if code < 0:
        print(f"ended by signal {-code} ({signal.Signals(-code).name})", file=sys.stderr)
    return code if code >= 0 else 128 - code


def obey(child: subprocess.Popen, silence: float) -> None:
    while True:
        heard = select.select([0], [], [], silence or None)[0]
        order = os.read(0, 1) if heard else b""
        if order in SIGNALS:
            child.send_signal(SIGNALS[order])
        elif order == b"k":
            kill_group(child)
        elif not order:
            child.terminate()
            time.sleep(GRACE)
            kill_group(child)
            return


def kill_group(child: subprocess.Popen) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # the thread is still reading
