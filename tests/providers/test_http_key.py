"""The key is on the wire and nowhere else."""

from __future__ import annotations

import logging
import pickle
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from loopback import Listener, closed_port, response, say, shown, within
from vendor_client import CORE, HASTY, KEY, PATIENT, answered, client_of, failure_of

from providers.base import Call
from providers.errors import NoAnswer, ResponseTooLarge
from providers.http import HttpClient
from providers.sandbox.asinscope import AsinscopeSandbox
from providers.sandbox.faults import KINDS, Fault


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
