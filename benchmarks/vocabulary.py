"""The vocabulary's speed, each beside its peers in one run: payloads to arrays, event codecs, the journal."""

import argparse

import vocabulary_events
import vocabulary_journal
import vocabulary_payloads
from rich.console import Console
from rich.table import Table

PARTS = {"payloads": vocabulary_payloads, "events": vocabulary_events, "journal": vocabulary_journal}
_WIDTH = 130  # characters, where no terminal tells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part; may be repeated")
    console = Console()
    console.width = max(console.width, _WIDTH)
    for name in parser.parse_args().only or PARTS:
        part = PARTS[name]
        table = Table(*part.COLUMNS, title=(part.__doc__ or name).splitlines()[0], title_justify="left")
        for row in part.rows():
            table.add_row(*row)
        console.print(table)


if __name__ == "__main__":
    main()
