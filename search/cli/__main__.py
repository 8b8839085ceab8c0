"""`python -m search.cli` is `pneumo`."""

from search.cli.app import main

main()
