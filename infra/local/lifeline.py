"""Runs a module, and ends it once whoever started it is gone, however that came about.

python -m infra.local.lifeline MODULE ARGUMENT…
"""

import os
import runpy
import signal
import sys
import threading


def hold_on() -> None:
    """End as on SIGTERM when standard input closes, as it does when the process at its other end ends."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=hold_on, daemon=True).start()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
