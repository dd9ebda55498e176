"""Run the command line from a checkout: python cli.py query "heart attack"."""

from cmsearch.cli import main

main()
