"""The client towards the vendors, over real connections on loopback."""

from __future__ import annotations

import contextlib
import gzip
import logging
import pickle
import re
import socket
import sys
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import httpcore
import pytest
from loopback import Listener, closed_port, response, say, shown, silent_port, within

from providers import http
from providers.base import Call, QueryKey
from providers.errors import (
    BadResponse,
    NoAnswer,
    NotSent,
    ProviderError,
    ResponseTooLarge,
)
from providers.http import HttpClient
from providers.sandbox.asinscope import AsinscopePlan, AsinscopeSandbox
from providers.sandbox.faults import KINDS, Fault
from providers.sandbox.server import SandboxServer
from providers.secret import Secret

KEY = "Zq7Xk9Wm+/=&?#%~é"
CORE = "Zq7Xk9Wm"
"""The part of the key that looks the same in every encoding."""

LOOKUP = "/products/lookup"
PATIENT = Call(method="GET", path=LOOKUP, query=(("asin", "B000000001,B000000002"), ("domain", "com")), deadline_s=60.0)
HASTY = Call(method="GET", path=LOOKUP, query=PATIENT.query, deadline_s=0.4)
WIDE = AsinscopePlan(bucket_capacity=100_000, tokens_per_minute=0, daily_tokens=100_000)


def client_of(url: str, **options: Any) -> HttpClient:
    return HttpClient(url, QueryKey("key"), Secret(KEY), **options)


@pytest.fixture
def sandbox() -> AsinscopeSandbox:
    return AsinscopeSandbox(WIDE, keys={KEY: "active"})


@pytest.fixture
def server(sandbox: AsinscopeSandbox) -> Iterator[SandboxServer]:
    with SandboxServer(sandbox) as running:
        yield running


@pytest.fixture
def client(server: SandboxServer) -> Iterator[HttpClient]:
    with client_of(server.url) as http_client:
        yield http_client


def failure_of(client: HttpClient, call: Call) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        client.send(call)
    return caught.value


def answered(text: bytes, call: Call = PATIENT) -> Any:
    with Listener(say(text)) as listener, client_of(listener.url) as client:
        return client.send(call)


# --- the deadline bounds the whole answer

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
    stopped = threading.Event()

    def slowly(connection: socket.socket) -> None:
        while not stopped.wait(0.05) and connection.recv(16_384):
            pass

    call = Call(method="POST", path="/batch", json="x" * 40_000_000, deadline_s=1.0)
    with Listener(slowly) as listener, client_of(listener.url) as client, within(20.0):
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


# --- faults, and what they say about what was spent


def test_connection_refused_is_not_sent() -> None:
    with client_of(f"http://127.0.0.1:{closed_port()}") as client:
        error = failure_of(client, PATIENT)
    assert (type(error), error.consumed, error.observations, error.http_status) == (NotSent, {}, (), None)


@pytest.mark.parametrize("host", ["vendor.invalid", "a" * 64 + ".invalid", "a..b.invalid"])
def test_a_name_without_address_is_not_sent(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    def unknown(name: str, *_: Any, **__: Any) -> Any:
        name.encode("idna")
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with client_of(f"http://{host}") as client:
        error = failure_of(client, PATIENT)
    assert (type(error), error.consumed) == (NotSent, {})


@pytest.mark.parametrize("kind", ["reset", "close", "truncated"])
@pytest.mark.parametrize(("when", "charged"), [("before", 0), ("after", 2)])
def test_cut_off_answers_are_no_answer_whether_or_not_they_were_counted(
    client: HttpClient, sandbox: AsinscopeSandbox, kind: Any, when: Any, charged: int
) -> None:
    sandbox.faults.add(Fault(kind, when=when))
    error = failure_of(client, PATIENT)
    assert type(error) is NoAnswer
    assert (error.consumed, error.observations, error.http_status) == (None, (), None)
    assert sandbox.ledger.consumed() == charged
    assert client.send(PATIENT).status == 200


@pytest.mark.parametrize(
    "text",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    ],
    ids=["not-http", "no-status", "negative-length", "two-lengths", "endless-header", "broken-chunk"],
)
def test_what_is_not_http_is_no_answer(text: bytes) -> None:
    with pytest.raises(NoAnswer) as caught:
        answered(text)
    assert caught.value.consumed is None


def test_a_tls_handshake_that_never_ends_is_not_sent() -> None:
    with silent_tls() as port, client_of(f"https://127.0.0.1:{port}") as client, within(10.0):
        error = failure_of(client, HASTY)
    assert (type(error), error.consumed) == (NotSent, {})


@contextlib.contextmanager
def silent_tls() -> Iterator[int]:
    """Accepts connections (the kernel does) and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield int(listening.getsockname()[1])


def test_a_server_without_tls_is_not_sent_and_never_sees_the_key() -> None:
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                seen.append(connection.recv(65_536))
                connection.sendall(response(status="400 Bad Request"))

        serving = pool.submit(answer)
        with client_of(f"https://127.0.0.1:{listening.getsockname()[1]}") as client:
            error = failure_of(client, PATIENT)
        serving.result(30.0)
    assert (type(error), error.consumed) == (NotSent, {})
    assert CORE.encode() not in b"".join(seen)


@pytest.mark.parametrize("status", [200, 204, 304, 400, 404, 429, 500, 599, 999])
def test_every_status_is_an_answer(status: int) -> None:
    reply = answered(response(b"" if status in {204, 304} else b'{"a":1}', f"{status} Whatever", X_Name="Value"))
    assert (reply.status, reply.headers["x-name"]) == (status, "Value")
    assert reply.body == (b"" if status in {204, 304} else b'{"a":1}')


def test_every_error_of_the_lower_layer_is_mapped() -> None:
    """An error class that a new httpcore brings is decided upon, not let through with its frames."""
    exempt = {httpcore.ConnectionNotAvailable: "the pool catches it itself and takes another connection"}
    classes = {item for item in vars(httpcore).values() if isinstance(item, type) and issubclass(item, Exception)}
    assert len(classes) >= 15
    mapped = {item for item in classes if issubclass(item, (*http._NOT_SENT, *http._NO_ANSWER))}
    assert classes - mapped == set(exempt)
    assert all(exempt.values())


def test_errors_before_a_connection_are_exactly_the_not_sent_ones() -> None:
    assert {item.__name__ for item in http._NOT_SENT} == {
        "ConnectError",
        "ConnectTimeout",
        "PoolTimeout",
        "UnsupportedProtocol",
    }


# --- bounds


def test_a_huge_answer_is_left_off(client: HttpClient, sandbox: AsinscopeSandbox) -> None:
    sandbox.faults.add(Fault("huge", size_bytes=10**12))
    error = failure_of(client, PATIENT)
    assert (type(error), error.code, error.http_status, error.consumed) == (ResponseTooLarge, "too_large", 200, None)
    assert client.send(PATIENT).status == 200


@pytest.mark.parametrize("packed", [False, True])
def test_the_bound_is_exact(packed: bool) -> None:
    body = b"x" * 100_000
    text = response(gzip.compress(body), Content_Encoding="gzip") if packed else response(body)
    call = Call(method="GET", path="/", max_bytes=100_000)
    assert answered(text, call).body == body
    with pytest.raises(ResponseTooLarge, match=r"^more than 99999 bytes$"):
        answered(text, Call(method="GET", path="/", max_bytes=99_999))


def test_the_bound_is_eight_mebibytes_unless_said_otherwise() -> None:
    assert PATIENT.max_bytes == 8 * 1024 * 1024


def test_a_gzip_bomb_is_never_unpacked_in_memory() -> None:
    """A hundred kilobytes that would become a hundred megabytes."""
    bomb = gzip.compress(b"\0" * 100_000_000)
    call = Call(method="GET", path="/", max_bytes=1_000_000)
    with Listener(say(response(bomb, Content_Encoding="gzip"))) as listener, client_of(listener.url) as client:
        tracemalloc.start()
        try:
            with pytest.raises(ResponseTooLarge):
                client.send(call)
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak_bytes < 10_000_000


@pytest.mark.parametrize("encoding", ["gzip, gzip", "gzip,gzip", "deflate", "br", "zstd", "compress"])
def test_only_what_was_asked_for_is_unpacked(encoding: str) -> None:
    text = response(gzip.compress(gzip.compress(b"{}")), Content_Encoding=encoding)
    with pytest.raises(BadResponse, match="not asked for") as caught:
        answered(text)
    assert (caught.value.http_status, caught.value.consumed) == (200, None)


@pytest.mark.parametrize("encoding", ["", "identity", "gzip", "GZIP", " gzip "])
def test_gzip_is_asked_for_and_unpacked(encoding: str) -> None:
    body = b'{"a": 1}'
    sent = gzip.compress(body) if "gzip" in encoding.lower() else body
    with Listener(say(response(sent, Content_Encoding=encoding))) as listener, client_of(listener.url) as client:
        assert client.send(PATIENT).body == body
    assert b"\r\naccept-encoding: gzip\r\n" in listener.heads[0].lower()


def test_gzip_in_chunks_and_with_bytes_behind_it_keeps_the_connection() -> None:
    packed = gzip.compress(b"y" * 300_000) + b"\0" * 512
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(packed[at : at + 7]), packed[at : at + 7]) for at in range(0, 700, 7))
    text = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
    rest = packed[700:]
    text += b"%x\r\n%b\r\n0\r\n\r\n" % (len(rest), rest)
    with Listener(say(text)) as listener, client_of(listener.url) as client:
        assert [client.send(PATIENT).body for _ in range(2)] == [b"y" * 300_000] * 2
    assert listener.connections == 1


def test_an_empty_body_that_calls_itself_gzip_is_empty() -> None:
    assert answered(response(b"", Content_Encoding="gzip")).body == b""


@pytest.mark.parametrize(
    "packed",
    [
        b"no gzip at all",
        gzip.compress(b"x" * 1000)[:-9],
        gzip.compress(b"x" * 1000)[:12],
        gzip.compress(b"x" * 1000)[:-8] + b"\0" * 8,
        zlib.compress(b"x" * 1000),
    ],
    ids=["garbage", "cut-short", "cut-at-start", "wrong-checksum", "zlib"],
)
def test_a_broken_gzip_body_is_a_bad_response(packed: bytes) -> None:
    with pytest.raises(BadResponse, match=r"^the answer's compressed body cannot be unpacked$") as caught:
        answered(response(packed, Content_Encoding="gzip"))
    assert (type(caught.value), caught.value.http_status, caught.value.consumed) == (BadResponse, 200, None)


# --- redirects, cookies, proxies: the key goes to one place only


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 Temporary", "308 Permanent"])
def test_redirects_are_answers_and_reach_nobody(status: str) -> None:
    with Listener(say(response())) as other:
        location = f"{other.url}/products/lookup?key={quote(KEY, safe='')}"
        reply = answered(response(status=status, Location=location))
    assert (reply.status, reply.body) == (int(status[:3]), b"{}")
    assert CORE not in repr(dict(reply.headers))
    assert (other.connections, other.heads) == (0, [])


@pytest.mark.parametrize("location", ["http://[bad", "https://h:port/", "//", "\x01", "http://" + "é" * 70, ""])
def test_a_redirect_to_nowhere_is_an_answer_too(location: str) -> None:
    text = b"HTTP/1.1 302 Found\r\nContent-Length: 2\r\nLocation: " + location.encode() + b"\r\n\r\n{}"
    reply = answered(text)
    assert (reply.status, reply.body) == (302, b"{}")


def test_cookies_are_not_kept() -> None:
    text = response(Set_Cookie="session=abc; Path=/")
    with Listener(say(text)) as listener, client_of(listener.url) as client:
        for _ in range(2):
            client.send(PATIENT)
    assert len(listener.heads) == 2
    assert not any(b"cookie" in head.lower() for head in listener.heads)


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with Listener(say(response())) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert answered(response(b'{"direct": 1}')).body == b'{"direct": 1}'
    assert proxy.connections == 0


# --- the key: on the wire, nowhere else


def test_the_key_travels_as_a_percent_encoded_query_parameter() -> None:
    with Listener(say(response())) as listener, client_of(listener.url + "/base/") as client:
        client.send(PATIENT)
        client.send(Call(method="GET", path="/account/tokens"))
    lines = [head.split(b"\r\n")[0].decode() for head in listener.heads]
    encoded = quote(KEY, safe="~")
    assert lines == [
        f"GET /base/products/lookup?asin=B000000001%2CB000000002&domain=com&key={encoded} HTTP/1.1",
        f"GET /base/account/tokens?key={encoded} HTTP/1.1",
    ]
    for head in listener.heads:
        assert head.count(CORE.encode()) == 1
        assert re.findall(rb"(?im)^user-agent: (.*)\r$", head) == [b"tidegate"]
        assert re.findall(rb"(?im)^accept: (.*)\r$", head) == [b"application/json"]


def test_a_caller_cannot_replace_the_key(client: HttpClient) -> None:
    call = Call(method="GET", path="/account/tokens", query=(("key", "another"),))
    assert client.send(call).status == 200


class Keeper(logging.Handler):
    """Keeps every record."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    """Every record of every logger, DEBUG included."""
    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in list(logging.root.manager.loggerDict))]
    before = [(logger, logger.level, logger.propagate, logger.disabled) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.propagate, logger.disabled = True, False
    keeper = Keeper()
    logging.getLogger().addHandler(keeper)
    yield keeper.records
    logging.getLogger().removeHandler(keeper)
    for logger, level, propagate, disabled in before:
        logger.setLevel(level)
        logger.propagate, logger.disabled = propagate, disabled


def everything(records: list[logging.LogRecord], error: BaseException | None = None) -> str:
    lines = [f"{record.getMessage()} {vars(record)!r}" for record in records]
    return "\n".join([*lines, shown(error)])


def test_the_key_is_in_no_log_record(client: HttpClient, records: list[logging.LogRecord]) -> None:
    client.send(PATIENT)
    names = {record.name for record in records}
    assert {"httpx", "httpcore.connection", "httpcore.http11"} <= names, "the lower layers did speak"
    assert CORE not in everything(records)


def test_the_key_is_in_no_log_record_where_the_vendor_repeats_it(records: list[logging.LogRecord]) -> None:
    echo = f"/products/lookup?key={quote(KEY, safe='')}"
    answered(response(b"{}", "302 Found", Location=f"https://vendor.invalid{echo}", X_Request=echo))
    assert "X-Request" in everything(records)
    assert CORE not in everything(records)


def fault_of(kind: Any, when: Any) -> Fault:
    return Fault(kind, when=when, seconds=600.0, interval_s=0.05, size_bytes=10**9, body=_body_of(kind))


def _body_of(kind: str) -> str | None:
    return "x" * 10_000 if kind in {"drip", "drip_headers"} else None


FAILS = {
    "latency": NoAnswer,
    "reset": NoAnswer,
    "close": NoAnswer,
    "truncated": NoAnswer,
    "huge": ResponseTooLarge,
    "drip": NoAnswer,
    "hang": NoAnswer,
    "drip_headers": NoAnswer,
}
ANSWERS = {"status": 500, "html": 200, "broken_json": 200, "wrong_content_type": 200, "nested": 200}


def test_every_kind_of_fault_is_looked_at() -> None:
    assert sorted([*FAILS, *ANSWERS]) == sorted(KINDS)


@pytest.mark.parametrize("kind", sorted(FAILS))
@pytest.mark.parametrize("when", ["before", "after"])
def test_the_key_shows_in_nothing_that_a_fault_leaves_behind(
    client: HttpClient, sandbox: AsinscopeSandbox, records: list[logging.LogRecord], kind: str, when: str
) -> None:
    """Log records, message, ``repr``, fields, traceback with variables, chained errors, pickle."""
    sandbox.faults.add(fault_of(kind, when))
    with within(10.0):
        error = failure_of(client, HASTY if FAILS[kind] is NoAnswer else PATIENT)
    assert type(error) is FAILS[kind]
    assert (error.__cause__, error.__context__) == (None, None)
    assert CORE not in everything(records, error)
    assert CORE.encode() not in pickle.dumps(error)


@pytest.mark.parametrize("kind", sorted(ANSWERS))
def test_the_key_shows_in_no_log_record_of_a_wrong_answer(
    client: HttpClient, sandbox: AsinscopeSandbox, records: list[logging.LogRecord], kind: str
) -> None:
    sandbox.faults.add(fault_of(kind, "before"))
    assert client.send(PATIENT).status == ANSWERS[kind]
    assert CORE not in everything(records)


def test_the_key_shows_in_nothing_where_no_connection_is_made(records: list[logging.LogRecord]) -> None:
    with client_of(f"http://127.0.0.1:{closed_port()}") as client:
        error = failure_of(client, PATIENT)
    assert (error.__cause__, error.__context__) == (None, None)
    assert CORE not in everything(records, error)


def test_no_frame_of_the_lower_layers_is_kept(client: HttpClient, sandbox: AsinscopeSandbox) -> None:
    sandbox.faults.add(Fault("reset"))
    error = failure_of(client, PATIENT)
    frames, trace = [], error.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame.f_globals["__name__"])
        trace = trace.tb_next
    assert frames[-1] == "providers.http"
    assert not any(name.startswith(("httpx", "httpcore", "h11")) for name in frames)


def test_a_client_does_not_show_its_key(client: HttpClient) -> None:
    assert CORE not in repr(client) + repr(vars(client))


# --- connections


def test_connections_are_used_again() -> None:
    with Listener(say(response())) as listener, client_of(listener.url) as client:
        assert [client.send(PATIENT).status for _ in range(5)] == [200] * 5
    assert (listener.connections, len(listener.heads)) == (1, 5)


def test_a_connection_that_the_vendor_closed_meanwhile_is_not_used_again() -> None:
    closed = threading.Event()

    def once(connection: socket.socket) -> None:
        connection.sendall(response())
        connection.shutdown(socket.SHUT_RDWR)
        closed.set()

    with Listener(once) as listener, client_of(listener.url) as client:
        for _ in range(3):
            assert client.send(PATIENT).status == 200
            assert closed.wait(30.0)
            closed.clear()
    assert (listener.connections, len(listener.heads)) == (3, 3)


def test_a_vendor_that_comes_back_is_found_again(server: SandboxServer, client: HttpClient) -> None:
    assert client.send(PATIENT).status == 200
    server.stop()
    assert isinstance(failure_of(client, PATIENT), NotSent | NoAnswer)
    server.start()
    assert client.send(PATIENT).status == 200


def test_many_threads_share_a_client_and_each_gets_its_own_answer(
    server: SandboxServer, sandbox: AsinscopeSandbox
) -> None:
    """None is lost for want of a connection, or because one is closed under it: each would have been paid for."""

    def ask(number: int) -> bool:
        asin = f"B{number:09d}"
        reply = client.send(Call(method="GET", path=LOOKUP, query=(("asin", asin),), deadline_s=60.0))
        return bool(reply.json_object()["items"][0]["asin"] == asin)

    with client_of(server.url, max_connections=8) as client, ThreadPoolExecutor(32) as pool:
        assert all(pool.map(ask, range(1500)))
    assert (len(sandbox.ledger.entries()), sandbox.ledger.consumed()) == (1500, 1500)


def test_one_threads_deadline_is_not_anothers(client: HttpClient, sandbox: AsinscopeSandbox) -> None:
    """Half of the requests hang until their deadline, the others have a minute."""
    sandbox.faults.add(Fault("hang", on="/account/tokens", times=None))
    hanging = Call(method="GET", path="/account/tokens", deadline_s=0.3)

    def ask(number: int) -> str:
        try:
            return str(client.send(hanging if number % 2 else PATIENT).status)
        except ProviderError as error:
            return type(error).__name__

    with ThreadPoolExecutor(16) as pool, within(30.0):
        assert list(pool.map(ask, range(64))) == ["200", "NoAnswer"] * 32


def test_no_more_connections_than_allowed_and_each_comes_back() -> None:
    """Whatever goes wrong, the connection's place is free afterwards."""
    answers = [
        response(),
        response(b"x" * 100),
        b"nothing HTTP\r\n\r\n",
        response(b"{}", Content_Encoding="br"),
        response(b"{}", Content_Encoding="gzip"),
    ]
    turn = iter(answers * 4)

    def answer(connection: socket.socket) -> None:
        connection.sendall(next(turn))

    call = Call(method="GET", path="/", max_bytes=50, deadline_s=60.0)
    seen = []
    with Listener(answer) as listener, client_of(listener.url, max_connections=2) as client:
        for _ in range(len(answers) * 4):
            try:
                seen.append(client.send(call).status)
            except ProviderError as error:
                seen.append(type(error).__name__)
    assert seen == [200, "ResponseTooLarge", "NoAnswer", "BadResponse", "BadResponse"] * 4


def test_closing_ends_the_connections() -> None:
    ended = threading.Event()

    def until_the_end(connection: socket.socket) -> None:
        connection.sendall(response())
        if not connection.recv(1):
            ended.set()

    with Listener(until_the_end) as listener:
        with client_of(listener.url) as client:
            client.send(PATIENT)
            assert not ended.is_set()
        assert ended.wait(30.0)


# --- base URLs


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.vendor.invalid",
        "//api.vendor.invalid",
        "ftp://api.vendor.invalid",
        "file:///etc/passwd",
        "http://",
        "http:///path",
        "http:host",
        "http://user@host",
        "http://user:word@host",
        "http://:word@host",
        "http://host?",
        "http://host/?",
        "http://host/path?x=1",
        "http://host#",
        "http://host/#part",
        "http://host:port",
        "http://host:99999",
        "http://host:0",
        "http://host:-1",
        "http://[::1",
        "http://ho st",
        "http://host/pa th",
        "http://host\n",
        " http://host",
        "http://host\\path",
    ],
)
def test_base_urls_that_are_none(url: str) -> None:
    with pytest.raises(ValueError, match=r"^a base URL is http\(s\)://host") as caught:
        client_of(url)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


@pytest.mark.parametrize(
    "url",
    ["http://host", "HTTPS://Host/", "http://host:8080/a/b", "http://[::1]:80", "http://127.0.0.1", "http://é.eu"],
)
def test_base_urls(url: str) -> None:
    client_of(url).close()


def test_nothing_is_sent_before_the_first_call() -> None:
    with Listener(say(response())) as listener, client_of(listener.url):
        time.sleep(0)
    assert listener.connections == 0
