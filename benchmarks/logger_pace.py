"""A paced load: so many requests a second, each timed from when it was due, whatever the ones before it took."""

import asyncio
import json
import sys
import time
from pathlib import Path

import uvloop

from wayside.eventing.http.client import HttpClient
from wayside.eventing.http.message import JSON
from wayside.eventing.http.url import Url


async def pace(url: str, body: bytes, rate: float, seconds: float) -> list[float]:
    """The seconds that each request took, in order of size. Any answer that is no 2xx ends it."""
    client, target = HttpClient(idle_limit=64), Url.parse(url)
    started = time.perf_counter()
    took_s: list[float] = []

    async def ask(due: float) -> None:
        answer = await client.send(b"POST", target, [JSON], body, timeout_s=30)
        if not 200 <= answer.status < 300:
            raise SystemExit(f"{url} answered {answer.status}")
        took_s.append(time.perf_counter() - due)

    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            due = started + number / rate
            await asyncio.sleep(due - time.perf_counter())
            group.create_task(ask(due))
    await client.close()
    return sorted(took_s)


def main(url: str, body: str, rate: str, seconds: str) -> None:
    """Prints a line of JSON: requests, elapsed_us, p50_us, p99_us, refused, broken, as logger_load.lua does."""
    took_s = uvloop.run(pace(url, Path(body).read_bytes(), float(rate), float(seconds)))
    p50, p99 = (round(took_s[int(share * (len(took_s) - 1))] * 1e6) for share in (0.5, 0.99))
    seen = {"requests": len(took_s), "elapsed_us": round(float(seconds) * 1e6), "p50_us": p50, "p99_us": p99}
    print(json.dumps({**seen, "refused": 0, "broken": 0}))


if __name__ == "__main__":
    main(*sys.argv[1:])
