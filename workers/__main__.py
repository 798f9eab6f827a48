"""``python -m workers``: the same as the command ``tidegate``."""

from workers.cli import main

main()
