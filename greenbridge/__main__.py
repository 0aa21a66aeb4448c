"""Lets ``python -m greenbridge`` do what the ``greenbridge`` command does."""

from greenbridge.cli import main

main()
