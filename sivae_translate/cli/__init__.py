"""The command line, one file per command."""

from sivae_translate.cli.app import main

__all__ = ["main"]
