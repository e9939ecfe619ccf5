"""`python -m lofty`."""

from .cli import main

main()
