"""`python -m wayside.local`: the same as the `wayside` command."""

from wayside.local.cli import entry

entry()
