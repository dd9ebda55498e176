"""Run the command line from a checkout: python cli.py query "heart attack"."""

from cmsearch.cli import main

if __name__ == "__main__":  # the workers of a batch job load this file again
    main()
