"""gRPC through the splice, by gRPC's own client and server: every call passes, and `ModelInfer` is recorded."""

import asyncio

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_stage import GrpcStage, grpc_spliced, infer_request, infer_response

from wayside.eventing.payloads.decode import decode
from wayside.eventing.payloads.messages import message_of
from wayside.eventing.payloads.payload import Kind, Protocol
from wayside.logger.settings import Capture, Upstream


@pytest.fixture
async def calls():
    async with grpc_spliced() as stage:
        yield stage


async def test_an_inference_is_recorded_as_it_is(calls: GrpcStage) -> None:
    request = infer_request(3, id="7")
    metadata = (("x-request-id", "abc"), ("traceparent", f"00-{'a' * 32}-{'b' * 16}-01"))
    assert await calls.infer(request, metadata=metadata) == infer_response(3)
    asked, answered = await calls.kept.wait_for(2)
    assert asked.data == request
    assert answered.data == infer_response(3)
    assert asked.id == answered.id
    assert (asked.datacontenttype, answered.datacontenttype) == ("application/grpc", "application/grpc")
    said = answered.extensions
    assert (said["grpcstatus"], said["statuscode"], said["method"]) == ("0", "200", "POST")
    assert said["path"] == "/inference.GRPCInferenceService/ModelInfer"
    assert (said["requestid"], said["traceparent"]) == ("abc", metadata[1][1])
    assert "contentencoding" not in said


async def test_the_payload_reader_reads_what_was_recorded(calls: GrpcStage) -> None:
    await calls.infer(infer_request(3))
    payloads = [decode(message_of(event)) for event in await calls.kept.wait_for(2)]
    assert [payload.protocol for payload in payloads] == [Protocol.V2_GRPC] * 2
    assert [payload.kind for payload in payloads] == [Kind.REQUEST, Kind.RESPONSE]
    assert [payload.columns[0].shape for payload in payloads] == [(3, 4), (3, 4)]


async def test_compressed_messages_are_marked_and_read() -> None:
    async with grpc_spliced(compression=grpc.Compression.Gzip) as calls:
        await calls.infer(infer_request(200), compression=grpc.Compression.Gzip)
        events = await calls.kept.wait_for(2)
    assert [event.extensions["contentencoding"] for event in events] == ["gzip", "gzip"]
    assert [decode(message_of(event)).columns[0].shape for event in events] == [(200, 4), (200, 4)]


async def test_a_message_too_small_to_compress_is_not_called_compressed() -> None:
    """The client names gzip, and leaves the message as it is, for it would only grow."""
    async with grpc_spliced() as calls:
        await calls.infer(infer_request(0), compression=grpc.Compression.Gzip)
        asked, _ = await calls.kept.wait_for(2)
    assert asked.data == infer_request(0)
    assert "contentencoding" not in asked.extensions


async def test_an_error_is_recorded_with_its_status(calls: GrpcStage) -> None:
    with pytest.raises(grpc.RpcError) as failed:
        await calls.infer(infer_request(id="missing"))
    assert failed.value.code() is grpc.StatusCode.NOT_FOUND
    _, answered = await calls.kept.wait_for(2)
    assert (answered.extensions["grpcstatus"], answered.data) == ("5", b"")
    assert "no such model" not in str(answered.extensions)


async def test_a_large_message_passes_under_flow_control(calls: GrpcStage) -> None:
    rows = (4 << 20) // 16
    assert await calls.infer(infer_request(rows)) == infer_response(rows)
    asked, answered = await calls.kept.wait_for(2)
    assert (asked.data, answered.data) == (infer_request(rows), infer_response(rows))
    assert calls.recorder.budget.used_bytes == 0


async def test_a_message_over_the_limit_is_recorded_cut_off_and_marked() -> None:
    async with grpc_spliced(Capture(body_bytes=1_000)) as calls:
        await calls.infer(infer_request(1_000))
        asked, answered = await calls.kept.wait_for(2)
    assert asked.data == infer_request(1_000)[:1_000]
    assert (asked.extensions["truncated"], answered.extensions["truncated"]) == ("true", "true")


async def test_a_hundred_calls_at_once_on_one_connection(calls: GrpcStage) -> None:
    call = calls.method("unary_unary", "ModelInfer")

    def all_at_once() -> list[bytes]:
        futures = [call.future(infer_request(rows, id=str(rows)), timeout=20) for rows in range(1, 101)]
        return [future.result() for future in futures]

    assert await asyncio.to_thread(all_at_once) == [infer_response(rows) for rows in range(1, 101)]
    await calls.kept.wait_for(200)
    assert calls.splices.counts.connections == 1
    asked = {event.id: decode(message_of(event)) for event in calls.kept.of("request")}
    answered = {event.id: decode(message_of(event)) for event in calls.kept.of("response")}
    assert {payload.id for payload in asked.values()} == {str(rows) for rows in range(1, 101)}
    assert all(asked[each].columns[0].shape == answered[each].columns[0].shape for each in asked)


async def test_streams_of_every_kind_pass_and_are_not_recorded(calls: GrpcStage) -> None:
    def talk() -> None:
        assert list(calls.method("unary_stream", "Count")(b"5")) == [b"0", b"1", b"2", b"3", b"4"]
        assert calls.method("stream_unary", "AddUp")(iter([b"a", b"bb", b"c" * 100_000])) == b"100003"
        told = [b"%d" % number * 1_000 for number in range(50)]
        assert list(calls.method("stream_stream", "ModelStreamInfer")(iter(told))) == told

    await asyncio.to_thread(talk)
    assert (calls.kept.events, calls.splices.counts.unlogged) == ([], 3)


async def test_health_checks_pass_and_are_not_recorded(calls: GrpcStage) -> None:
    stub = health_pb2_grpc.HealthStub(calls.channel)
    answer = await asyncio.to_thread(stub.Check, health_pb2.HealthCheckRequest(), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert calls.kept.events == []


async def test_a_probe_is_served_and_not_recorded(calls: GrpcStage) -> None:
    assert await calls.infer(infer_request(), metadata=(("k-network-probe", "probe"),)) == infer_response()
    assert (calls.kept.events, calls.recorder.counts.exchanges) == ([], 0)


async def test_a_deadline_is_kept_and_the_request_recorded(calls: GrpcStage) -> None:
    call = calls.method("unary_unary", "ModelInfer")
    with pytest.raises(grpc.RpcError) as failed:
        await asyncio.to_thread(call, infer_request(id="slow"), timeout=0.2)
    assert failed.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    asked, *_ = await calls.kept.wait_for(1)  # the server may find the deadline before the client does, and answer
    assert asked.data == infer_request(id="slow")
    assert await calls.infer(infer_request()) == infer_response()
    async with asyncio.timeout(10):
        while len(calls.kept.of("request")) < 2 or calls.splice.busy:
            await asyncio.sleep(0.002)
    assert calls.recorder.budget.used_bytes == 0


async def test_a_cancelled_call_leaves_nothing_open(calls: GrpcStage) -> None:
    future = calls.method("unary_unary", "ModelInfer").future(infer_request(id="slow"))
    await calls.kept.wait_for(1)
    assert calls.splice.busy
    future.cancel()
    async with asyncio.timeout(10):
        while calls.splice.busy:
            await asyncio.sleep(0.002)
    assert calls.recorder.budget.used_bytes == 0


async def test_keepalive_pings_are_the_peers_own() -> None:
    often = (("grpc.keepalive_time_ms", 50), ("grpc.keepalive_permit_without_calls", 1))
    patient = (("grpc.http2.min_ping_interval_without_data_ms", 10), ("grpc.http2.max_ping_strikes", 0))
    async with grpc_spliced(channel_options=(*often, *patient)) as calls:
        await calls.infer(infer_request())
        passed_s = calls.splice.last_bytes_s
        async with asyncio.timeout(10):
            while calls.splice.last_bytes_s < passed_s + 0.1:  # nobody calls: these are pings
                await asyncio.sleep(0.01)
        assert await calls.infer(infer_request()) == infer_response()
        assert calls.splices.counts.connections == 1


async def test_a_drain_ends_the_connection_and_fails_no_call(calls: GrpcStage) -> None:
    """The client goes on on another connection, as it would before a gRPC server that stops."""
    call = calls.method("unary_unary", "ModelInfer")

    def one_after_another() -> list[bytes]:
        return [call(infer_request(), timeout=10) for _ in range(100)]

    await calls.infer(infer_request())
    first = calls.splice
    talking = asyncio.create_task(asyncio.to_thread(one_after_another))
    await calls.kept.wait_for(20)
    first.drain()
    assert await talking == [infer_response()] * 100
    await calls.kept.wait_for(202)
    async with asyncio.timeout(10):
        while first in calls.splices.peers:
            await asyncio.sleep(0.01)
    assert calls.splices.counts.connections == 2


async def test_a_drain_waits_for_the_call_in_hand(calls: GrpcStage) -> None:
    to_model = calls.method("stream_stream", "ModelStreamInfer")

    def talk(loop: asyncio.AbstractEventLoop) -> list[bytes]:
        def tell():
            yield b"before"
            loop.call_soon_threadsafe(calls.splice.drain)
            yield from (b"after %d" % number for number in range(20))

        return list(to_model(tell(), timeout=10))

    told = await asyncio.to_thread(talk, asyncio.get_running_loop())
    assert told == [b"before", *(b"after %d" % number for number in range(20))]
    await calls.wait_closed()


async def test_without_a_model_the_client_hears_unavailable_at_once_and_does_not_storm() -> None:
    async with grpc_spliced() as calls:
        calls.splices.upstream = Upstream("127.0.0.1", 1)
        with pytest.raises(grpc.RpcError) as failed:
            await calls.infer(infer_request())
        assert calls.splices.counts.unserved <= 2
    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
