"""The command line: parse, call one function of the package, print."""

from cmsearch.cli.app import main

__all__ = ["main"]
