"""The deadline bounds the whole of a request, over real connections on loopback."""

from __future__ import annotations

import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from loopback import Listener, response, say, silent_port, within
from vendor_client import HASTY, LOOKUP, PATIENT, client_of, failure_of

from providers import http
from providers.base import Call
from providers.errors import NoAnswer, NotSent
from providers.http import HttpClient
from providers.sandbox.asinscope import AsinscopeSandbox
from providers.sandbox.faults import Fault
from providers.sandbox.server import SandboxServer

SLOW_FAULTS = [
    Fault("drip", body="x" * 10_000, interval_s=0.05),
    Fault("drip_headers", headers={"X-Pad": "x" * 10_000}, interval_s=0.05),
    Fault("hang"),
    Fault("latency", seconds=600.0),
]


@pytest.mark.parametrize("fault", SLOW_FAULTS, ids=lambda fault: fault.kind)
def test_the_deadline_ends_an_answer_that_would_take_minutes(
    client: HttpClient, sandbox: AsinscopeSandbox, fault: Fault
) -> None:
    sandbox.faults.add(fault)
    with within(10.0):
        error = failure_of(client, HASTY)
    assert type(error) is NoAnswer
    assert (error.consumed, error.observations, error.http_status, error.retry_in_s) == (None, (), None, None)
    assert client.send(PATIENT).status == 200, "neither the deadline nor the connection is left over"


def test_the_deadline_ends_a_stream_of_interim_answers() -> None:
    stopped = threading.Event()

    def forever(connection: socket.socket) -> None:
        while not stopped.wait(0.02):
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    with Listener(forever) as listener, client_of(listener.url) as client, within(10.0):
        assert type(failure_of(client, HASTY)) is NoAnswer
        stopped.set()


def test_the_deadline_ends_a_request_that_is_read_too_slowly() -> None:
    """Read at 1.5 MB a second, each part soon enough for the next: the whole would take half a minute."""
    stopped = threading.Event()

    def slowly(connection: socket.socket) -> None:
        while not stopped.wait(0.05) and connection.recv(75_000):
            pass

    call = Call(method="POST", path="/batch", json="x" * 40_000_000, deadline_s=2.5)
    with Listener(slowly) as listener, client_of(listener.url) as client, within(15.0):
        error = failure_of(client, call)
        stopped.set()
    assert (type(error), error.consumed) == (NoAnswer, None)


def test_the_deadline_bounds_the_wait_for_a_place_in_the_pool(
    server: SandboxServer, sandbox: AsinscopeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "CONNECT_TIMEOUT_S", 100.0)
    arrived, go_on = threading.Event(), threading.Event()

    def hold(connection: socket.socket) -> None:
        arrived.set()
        go_on.wait(60.0)
        connection.sendall(response())

    with (
        Listener(hold) as listener,
        client_of(listener.url, max_connections=1) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        first = pool.submit(client.send, PATIENT)
        assert arrived.wait(30.0)
        with within(10.0):
            error = failure_of(client, HASTY)
        go_on.set()
        assert first.result(30.0).status == 200
    assert (type(error), error.consumed, len(listener.heads)) == (NotSent, {}, 1)


many_loopback_addresses = pytest.mark.skipif(sys.platform != "linux", reason="needs 127.0.0.2 and so on")


def name_vendor(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let the name ``vendor.invalid`` have these addresses."""
    look_up = socket.getaddrinfo

    def found(host: str, *rest: Any, **named: Any) -> list[Any]:
        hosts = addresses if host == "vendor.invalid" else (host,)
        return [entry for address in hosts for entry in look_up(address, *rest, **named)]

    monkeypatch.setattr(socket, "getaddrinfo", found)


@many_loopback_addresses
@pytest.mark.parametrize("count", [1, 40])
def test_the_deadline_bounds_the_attempts_at_all_addresses_together(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """A name with forty dead addresses does not take forty timeouts."""
    addresses = [f"127.0.0.{last}" for last in range(1, count + 1)]
    monkeypatch.setattr(http, "CONNECT_TIMEOUT_S", 100.0)
    name_vendor(monkeypatch, *addresses)
    with silent_port(*addresses) as port, client_of(f"http://vendor.invalid:{port}") as client, within(10.0):
        error = failure_of(client, HASTY)
    assert (type(error), error.consumed) == (NotSent, {})


@many_loopback_addresses
def test_an_address_that_is_dead_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    name_vendor(monkeypatch, "127.0.0.2", "127.0.0.1")
    monkeypatch.setattr(http, "CONNECT_TIMEOUT_S", 100.0)
    call = Call(method="GET", path=LOOKUP, deadline_s=4.0)
    with (
        Listener(say(response())) as listener,
        silent_port("127.0.0.2", port=listener.port),
        client_of(f"http://vendor.invalid:{listener.port}") as client,
    ):
        assert client.send(call).status == 200


def test_a_deadline_that_is_over_before_the_start_sends_nothing(client: HttpClient, sandbox: AsinscopeSandbox) -> None:
    error = failure_of(client, Call(method="GET", path=LOOKUP, deadline_s=0.0))
    assert (type(error), error.consumed, sandbox.ledger.entries()) == (NotSent, {}, ())
