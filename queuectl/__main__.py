"""The command queuectl, and python -m queuectl."""

from __future__ import annotations

import gc
import signal


def main() -> None:
    """Load the program and run it; Ctrl+C while it loads ends it without a word."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # a shell's & wants that
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.disable()  # loading makes no garbage; a command turns it on again
    from queuectl import cli

    cli.main()


if __name__ == "__main__":
    main()
