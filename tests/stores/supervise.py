"""Run a command that must not outlive whoever started it.

`python supervise.py COMMAND…`, started in a process group of its own and with a pipe as its standard input. The starter
holds the pipe's other end and never writes to it. When the starter closes it, or ends (then the kernel closes it, even
after `kill -9`), the command is killed and waited for, and then whatever it started. Unlike Linux's PR_SET_PDEATHSIG
this works on every POSIX system, reaches the command's own children, and doesn't take the end of a thread for that of
the starter.
"""

import os
import signal
import subprocess
import sys
import threading

_stopping = threading.Event()


def _kill_at_end_of_input(command: subprocess.Popen[bytes]) -> None:
    # Not sys.stdin: a thread that holds its lock can't be interrupted when the interpreter shuts down.
    os.read(0, 1)
    _stopping.set()
    command.kill()


def _main() -> None:
    command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    threading.Thread(target=_kill_at_end_of_input, args=(command,), daemon=True).start()
    status = command.wait()
    if _stopping.is_set():
        os.killpg(0, signal.SIGKILL)
    sys.exit(status)


if __name__ == "__main__":
    _main()
