"""Makes `kubernetes/prometheusrule.yaml` of `prometheus/alerts.yaml`: `python manifests/monitoring/rules.py [--check]`.

Invariant: a cluster and docker-compose alert by the same rules.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from generated import write_or_check

HERE = Path(__file__).parent
SOURCE = HERE / "prometheus" / "alerts.yaml"
FILE = HERE / "kubernetes" / "prometheusrule.yaml"
_HEAD = "# Made from prometheus/alerts.yaml by rules.py, where each rule is explained.\n"


def render() -> str:
    """The rules as the Prometheus operator takes them."""
    rule: dict[str, Any] = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "wayside"},
        "spec": yaml.safe_load(SOURCE.read_bytes()),
    }
    return _HEAD + yaml.dump(rule, Dumper=_Dumper, sort_keys=False, width=120)


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as a block, as people write PromQL."""


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _block)


def main(argv: Sequence[str]) -> int:
    """Write the file, or compare it; returns the exit status."""
    return write_or_check(FILE, render(), "manifests/monitoring/rules.py", argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
