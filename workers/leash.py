"""``python -m workers.leash COMMAND …``: run a command that ends when whoever started it is gone.

On Linux the kernel sends it SIGTERM then, even where the starter was killed; elsewhere this only runs the command.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>


def leashed(command: list[str]) -> list[str]:
    """The same command, on a leash."""
    return [sys.executable, "-m", "workers.leash", *command]


def main() -> None:
    """Put this process on the leash and become the command."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
