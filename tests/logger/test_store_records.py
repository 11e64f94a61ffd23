"""Records in JSON, CSV and Parquet: the agent's bytes where they are asked for, its columns and more where not.

Invariant: what stands here as the agent's was printed by its own marshallers (kserve/kserve aaac4e294, Go 1.26).
"""

import base64
import csv
import json
from datetime import UTC, datetime
from io import BytesIO, StringIO
from pathlib import Path
from urllib.parse import quote, urlsplit

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.event import CloudEvent
from wayside.eventing.vocabulary import REQUEST, RESPONSE
from wayside.logger.emit.store.formats import csv_file, format_of, json_file, json_records
from wayside.logger.emit.store.go_text import GoUrl, csv_field, json_text, short_time
from wayside.logger.emit.store.records import AGENT_COLUMNS, EXTENSIONS, OUR_COLUMNS, SKIP_VERIFY, Records
from wayside.logger.settings import Delivery, Store, StoreFormat

URL = "abfs://cont@acct.dfs.core.windows.net/pre/fix?x=1"
NASTY = 'a"b\\c,\u2028\u2029<&>\b\f\n\r\t\x01\x7fé😀'
GO_URL = (
    '{"Scheme":"abfs","Opaque":"","User":{},"Host":"acct.dfs.core.windows.net","Path":"/pre/fix","Fragment":"",'
    '"RawQuery":"x=1","RawPath":"","RawFragment":"","ForceQuery":false,"OmitHost":false}'
)
GO_SOURCE = (
    '{"Scheme":"http","Opaque":"","User":null,"Host":"localhost:9081","Path":"/","Fragment":"","RawQuery":"",'
    '"RawPath":"","RawFragment":"","ForceQuery":false,"OmitHost":false}'
)
AGENT_REQUEST = (
    f'{{"url":{GO_URL},"bytes":"/wAiCg==","contentType":" text/plain; x=\\"1\\", y",'
    '"reqType":"org.kubeflow.serving.inference.request",'
    '"id":"a\\"b\\\\c,\\u2028\\u2029\\u003c\\u0026\\u003e\\b\\f\\n\\r\\t\\u0001\x7fé😀",'
    f'"sourceUri":{GO_SOURCE},"inferenceService":"sk","namespace":"ns","component":"predictor",'
    '"metadata":{"X-A":["é"],"X-B":["\\u003cb\\u003e","c"]},"annotations":{"k":"v\\"\\u2028","z":"1"},'
    '"certName":"service-ca.crt","occurrenceTime":"2026-08-01T01:02:03.12Z"}'
)
AGENT_RESPONSE = (
    f'{{"url":{GO_URL},"bytes":"","contentType":"\\\\.","reqType":"org.kubeflow.serving.inference.response",'
    f'"id":"abc","sourceUri":{GO_SOURCE},"certName":"service-ca.crt","tlsSkipVerify":true,'
    '"occurrenceTime":"2026-08-01T01:02:03Z"}'
)
AGENT_CSV = (
    "url,bytes,contentType,reqType,id,sourceUri,inferenceService,namespace,component,endpoint,metadata,annotations,"
    "certName,tlsSkipVerify\n"
    'abfs://@acct.dfs.core.windows.net/pre/fix?x=1,/wAiCg==," text/plain; x=""1"", y",'
    'org.kubeflow.serving.inference.request,"a""b\\c,\u2028\u2029<&>\b\f\n\r\t\x01\x7fé😀",http://localhost:9081/,sk,ns,'
    'predictor,,"{""X-A"":[""é""],""X-B"":[""\\u003cb\\u003e"",""c""]}",'
    '"{""k"":""v\\""\\u2028"",""z"":""1""}",service-ca.crt,false\n'
)
REQUEST_EVENT = CloudEvent(
    id=NASTY,
    source="http://localhost:9081/",
    type=REQUEST,
    time="2026-08-01T01:02:03.120000000Z",
    datacontenttype=' text/plain; x="1", y',
    data=b'\xff\x00"\n',
    extensions={
        "inferenceservicename": "sk",
        "namespace": "ns",
        "component": "predictor",
        "endpoint": "",
        "metadata": '{"X-B":["<b>","c"],"X-A":["\\u00e9"]}',
        "annotations": json.dumps({"z": "1", "k": 'v"\u2028'}),
    },
)
RESPONSE_EVENT = CloudEvent(
    id="abc",
    source="http://localhost:9081/",
    type=RESPONSE,
    time="2026-08-01T01:02:03.000000000Z",
    datacontenttype="\\.",
    extensions={"metadata": "{}"},
)
OURS = CloudEvent(
    id="0a20621a-a1c4-414c-9f6e-5e1636e1c0fe",
    source="http://localhost:9081/",
    type=RESPONSE,
    time="2026-08-01T01:02:03.123456789Z",
    datacontenttype="application/json",
    data=b'{"predictions": [1]}',
    extensions={
        **REQUEST_EVENT.extensions,
        "recordedtime": "2026-08-01T01:02:04.000000000Z",
        "requesttime": "2026-08-01T01:02:02.500000000Z",
        "method": "POST",
        "path": "/v1/models/m:predict",
        "statuscode": "503",
        "latencyms": "12.345",
        "firstbytems": "10.000",
        "contentencoding": "gzip",
        "truncated": "true",
        "samplerate": "0.1",
        "revision": "sk-00001",
        "requestid": "r,1",
        "grpcstatus": "14",
        "traceparent": "00-1-2-03",
    },
)


def records(*, compatible: bool = True, skip_verify: bool = False, url: str = URL) -> Records:
    delivery = Delivery(url=url, ca_file=Path("/etc/tls/logger/service-ca.crt"), tls_skip_verify=skip_verify)
    return Records(delivery, Store("/logs", kserve_compatible=compatible))


@pytest.mark.parametrize(
    ("event", "skip_verify", "text"), [(REQUEST_EVENT, False, AGENT_REQUEST), (RESPONSE_EVENT, True, AGENT_RESPONSE)]
)
def test_one_record_is_the_agents_object_byte_for_byte(event: CloudEvent, skip_verify: bool, text: str) -> None:
    made = records(skip_verify=skip_verify)

    assert json_file(made, [event]).decode() == text
    assert json_records(made, [event]).decode() == f"[{text}]"
    assert json_file(made, [event, event]).decode() == f"[{text},{text}]"


def test_csv_is_the_agents_byte_for_byte() -> None:
    assert csv_file(records(), [REQUEST_EVENT]).decode() == AGENT_CSV


@pytest.mark.parametrize(
    ("text", "path", "raw_path", "agents_text"),
    [
        ("http://localhost:9081/", "/", "", "http://localhost:9081/"),
        ("s3://buck/pre/fix", "/pre/fix", "", "s3://buck/pre/fix"),
        ("s3://buck", "", "", "s3://buck"),
        ("gs://b:1/a%2Fb/c d?", "/a/b/c d", "/a%2Fb/c d", "gs://b:1/a/b/c%20d?"),
        ("gs://b/a%2Fb!", "/a/b!", "/a%2Fb!", "gs://b/a%2Fb!"),
        ("abfs://cont@h/p?q=1#fr ag", "/p", "", "abfs://@h/p?q=1#fr%20ag"),
        ("/seldon/ns/x", "/seldon/ns/x", "", "/seldon/ns/x"),
        ("urn:wayside:a/b", "", "", "urn:wayside:a/b"),
        ("pod-name", "pod-name", "", "pod-name"),
        ("", "", "", ""),
        ("x://h/%41é;,=!'()*", "/Aé;,=!'()*", "/%41é;,=!'()*", "x://h/A%C3%A9;,=%21%27%28%29%2A"),
        ("//h/p", "/p", "", "//h/p"),
        ("a?b", "a", "", "a?b"),
        ("file:///data/x", "/data/x", "", "file:///data/x"),
    ],
)
def test_a_url_is_read_and_written_as_go_does(text: str, path: str, raw_path: str, agents_text: str) -> None:
    url = GoUrl.parse(text)

    assert (url.path, url.raw_path) == (path, raw_path)
    assert url.text(kserve_compatible=True) == agents_text


def test_our_text_of_a_url_keeps_the_container_and_no_password() -> None:
    assert GoUrl.parse("abfs://cont:secret@h/p").text(kserve_compatible=False) == "abfs://cont@h/p"
    assert "secret" not in GoUrl.parse("abfs://cont:secret@h/p").json()


@given(st.from_regex(r"[a-z][a-z0-9+]{0,5}://[a-z0-9.]{1,8}(/[a-zA-Z0-9._~$&+,:;=@ -]{0,8}){0,3}", fullmatch=True))
def test_a_plain_url_keeps_its_meaning(text: str) -> None:
    written = GoUrl.parse(text).text(kserve_compatible=False)

    assert GoUrl.parse(written).path == GoUrl.parse(text).path
    assert urlsplit(written).netloc == urlsplit(text).netloc


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("2026-08-01T01:02:03.000000000Z", "2026-08-01T01:02:03Z"),
        ("2026-08-01T01:02:03.100000001Z", "2026-08-01T01:02:03.100000001Z"),
        ("2026-08-01T01:02:00Z", "2026-08-01T01:02:00Z"),
        ("2026-08-01T01:02:03.120+02:00", "2026-08-01T01:02:03.120+02:00"),
    ],
)
def test_times_lose_the_zeros_at_their_end(text: str, short: str) -> None:
    assert short_time(text) == short


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_text_reads_back(text: str) -> None:
    assert json.loads(json_text(text)) == text


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=5))
def test_csv_fields_read_back(fields: list[str]) -> None:
    line = ",".join(csv_field(field) for field in fields) + "\n"

    assert list(csv.reader(StringIO(line, newline=""), strict=True)) == [fields]


@given(st.binary(max_size=64), st.integers(0, 3))
def test_any_body_comes_back_from_every_text_format(piece: bytes, times: int) -> None:
    event = CloudEvent(id="i", source="s", type=REQUEST, data=piece * (times * 9000))
    _, line, _ = csv_file(records(compatible=False), [event]).split(b"\n")  # Python's csv reads short fields only

    assert base64.b64decode(line.split(b",")[1], validate=True) == event.data
    assert base64.b64decode(json.loads(json_file(records(), [event]))["bytes"], validate=True) == event.data


def test_ours_come_after_the_agents_members() -> None:
    [first, second] = json.loads(json_file(records(compatible=False), [OURS, RESPONSE_EVENT]))

    assert list(first)[:13] == [*AGENT_COLUMNS[:9], *("metadata", "annotations", "certName"), "occurrenceTime"]
    assert {name: first[name] for name in list(first)[13:]} == {
        "recordedTime": "2026-08-01T01:02:04Z",
        "requestTime": "2026-08-01T01:02:02.5Z",
        "method": "POST",
        "path": "/v1/models/m:predict",
        "statusCode": 503,
        "latencyMs": 12.345,
        "firstByteMs": 10.0,
        "contentEncoding": "gzip",
        "truncated": True,
        "sampleRate": 0.1,
        "revision": "sk-00001",
        "requestId": "r,1",
        "extensions": {"grpcstatus": "14", "traceparent": "00-1-2-03"},
    }
    assert not {column.name for column in OUR_COLUMNS[1:]} & set(second)


def test_our_csv_columns_come_after_the_agents() -> None:
    text = csv_file(records(compatible=False), [OURS, RESPONSE_EVENT]).decode()
    reader = csv.DictReader(StringIO(text, newline=""))
    first, second = reader

    assert reader.fieldnames == [*AGENT_COLUMNS, SKIP_VERIFY, *(column.name for column in OUR_COLUMNS), EXTENSIONS]
    assert (first["occurrenceTime"], first["statusCode"], first["latencyMs"]) == (
        "2026-08-01T01:02:03.123456789Z",
        "503",
        "12.345",
    )
    assert (first["requestId"], first["truncated"]) == ("r,1", "true")
    assert (second["statusCode"], second["truncated"], second["extensions"]) == ("", "false", "")


def test_parquet_has_the_agents_schema_and_values() -> None:
    file = format_of(StoreFormat.PARQUET).file(records(skip_verify=True), [REQUEST_EVENT, RESPONSE_EVENT])
    parquet = pq.ParquetFile(BytesIO(file.body))

    [*texts, last] = [parquet.schema.column(index) for index in range(len(parquet.schema))]
    assert [column.name for column in texts] == list(AGENT_COLUMNS)
    assert {(column.physical_type, column.logical_type.type) for column in texts} == {("BYTE_ARRAY", "STRING")}
    assert (last.name, last.physical_type) == (SKIP_VERIFY, "BOOLEAN")
    assert {column.max_definition_level for column in (*texts, last)} == {0}  # required
    column = parquet.metadata.row_group(0).column(1)
    assert (column.compression, "DELTA_LENGTH_BYTE_ARRAY" in column.encodings) == ("UNCOMPRESSED", True)
    [expected, _] = csv.DictReader(StringIO(csv_file(records(), [REQUEST_EVENT, RESPONSE_EVENT]).decode(), newline=""))
    [row, other] = parquet.read().to_pylist()
    assert row == {**expected, SKIP_VERIFY: True}
    assert (other["bytes"], other["metadata"], other["endpoint"]) == ("", "", "")


def test_our_parquet_columns_are_typed() -> None:
    made = records(compatible=False)
    first = format_of(StoreFormat.PARQUET).file(made, [OURS, RESPONSE_EVENT])
    parquet = pq.ParquetFile(BytesIO(first.body))
    row, other = parquet.read().to_pylist()

    assert parquet.metadata.num_row_groups == 1
    assert row["occurrenceTime"] == datetime(2026, 8, 1, 1, 2, 3, 123456, UTC)
    assert (row["statusCode"], row["latencyMs"], row["truncated"]) == (503, 12.345, True)
    assert json.loads(row["extensions"]) == {"grpcstatus": "14", "traceparent": "00-1-2-03"}
    assert (other["statusCode"], other["recordedTime"], other["truncated"], other["extensions"]) == (None,) * 2 + (
        False,
        None,
    )
    assert first == format_of(StoreFormat.PARQUET).file(made, [OURS, RESPONSE_EVENT])


@pytest.mark.parametrize("extension", ["statuscode", "latencyms", "samplerate", "recordedtime", "metadata"])
@pytest.mark.parametrize("form", list(StoreFormat))
@pytest.mark.parametrize("word", ["?{", "nan", "9" * 30, "1e999", ""])
def test_a_word_that_is_no_number_spoils_no_file(extension: str, form: StoreFormat, word: str) -> None:
    event = OURS.with_extensions(**{extension: word})

    assert format_of(form).file(records(compatible=False), [event]).body


@given(st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable()))
def test_ids_read_back_from_every_format(event_id: str) -> None:
    event = CloudEvent(id=event_id, source=f"http://h/{quote(event_id)}", type=REQUEST)
    made = records(compatible=False)
    [row] = csv.DictReader(StringIO(csv_file(made, [event]).decode(), newline=""), strict=True)

    assert row["id"] == event_id
    assert json.loads(json_file(made, [event]))["id"] == event_id
    [parquet] = pq.read_table(BytesIO(format_of(StoreFormat.PARQUET).file(made, [event]).body)).to_pylist()
    assert parquet["id"] == event_id
