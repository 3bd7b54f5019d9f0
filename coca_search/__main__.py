"""`python -m coca_search`: the console command."""

from coca_search.cli import main

main()
