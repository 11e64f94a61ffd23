"""The OpenAPI document: what schemathesis makes of it is answered as it says; its page loads nothing from elsewhere."""

import asyncio
import json
from collections.abc import AsyncIterator
from html.parser import HTMLParser

import pytest
import pytest_asyncio
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from .detect_application import ROWS, Detecting, detecting, write_artifact

pytestmark = pytest.mark.asyncio(loop_scope="module")
OPERATIONS = (
    "GET /detectors",
    "GET /detectors/{name}",
    "GET /v1/metrics",
    "GET /v2",
    "GET /v2/health/live",
    "GET /v2/health/ready",
    "GET /v2/models/{name}",
    "GET /v2/models/{name}/ready",
    "POST /v2/models/{name}/infer",
    "GET /v2/models/{name}/versions/{version}",
    "GET /v2/models/{name}/versions/{version}/ready",
    "POST /v2/models/{name}/versions/{version}/infer",
    "POST /v2/repository/index",
    "POST /v2/repository/models/{name}/load",
    "POST /v2/repository/models/{name}/unload",
)
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)
INPUT = {"name": "rows", "shape": [2, 4], "datatype": "FP64", "data": ROWS}
EXAMPLES = settings(
    max_examples=12,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Detecting]:
    folder = tmp_path_factory.mktemp("openapi") / "outlier"
    write_artifact(folder)
    async with detecting("--artifact", folder) as served:
        yield served


async def test_every_operation_is_documented(served: Detecting) -> None:
    document = json.loads((await served.get("/openapi.json")).body)
    found = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert found == set(OPERATIONS)
    assert "422" not in json.dumps(document["paths"])


@pytest.mark.parametrize("label", OPERATIONS)
async def test_whatever_the_document_allows_is_answered_as_it_says(label: str, served: Detecting) -> None:
    await served.post("/v2/repository/models/outlier/load")
    (detector,) = served.catalogue
    url = f"http://127.0.0.1:{served.port}/openapi.json"
    await asyncio.to_thread(check_operation, label, url, detector.card.version)


def check_operation(label: str, url: str, version: str) -> None:
    """Cases of one operation, half of them for the detector that there is."""
    schema = schemathesis.openapi.from_url(url)
    operation = next(each.ok() for each in schema.get_all_operations() if each.ok().label == label)

    @EXAMPLES
    @given(case=operation.as_strategy(), is_known=st.booleans())
    def check(case: Case, is_known: bool) -> None:
        if is_known and "name" in case.path_parameters:
            case.path_parameters |= {"name": "outlier"} | (
                {"version": version} if "version" in case.path_parameters else {}
            )
        case.call_and_validate(checks=CHECKS)

    check()


async def test_the_example_of_a_request_is_answered_200(served: Detecting) -> None:
    """Cases that are made up are mostly refused: this one is not, and conforms too."""
    await served.post("/v2/repository/models/outlier/load")
    url = f"http://127.0.0.1:{served.port}/openapi.json"

    def check() -> int:
        operation = schemathesis.openapi.from_url(url)["/v2/models/{name}/infer"]["POST"]
        case = operation.Case(
            path_parameters={"name": "outlier"}, body={"inputs": [INPUT]}, media_type="application/json"
        )
        response = case.call_and_validate(checks=CHECKS)
        return int(response.status_code)

    assert await asyncio.to_thread(check) == 200


class Links(HTMLParser):
    """What a page would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src")]


async def test_the_page_names_every_operation_and_loads_nothing(served: Detecting) -> None:
    page = (await served.get("/docs")).body.decode()
    links = Links()
    links.feed(page)
    assert all(label in page for label in OPERATIONS)
    assert links.addresses == ["openapi.json"]
    assert not links.tags & {"script", "link", "img", "iframe"}
