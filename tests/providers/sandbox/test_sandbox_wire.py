"""Each kind of fault as a real HTTP client meets it."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sandbox_calls import KEY, LOOKUP, asins

from providers.sandbox import wire
from providers.sandbox.asinscope import AsinscopeSandbox
from providers.sandbox.faults import KINDS, Fault
from providers.sandbox.server import SandboxServer

PARAMETERS = {"asin": asins(2)}


def ask(client: httpx.Client) -> httpx.Response:
    return client.get(LOOKUP, params=PARAMETERS)


def raw_answer(server: SandboxServer) -> bytes:
    """Everything the server sends until it closes the connection."""
    address = urlsplit(server.url)
    request = f"GET {LOOKUP}?key={KEY}&asin={asins(2)} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=30.0) as connection:
        connection.sendall(request.encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_every_kind_has_a_player() -> None:
    assert sorted(wire._PLAYERS) == sorted(KINDS)


def test_as_b55_status_500(client: httpx.Client, pro: AsinscopeSandbox) -> None:
    pro.faults.add(Fault("status"))
    response = ask(client)
    assert (response.status_code, response.json()) == (500, {"error": "sandbox fault"})
    assert pro.ledger.consumed() == 0  # AS-Q6
    assert ask(client).status_code == 200


def test_as_b54_status_429_with_text_and_headers(client: httpx.Client, pro: AsinscopeSandbox) -> None:
    body = {"error": "Rate limit exceeded"}
    pro.faults.add(Fault("status", status=429, body=body, headers={"Retry-After": "7"}))
    response = ask(client)
    assert (response.status_code, response.json(), response.headers["Retry-After"]) == (429, body, "7")
    assert pro.ledger.broken_limits() == []


def test_status_with_plain_text_and_a_status_nobody_registered(client: httpx.Client, pro: AsinscopeSandbox) -> None:
    pro.faults.add(Fault("status", status=599, body="gone fishing", headers={"Content-Type": "text/plain"}))
    response = ask(client)
    assert (response.status_code, response.reason_phrase, response.text) == (599, "Unknown", "gone fishing")
    assert response.headers.get_list("Content-Type") == ["text/plain"]


@pytest.mark.parametrize(("when", "charged"), [("before", 0), ("after", 2)])
def test_reset(server: SandboxServer, pro: AsinscopeSandbox, when: Any, charged: int) -> None:
    pro.faults.add(Fault("reset", when=when))
    with pytest.raises(ConnectionResetError):
        raw_answer(server)
    assert pro.ledger.consumed() == charged


def test_reset_as_httpx_sees_it(client: httpx.Client, pro: AsinscopeSandbox) -> None:
    pro.faults.add(Fault("reset"))
    with pytest.raises(httpx.ReadError):
        ask(client)
    assert ask(client).status_code == 200


@pytest.mark.parametrize(("when", "charged"), [("before", 0), ("after", 2)])
def test_close(server: SandboxServer, pro: AsinscopeSandbox, when: Any, charged: int) -> None:
    pro.faults.add(Fault("close", when=when))
    assert raw_answer(server) == b""
    assert pro.ledger.consumed() == charged


@pytest.mark.parametrize(("status", "answered"), [(None, 200), (503, 503)])
def test_html(client: httpx.Client, pro: AsinscopeSandbox, status: int | None, answered: int) -> None:
    pro.faults.add(Fault("html", status=status))
    response = ask(client)
    assert (response.status_code, response.headers["Content-Type"]) == (answered, "text/html; charset=utf-8")
    assert response.text.startswith("<!DOCTYPE html><html>")
    assert pro.ledger.by_status() == {answered: 1}


@pytest.mark.parametrize("when", ["before", "after"])
def test_broken_json(client: httpx.Client, pro: AsinscopeSandbox, when: Any) -> None:
    pro.faults.add(Fault("broken_json", when=when))
    response = ask(client)
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")
    with pytest.raises(json.JSONDecodeError):
        response.json()


def test_truncated(server: SandboxServer, client: httpx.Client, pro: AsinscopeSandbox) -> None:
    pro.faults.add(Fault("truncated", times=2, body="0123456789"))
    with pytest.raises(httpx.RemoteProtocolError, match="received 5 bytes, expected 10"):
        ask(client)
    head, _, body = raw_answer(server).partition(b"\r\n\r\n")
    assert (b"Content-Length: 10" in head.split(b"\r\n"), body) == (True, b"01234")


def test_wrong_content_type(client: httpx.Client, pro: AsinscopeSandbox) -> None:
    pro.faults.add(Fault("wrong_content_type", when="after"))
    response = ask(client)
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.json()["consumedTokens"] == 2


@pytest.mark.parametrize("size_bytes", [2, 3, 65_538, 1_000_000])
def test_huge(client: httpx.Client, pro: AsinscopeSandbox, size_bytes: int) -> None:
    pro.faults.add(Fault("huge", size_bytes=size_bytes))
    response = ask(client)
    assert (len(response.content), response.json()) == (size_bytes, "x" * (size_bytes - 2))


def test_huge_is_streamed_and_ends_when_the_client_leaves(client: httpx.Client, pro: AsinscopeSandbox) -> None:
    pro.faults.add(Fault("huge", size_bytes=10**15))
    with client.stream("GET", LOOKUP, params=PARAMETERS) as response:
        assert response.headers["Content-Length"] == str(10**15)
    assert ask(client).status_code == 200


def test_nested(client: httpx.Client, pro: AsinscopeSandbox) -> None:
    pro.faults.add(Fault("nested"))
    assert ask(client).content == b"[" * 1_000_000 + b"]" * 1_000_000


@pytest.mark.parametrize("kind", ["drip", "drip_headers"])
def test_drip_sends_the_whole_answer_in_the_end(client: httpx.Client, pro: AsinscopeSandbox, kind: Any) -> None:
    pro.faults.add(Fault(kind, body={"slow": True}, interval_s=0.0, headers={"X-Slow": "yes"}))
    response = ask(client)
    assert (response.json(), response.headers["X-Slow"]) == ({"slow": True}, "yes")


def test_drip_sends_headers_at_once_then_one_byte(client: httpx.Client, pro: AsinscopeSandbox) -> None:
    pro.faults.add(Fault("drip", body="abc", interval_s=3600.0))
    with client.stream("GET", LOOKUP, params=PARAMETERS) as response:
        assert (response.status_code, next(response.iter_raw())) == (200, b"a")


def test_drip_headers_sends_one_byte(server: SandboxServer, pro: AsinscopeSandbox) -> None:
    pro.faults.add(Fault("drip_headers", interval_s=3600.0))
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=30.0) as connection:
        connection.sendall(f"GET {LOOKUP} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert connection.recv(65536) == b"H"


@pytest.mark.parametrize(("when", "charged"), [("before", 0), ("after", 2)])
def test_hang(client: httpx.Client, pro: AsinscopeSandbox, when: Any, charged: int) -> None:
    pro.faults.add(Fault("hang", when=when))
    with pytest.raises(httpx.ReadTimeout):
        client.get(LOOKUP, params=PARAMETERS, timeout=0.2)
    assert pro.ledger.consumed() == charged
    assert pro.ledger.by_status() == {0: 1}
    assert ask(client).status_code == 200


def test_latency_fault_gives_the_right_answer(client: httpx.Client, pro: AsinscopeSandbox) -> None:
    pro.faults.add(Fault("latency", seconds=0.01))
    assert ask(client).json()["consumedTokens"] == 2
    (entry,) = pro.ledger.entries()
    assert (entry.fault, entry.latency_s, entry.counted) == ("latency", 0.01, True)
