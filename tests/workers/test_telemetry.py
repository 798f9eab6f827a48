"""The second line: a key that got into a log record or an error report all the same is scrubbed there."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from providers.secret import Secret
from workers import telemetry

KEY = "tele/metry+key"


@pytest.fixture(autouse=True)
def known_key() -> Secret:
    return Secret(KEY)


@pytest.fixture
def record_factory() -> Iterator[None]:
    before = logging.getLogRecordFactory()
    telemetry.install_log_scrubbing()
    yield
    logging.setLogRecordFactory(before)


@pytest.mark.parametrize("form", [KEY, quote(KEY, safe=""), quote(KEY)])
@pytest.mark.usefixtures("record_factory")
def test_a_log_record_is_scrubbed_as_it_is_made(caplog: pytest.LogCaptureFixture, form: str) -> None:
    logging.getLogger("somebody").warning("GET %s", f"http://x/?key={form}&asin=B0")
    logging.getLogger("somebody").warning(f"key={form}")
    logging.getLogger("somebody").warning("%(key)s", {"key": form})
    assert [record.getMessage() for record in caplog.records] == [
        "GET http://x/?key=[redacted]&asin=B0",
        "key=[redacted]",
        "[redacted]",
    ]
    assert not any(form in repr(vars(record)) for record in caplog.records)


@pytest.mark.usefixtures("record_factory")
def test_a_record_without_a_key_keeps_its_arguments(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("somebody").warning("%s of %d", "one", 2)
    assert caplog.records[0].args == ("one", 2)


@pytest.mark.usefixtures("record_factory")
def test_a_wrong_format_string_is_left_to_logging(caplog: pytest.LogCaptureFixture) -> None:
    record = logging.getLogRecordFactory()("n", logging.INFO, "p", 1, "%d", ("x",), None)
    assert record.args == ("x",)


def test_installing_twice_wraps_once(record_factory: None) -> None:
    once = logging.getLogRecordFactory()
    telemetry.install_log_scrubbing()
    assert logging.getLogRecordFactory() is once


def test_a_traceback_is_scrubbed_in_the_line() -> None:
    record = logging.makeLogRecord({"msg": "failed", "levelno": logging.ERROR})
    try:
        int(f"url=http://x/?key={KEY}")
    except ValueError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    line = telemetry.ScrubbingFormatter("%(message)s").format(record)
    assert "ValueError: invalid literal for int() with base 10: 'url=http://x/?key=[redacted]'" in line
    assert KEY not in line


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    root, factory = logging.getLogger(), logging.getLogRecordFactory()
    handlers, level = root.handlers[:], root.level
    levels = {
        name: logging.getLogger(name).level for name in ("celery", "kombu", "httpx", "celery.app.trace", "tidegate")
    }
    yield
    root.handlers[:], root.level = handlers, level
    logging.setLogRecordFactory(factory)
    for name, value in levels.items():
        logging.getLogger(name).setLevel(value)


@pytest.mark.usefixtures("logging_as_before")
def test_levels() -> None:
    telemetry.configure_logging(logging.INFO)
    assert logging.getLogger("tidegate.pipeline").isEnabledFor(logging.INFO)
    assert not logging.getLogger("httpx").isEnabledFor(logging.INFO)
    assert not logging.getLogger("celery.app.trace").isEnabledFor(logging.WARNING)
    assert logging.getLogger("celery.app.trace").isEnabledFor(logging.ERROR)
    telemetry.configure_logging(logging.DEBUG)
    assert logging.getLogger("httpx").isEnabledFor(logging.DEBUG)
    telemetry.configure_logging(logging.ERROR)
    assert not logging.getLogger("tidegate").isEnabledFor(logging.WARNING)


def test_an_event_is_scrubbed_to_its_last_corner() -> None:
    event = {
        "exception": {"values": [{"value": f"key={KEY}", "stacktrace": {"frames": [{"vars": {"url": quote(KEY)}}]}}]},
        "extra": {KEY: (KEY, 5, None, True)},
        "breadcrumbs": [{"data": {"url": f"http://x?key={KEY}"}}],
    }
    scrubbed = telemetry.scrubbed_event(event)
    assert KEY not in json.dumps(scrubbed)
    assert quote(KEY) not in json.dumps(scrubbed)
    assert scrubbed["extra"] == {"[redacted]": ("[redacted]", 5, None, True)}


class Collector(Transport):
    """A transport that keeps what it is given."""

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        super().__init__(options)
        self.sent: list[str] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.sent.append(envelope.serialize().decode())


@pytest.fixture
def sentry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """Sentry as a node starts it, but for the network."""
    collector, init = Collector(), sentry_sdk.init
    monkeypatch.setattr(
        sentry_sdk, "init", lambda **options: init(**options, transport=collector, default_integrations=True)
    )
    telemetry.start_sentry("https://public@sentry.example/1")
    yield collector
    sentry_sdk.get_client().close(timeout=0)
    sentry_sdk.get_global_scope().set_client(None)


def test_reports_to_sentry_hold_no_key(sentry: Collector) -> None:
    url = f"http://x/?key={quote(KEY, safe='')}"
    logging.getLogger("somebody").warning("asking %s", url)
    sentry_sdk.add_breadcrumb(message=f"asked {url}", data={"url": url})
    try:
        int(f"{url} and {KEY}")
    except ValueError:
        logging.getLogger("somebody").exception("failed with %s", KEY, extra={"url": url})
    with sentry_sdk.start_transaction(name=f"GET {url}", sampled=True), sentry_sdk.start_span(name=url):
        sentry_sdk.capture_message(f"message {KEY}")
    sentry_sdk.flush()
    assert len(sentry.sent) >= 2
    for sent in sentry.sent:
        assert KEY not in sent
        assert quote(KEY, safe="") not in sent
        assert quote(KEY) not in sent
    assert any("[redacted]" in sent and "ValueError" in sent for sent in sentry.sent)
    assert not any('"vars"' in sent for sent in sentry.sent), "frames come without their variables"


@pytest.mark.parametrize("dsn", [None, ""])
def test_without_a_dsn_nothing_is_started(dsn: str | None) -> None:
    telemetry.start_sentry(dsn)
    assert not sentry_sdk.get_client().is_active()
