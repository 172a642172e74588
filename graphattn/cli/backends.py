"""`graphattn backends`."""

from __future__ import annotations

from graphattn.cli import options
from graphattn.cli.screen import Screen

EXAMPLE = options.example("graphattn backends")


def backends(debug: options.Debug = False) -> None:
    """Show which kernel runs each kind of attention call on this machine, and why."""
    with Screen(debug=debug):
        import graphattn

        graphattn.backends()
