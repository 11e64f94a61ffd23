"""What all tests share: the address of a real service, from the environment that `scripts/test --services` sets.

Invariant: a test that needs a service is marked `services`, and where CI insists on services it never skips.
"""

import os
from collections.abc import Callable

import pytest

HOW = "run scripts/test --services, which starts it"


@pytest.fixture(scope="session")
def service() -> Callable[[str], str]:
    """The address of a service by the name after WAYSIDE_TEST_: `service("KAFKA")`, `service("PROMETHEUS_DIR")`.

    Skips the test where the environment gives none, and fails it where WAYSIDE_TEST_REQUIRE_SERVICES=1.
    """

    def address_of(name: str) -> str:
        address = os.environ.get(f"WAYSIDE_TEST_{name}", "")
        if not address and os.environ.get("WAYSIDE_TEST_REQUIRE_SERVICES") == "1":
            pytest.fail(f"WAYSIDE_TEST_{name} is not set: {HOW}")
        if not address:
            pytest.skip(f"no WAYSIDE_TEST_{name}: {HOW}")
        return address

    return address_of


@pytest.hookimpl(tryfirst=True)  # before `-m` selects by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that asks for a service, so that `-m services` and `-m "not services"` miss none."""
    for item in items:
        if "service" in getattr(item, "fixturenames", ()):
            item.add_marker("services")
