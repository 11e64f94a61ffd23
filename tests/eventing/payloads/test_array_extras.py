"""What an import says where an extra is not installed, and that the first layer needs none."""

import subprocess
import sys

import pytest

_WITHOUT = """
import sys
sys.modules[{missing!r}] = None
from wayside.eventing.errors import MissingExtra
try:
    import {module}
except MissingExtra as exc:
    print(exc)
"""


def _said(missing: str, module: str) -> str:
    code = _WITHOUT.format(missing=missing, module=module)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    ("missing", "module", "said"),
    [
        ("numpy", "wayside.eventing.payloads.arrays", "numpy needs the extra 'arrays': pip install 'wayside[arrays]'"),
        ("simdjson", "wayside.eventing.payloads.arrays.matrix", "simdjson needs the extra 'arrays'"),
        ("PIL", "wayside.eventing.payloads.arrays.images", "Pillow needs the extra 'images': pip install"),
    ],
)
def test_a_missing_extra_is_named(missing: str, module: str, said: str) -> None:
    assert _said(missing, module).startswith(said)


@pytest.mark.parametrize("missing", ["numpy", "simdjson"])
def test_payloads_are_read_without_extras(missing: str) -> None:
    assert not _said(missing, "wayside.eventing.payloads.decode")
