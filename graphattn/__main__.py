"""`python -m graphattn`, the same as `graphattn`."""

from graphattn.cli import main

main()
