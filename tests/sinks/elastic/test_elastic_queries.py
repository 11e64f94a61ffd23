"""The searches that docs/pairs.md tells people to make, on a real node: parts without partner, and feedback."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from elastic_side import running
from elasticsearch import AsyncElasticsearch
from events import outlier, request, response

from wayside.eventing.event import CloudEvent
from wayside.eventing.vocabulary import FEEDBACK
from wayside.sinks.elasticsearch.settings import ElasticsearchSettings

PAGE = Path(__file__).parents[3] / "docs" / "pairs.md"
OLD = "2020-01-02T10:00:00Z"


def queries() -> dict[str, Any]:
    """The searches on the page, by the word in the comment before each."""
    found = re.findall(r"# (\w+)[^\n]*\nGET wayside-records-\*/_search\n(.+?)\n(?:\n|```)", PAGE.read_text(), re.DOTALL)
    return {name: json.loads(query) for name, query in found}


def at(event: CloudEvent, time: str) -> CloudEvent:
    return replace(event, time=time, extensions={**event.extensions, "requesttime": time})


def feedback(name: str, body: Any) -> CloudEvent:
    extensions = {"subjectsource": "digits-predictor", "subjectid": name, "requesttime": OLD}
    return CloudEvent(f"f-{name}", "/client", FEEDBACK, json.dumps(body).encode(), OLD, extensions=extensions)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("requests", {"lonely-request"}),
        ("responses", {"lonely-response"}),
        ("verdicts", {"lonely-verdict"}),
        ("feedback", {"pair"}),
    ],
)
async def test_a_search_of_the_page_finds_what_it_says(
    elastic: ElasticsearchSettings, name: str, expected: set[str]
) -> None:
    events = [
        *(request([[1.0]], "pair"), response([1], "pair"), outlier([True], "pair")),
        *(request([[1.0]], "lonely-request"), outlier([False], "lonely-request")),
        *(response([1], "lonely-response"), outlier([True], "lonely-verdict")),
        *(request([[1.0]], "praised"), response([1], "praised")),
    ]
    told = [feedback("pair", {"reward": 0.2, "truth": {"a": [1]}}), feedback("praised", {"reward": 1})]
    async with running(elastic) as sink:
        for event in events:
            await sink.send(at(event, OLD))
        for event in told:
            await sink.send(event)
    async with AsyncElasticsearch(elastic.url) as client:
        index = f"{elastic.index_prefix}-records-*"
        await client.indices.refresh(index=index)
        answer = await client.search(index=index, body=queries()[name])
    assert {_name(hit["_source"]) for hit in answer["hits"]["hits"]} == expected


def _name(document: dict[str, Any]) -> str:
    return str(document["RequestId"])


async def test_no_feedback_fails_the_record_that_it_is_part_of(elastic: ElasticsearchSettings) -> None:
    async with running(elastic) as sink:
        await sink.send(at(request([[1.0]], "e"), OLD))
        for truth in ({"a": 1}, "text", [[[1], {"b": 2}]], None, 1e300):
            await sink.send(replace(feedback("e", {"reward": float("nan"), "truth": truth}), id=f"f-{truth}"))
