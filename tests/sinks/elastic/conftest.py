"""What the tests of the Elasticsearch sink share: an index prefix of their own on a real node, removed afterwards."""

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import uuid4

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from elastic_side import remove_all

from wayside.sinks.elasticsearch.settings import ElasticsearchSettings


@pytest.fixture
async def elastic(service: Callable[[str], str]) -> AsyncIterator[ElasticsearchSettings]:
    """Settings under a prefix that nobody else uses."""
    settings = ElasticsearchSettings(service("ELASTICSEARCH"), f"test-{uuid4().hex[:12]}", wait_s=20)
    yield settings
    await remove_all(settings)
