"""python -m queuectl.cli: the same program as the command queuectl."""

from queuectl.__main__ import main

if __name__ == "__main__":
    main()
