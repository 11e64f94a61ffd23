"""How many cases of the CloudEvents SQL conformance kit pass: `cesql_conformance.py CHECKOUT` of cloudevents/spec."""

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from wayside.eventing.cesql.expression import CesqlSyntaxError, Expression

KIT = "cesql/cesql_tck"
# what an event has where a case does not say, by the kit's README
EVENT = {"specversion": "1.0", "id": "an-id", "source": "/a/source", "type": "a.type"}


@dataclass(frozen=True, slots=True)
class Case:
    """One case of the kit; `expected` is the value, where it gives one, and the error."""

    file: str
    name: str
    expression: str
    event: Mapping[str, Any]
    expected: Mapping[str, Any]

    def fault(self) -> str:
        """What came out instead of what is expected; empty where the case passes."""
        got = dict(zip(("result", "error"), _evaluated(self.expression, self.event), strict=True))
        wrong = [name for name, value in self.expected.items() if not _same(got[name], value)]
        return f"{self.expression}: {got}, expected {dict(self.expected)}" if wrong else ""


def _evaluated(expression: str, event: Mapping[str, Any]) -> tuple[Any, str | None]:
    try:
        result = Expression.parse(expression).evaluate(event.get)
    except CesqlSyntaxError:
        return False, "parse"
    return result.value, result.error


def _same(got: object, expected: object) -> bool:
    """Equal, and of one type: True is not 1."""
    return got == expected and isinstance(got, bool) == isinstance(expected, bool)


class _Loader(yaml.SafeLoader):
    """YAML whose times stay strings, as the attributes of an event are."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def cases(checkout: Path) -> Iterator[Case]:
    """Every case of the kit. Values keep their types; names and expressions are read as strings, `TRUE` and `1` too."""
    for path in sorted((checkout / KIT).glob("*.yaml")):
        text = path.read_text()
        typed, plain = yaml.load(text, _Loader), yaml.load(text, yaml.BaseLoader)
        for values, words in zip(typed["tests"], plain["tests"], strict=True):
            event = {**(values.get("event") or EVENT), **(values.get("eventOverrides") or {})}
            expected = {"error": words.get("error")} | ({"result": values["result"]} if "result" in values else {})
            yield Case(path.name, words["name"], words["expression"], event, expected)


def report(kit: list[Case]) -> list[str]:
    """Print the table and each case that fails; returns the failing ones."""
    faults = [f"{case.file}: {case.name}: {fault}" for case in kit if (fault := case.fault())]
    print("| file | cases | passed |\n|---|---|---|")
    for file in dict.fromkeys(case.file for case in kit):
        total = sum(case.file == file for case in kit)
        print(f"| {file} | {total} | {total - sum(fault.startswith(file) for fault in faults)} |")
    print(f"| all | {len(kit)} | {len(kit) - len(faults)} |")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path, help="a checkout of cloudevents/spec, which holds cesql/cesql_tck")
    kit = list(cases(parser.parse_args().checkout))
    if not kit:
        print(f"no cases in {KIT} of that checkout", file=sys.stderr)
        return 1
    faults = report(kit)
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
