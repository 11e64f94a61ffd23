"""A start waits for Elasticsearch and says so; what is wrong is one line, and shows no secret."""

import subprocess
import sys
from dataclasses import replace

import pytest
from elastic_proxy import ElasticProxy, error
from elastic_side import hits, running
from elasticsearch import AsyncElasticsearch
from events import request

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.http.message import Request, Response
from wayside.eventing.sink import SinkUnavailable
from wayside.sinks import cli
from wayside.sinks.elasticsearch.indices import MAPPINGS
from wayside.sinks.elasticsearch.settings import ElasticsearchSettings

NOWHERE = "http://127.0.0.1:1"
SECRETS = {"user": "elastic", "password": "tell-nobody"}


async def refusal(settings: ElasticsearchSettings) -> str:
    """The line that a start ends with."""
    with pytest.raises(ConfigurationError) as caught:
        async with running(settings):
            pass
    assert "\n" not in str(caught.value)
    assert "tell-nobody" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("status", "advice"), [(401, "WAYSIDE_SINK_API_KEY"), (403, "index templates"), (405, "405")])
async def test_what_waiting_cannot_mend_is_an_error_at_once(status: int, advice: str) -> None:
    async with ElasticProxy(NOWHERE, lambda request: error(status)) as proxy:
        assert advice in await refusal(ElasticsearchSettings(proxy.url, **SECRETS))
    assert len(proxy.requests) == 1
    assert (proxy.requests[0].header(b"authorization") or b"").startswith(b"Basic ")


async def test_what_is_not_elasticsearch_is_an_error_at_once() -> None:
    async with ElasticProxy(NOWHERE, lambda request: Response.text(200, "welcome")) as proxy:
        assert "not Elasticsearch" in await refusal(ElasticsearchSettings(proxy.url))


async def test_it_waits_says_so_and_gives_up(caplog: pytest.LogCaptureFixture) -> None:
    line = await refusal(ElasticsearchSettings(NOWHERE, wait_s=0.7, **SECRETS))
    assert "http://127.0.0.1:1 does not answer" in line
    assert "waited 0.7 s" in line
    assert "waiting for Elasticsearch at http://127.0.0.1:1" in caplog.text
    assert "tell-nobody" not in caplog.text


async def test_it_starts_once_elasticsearch_answers(elastic: ElasticsearchSettings) -> None:
    left = [2]

    def answer(request: Request) -> Response | None:
        left[0] -= 1
        return error(503) if left[0] >= 0 else None

    async with ElasticProxy(elastic.url, answer) as proxy, running(replace(elastic, url=proxy.url)) as sink:
        await sink.send(request([[1.0]]))
    assert len(await hits(elastic, "records")) == 1


async def test_an_index_of_another_shape_is_named(elastic: ElasticsearchSettings) -> None:
    index = f"{elastic.index_prefix}-records-2020.01.01"
    async with AsyncElasticsearch(elastic.url) as client:
        await client.indices.create(index=index, mappings={"properties": {"@timestamp": {"type": "text"}}})
    line = await refusal(elastic)
    assert index in line
    assert "'@timestamp' is text, and should be date" in line
    assert "--index-prefix" in line


async def test_another_template_that_shapes_our_indices_is_an_error(elastic: ElasticsearchSettings) -> None:
    name = f"{elastic.index_prefix}-records"
    pattern = [f"{name}-*"]
    mappings = {"properties": {"request": {"type": "object", "properties": {"instance": {"type": "float"}}}}}
    async with AsyncElasticsearch(elastic.url) as client:
        await client.indices.put_index_template(
            name=f"{name}-foreign", index_patterns=pattern, priority=900, template={"mappings": mappings}
        )
        try:
            line = await refusal(elastic)
        finally:
            await client.indices.delete_index_template(name=f"{name}-foreign")
    assert f"{name}-* (new)" in line
    assert "is not mapped" in line


@pytest.mark.parametrize("source", [{"enabled": False}, {"excludes": ["request.instance"]}])
async def test_an_index_that_keeps_no_whole_source_is_an_error(
    elastic: ElasticsearchSettings, source: dict[str, object]
) -> None:
    index = f"{elastic.index_prefix}-records-2020.01.01"
    async with AsyncElasticsearch(elastic.url) as client:
        await client.indices.create(index=index, mappings={**MAPPINGS["records"], "_source": source})
    assert f"{index} has another shape: its '_source' is not kept" in await refusal(elastic)


async def test_indices_of_before_are_taken_up_again(elastic: ElasticsearchSettings) -> None:
    for name in ("e1", "e2"):
        async with running(elastic) as sink:
            await sink.send(request([[1.0]], name))
    assert len(await hits(elastic, "records")) == 2


async def test_credentials_that_end_in_mid_run_lose_nothing(elastic: ElasticsearchSettings) -> None:
    denied = [False]
    async with (
        ElasticProxy(elastic.url, lambda request: error(401) if denied[0] else None) as proxy,
        running(replace(elastic, url=proxy.url)) as sink,
    ):
        denied[0] = True
        with pytest.raises(SinkUnavailable, match="401"):
            await sink.send(request([[1.0]]))
        denied[0] = False
        await sink.send(request([[1.0]]))
    assert len(await hits(elastic, "records")) == 1


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "--url"),
        (["--url", "elasticsearch:9200"], "is not an absolute"),
        (["--url", "http://elastic:tell-nobody@host:9200"], "WAYSIDE_SINK_USER"),
        (["--url", "http://elastic:tell-nobody@host:port"], "WAYSIDE_SINK_USER"),
        (["--url", NOWHERE, "--index-prefix", "Wayside"], "is not an index prefix"),
        (["--url", NOWHERE, "--user", "elastic"], "needs a password"),
        (["--url", NOWHERE, "--user", "e", "--password", "tell-nobody", "--api-key", "k"], "not both"),
        (["--url", NOWHERE, "--ca-file", "/nowhere.pem"], "/nowhere.pem"),
        (["--url", "https://127.0.0.1:1", "--ca-file", __file__], "no certificates"),
        (["--url", NOWHERE, "--wait", "soon"], "soon"),
        (["--url", NOWHERE, "--wait", "0"], "does not answer"),
    ],
)
def test_bad_flags_are_one_line(flags: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["elasticsearch", *flags], {"WAYSIDE_LOG_LEVEL": "ERROR"}) == 2
    printed = capsys.readouterr().err
    assert words in printed
    assert printed.count("\n") == 1
    assert "tell-nobody" not in printed


def test_secrets_come_from_the_environment_and_are_never_shown() -> None:
    environment = {"WAYSIDE_SINK_URL": "https://host", "WAYSIDE_SINK_USER": "e", "WAYSIDE_SINK_PASSWORD": "tell-nobody"}
    settings = cli.parse(["elasticsearch"], environment)
    assert settings.elasticsearch is not None
    assert settings.elasticsearch.password == "tell-nobody"
    assert "tell-nobody" not in repr(settings)
    assert "tell-nobody" not in repr(ElasticsearchSettings("https://host", api_key="tell-nobody"))


@pytest.mark.parametrize(
    ("url", "node"),
    [
        ("http://host", "http://host:80"),
        ("https://host/", "https://host:443"),
        ("https://host:9200/es/", "https://host:9200/es"),
        ("http://[::1]:9200", "http://[::1]:9200"),
    ],
)
def test_the_port_is_written_out(url: str, node: str) -> None:
    assert ElasticsearchSettings(url).node_url == node


def test_without_the_extra_the_error_names_it() -> None:
    script = (
        "import sys; sys.modules['elasticsearch'] = None\n"
        "from wayside.sinks import cli\n"
        f"sys.exit(cli.main(['elasticsearch', '--url', '{NOWHERE}'], {{}}))"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "pip install 'wayside[elasticsearch]'" in ended.stderr
