"""What `wayside decode` sees in a folder of bodies and logged events, as the table of docs/payloads.md."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from wayside.eventing.payloads.inspection import Reading, Report, inspect

FOLDER = Path(__file__).parents[2] / "shared" / "data" / "payloads"
COLUMNS_SHOWN = 3


def lines(folder: Path) -> Iterator[str]:
    """The table, a line at a time; a file of events has a line for each."""
    yield "| file | what is seen | rows | columns, or the refusal |"
    yield "|---|---|---|---|"
    for path in sorted(folder.iterdir()):
        for report in inspect(path.name, path.read_bytes(), Reading()):
            yield f"| {_place(report)} | {_what(report)} | {report.get('rows', '')} | {_columns(report)} |"


def _place(report: Report) -> str:
    return f"{report['file']}, {report['item']}" if "item" in report else str(report["file"])


def _what(report: Report) -> str:
    return "refused" if "refused" in report else f"{report['protocol']} {report['kind']}"


def _columns(report: Report) -> str:
    if "refused" in report:
        return str(report["refused"])
    columns = report["columns"]
    shown = [f"{each['name']} {each['datatype']}{each['shape']}{_note(each)}" for each in columns[:COLUMNS_SHOWN]]
    more = len(columns) - COLUMNS_SHOWN
    return "; ".join(shown) + (f"; and {more} more" if more > 0 else "")


def _note(column: Report) -> str:
    told = column.get("content_type") or column.get("note")
    return f" ({told})" if told else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    folder: Path = parser.parse_args().folder
    if not folder.is_dir():
        print(f"no payloads in {folder}: nothing is shown (see --folder)")
        return 1
    for line in lines(folder):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
