"""The API key is nowhere: with faults on and logs at DEBUG, in no log, result, event, Redis value or page."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import pytest
from fleet import KEY, LOOKUP, QUEUE, TOKENS, Fleet, MakeFleet, free_port, until

from providers.sandbox.asinscope import AsinscopePlan
from providers.sandbox.faults import Fault
from providers.sandbox.vendor import KeyState

PLAN = AsinscopePlan(bucket_capacity=1_000, tokens_per_minute=60_000, daily_tokens=10_000)
AWKWARD = "key/with+odd&signs=%C3"
"""A key that looks different in a URL."""
PAGES = ("/", "/workers", "/tasks", "/broker", "/metrics", "/api/tasks", "/api/workers", "/api/queues/length")


@contextmanager
def events(fleet: Fleet) -> Iterator[list[str]]:
    """What Celery's event stream says meanwhile, as text."""
    seen: list[str] = []
    stopping = threading.Event()

    def receive() -> None:
        with fleet.producer.connection() as connection:
            receiver = fleet.producer.events.Receiver(
                connection, handlers={"*": lambda event: seen.append(repr(event))}
            )
            while not stopping.is_set():
                try:
                    receiver.capture(limit=None, timeout=0.5, wakeup=False)
                except TimeoutError:
                    continue

    thread = threading.Thread(target=receive)
    thread.start()
    try:
        yield seen
    finally:
        stopping.set()
        thread.join()


@contextmanager
def flower(fleet: Fleet) -> Iterator[tuple[httpx.Client, list[str]]]:
    """Flower on a port, and its log."""
    port, log = free_port(), fleet.folder / "flower.log"
    command = [sys.executable, "-m", "celery", "-A", "workers", "flower", f"--port={port}", "--address=127.0.0.1"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--logging=debug"],
            cwd=fleet.folder,
            env={**fleet.environment, "FLOWER_UNAUTHENTICATED_API": "true"},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    lines: list[str] = []
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as client:
            until(lambda: answers(client), 20, "Flower answers")
            yield client, lines
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(15)
        lines.append(log.read_text(errors="replace"))


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthcheck").status_code == 200
    except httpx.TransportError:
        return False


def everything_in(fleet: Fleet) -> str:
    """All keys and values of the fleet's Redis, as text."""
    client = fleet.redis.client
    readers: dict[bytes, Callable[[bytes], Any]] = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        b"stream": client.xrange,
    }
    return "\n".join(f"{key!r} {readers[client.type(key)](key)!r}" for key in client.scan_iter())


def of_every_kind(fleet: Fleet, key: str) -> list[str]:
    """Messages that meet a vendor that repeats the key in each kind of fault; returns their ids."""
    faults = [
        Fault(kind="status", status=429, body={"error": f"Not enough tokens for {key}"}, on=LOOKUP),
        Fault(kind="status", status=500, body=f"the URL was /products/lookup?key={quote_plus(key)}", on=LOOKUP),
        Fault(kind="status", status=418, body={"error": f"key={key} key={quote(key)}"}, on=LOOKUP),
        Fault(kind="html", status=503, body=f"<html>key={key}</html>", on=LOOKUP),
        Fault(kind="status", status=200, body=f"no JSON, but {key} and {quote(key, safe='')}", on=LOOKUP),
        Fault(kind="status", status=400, body={"error": f"Malformed asin, {key}"}, on=LOOKUP),
        Fault(kind="reset", on=LOOKUP),
        Fault(kind="status", status=302, headers={"Location": f"/elsewhere?key={quote(key)}"}, on=LOOKUP),
        Fault(kind="status", status=500, body=key, on=TOKENS),
    ]
    ids = []
    for fault in faults:
        fleet.sandbox.faults.replace([fault])
        ids.append(fleet.send())
        fleet.result_of(ids[-1], 30)
    fleet.sandbox.faults.replace([])
    return ids


@pytest.mark.parametrize("key", [pytest.param(KEY, marks=pytest.mark.slow), AWKWARD], ids=["plain", "awkward"])
def test_the_key_is_nowhere_to_be_seen(make_fleet: MakeFleet, key: str) -> None:
    environment = {"ASINSCOPE_API_KEY": key}
    fleet = make_fleet(PLAN, nodes=0, keys={key: "active"}, environment=environment, timing="probe_min_s=0.5")
    forms = {key, quote(key, safe=""), quote_plus(key), quote(key)}
    with flower(fleet) as (client, flower_log), events(fleet) as seen:
        fleet.add(1, level="DEBUG")
        ids = of_every_kind(fleet, key)
        ids.append(fleet.send(kwargs={"asin": []}))
        fleet.push_raw(b"no message")
        fleet.result_of(ids[-1])
        fleet.sandbox.set_key(key, KeyState.REVOKED)
        waits = fleet.send()
        until(lambda: fleet.closed() == ["account: paused"])
        until(lambda: fleet.lists() == {QUEUE: 1})
        in_redis = everything_in(fleet)
        until(lambda: any("task-failed" in event for event in seen) and any("task-retried" in event for event in seen))
        pages = {path: client.get(path) for path in [*PAGES, *(f"/task/{task_id}" for task_id in [*ids, waits])]}
        pages["/worker"] = client.get(f"/worker/{next(iter(client.get('/api/workers?refresh=1').json()))}")
    places = {
        "log": fleet.nodes[0].text,
        "results": json.dumps(fleet.results()),
        "events": "\n".join(seen),
        "Redis": in_redis,
        "Flower's log": flower_log[0],
        **{path: page.text for path, page in pages.items()},
    }
    assert "[redacted]" in places["log"]
    assert "[redacted]" in places["results"]
    assert [place for (place, text), form in itertools.product(places.items(), forms) if form in text] == []
    assert {path: page.status_code for path, page in pages.items() if page.status_code != 200} == {}
    assert ids[0] in places["/tasks"] + places["/api/tasks"]
    assert "asinscope" in places["/broker"]
    assert "DEBUG   httpcore" in places["log"]
