"""Logs and error reports, with every key scrubbed: the second line behind never having put one in."""

from __future__ import annotations

import logging
from typing import Any

from providers.secret import scrub


def install_log_scrubbing() -> None:
    """Have every log record of this process scrubbed as it is made, message and arguments."""
    make = logging.getLogRecordFactory()
    if getattr(make, "scrubs", False):
        return

    def scrubbed(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            return record  # a wrong format string: logging reports that itself
        clean = scrub(text)
        if clean != text:
            record.msg, record.args = clean, ()
        return record

    scrubbed.scrubs = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(scrubbed)


class ScrubbingFormatter(logging.Formatter):
    """A formatter whose whole output, tracebacks included, is scrubbed."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without any key."""
        return scrub(super().format(record))


def configure_logging(level: int = logging.INFO) -> None:
    """Our own loggers at ``level``, the libraries' at WARNING, one line each, to standard error."""
    install_log_scrubbing()
    handler = logging.StreamHandler()
    handler.setFormatter(ScrubbingFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(min(level, logging.WARNING) if level > logging.DEBUG else level)
    quiet = logging.WARNING if level >= logging.INFO else level
    for name in ("celery", "kombu", "httpx", "httpcore", "amqp", "tornado.access"):
        logging.getLogger(name).setLevel(quiet)
    if level > logging.DEBUG:  # a warning with a traceback for each message that goes back to its queue
        logging.getLogger("celery.app.trace").setLevel(logging.ERROR)
    logging.getLogger("tidegate").setLevel(level)


def start_sentry(dsn: str | None) -> None:
    """Report errors to Sentry where a DSN is set: no local variables, by default no personal data, all scrubbed."""
    if not dsn:
        return
    import sentry_sdk
    from sentry_sdk.integrations.celery import CeleryIntegration

    sentry_sdk.init(
        dsn=dsn,
        include_local_variables=False,
        max_breadcrumbs=20,
        integrations=[CeleryIntegration(propagate_traces=False)],
        before_send=lambda event, _: scrubbed_event(event),
        before_send_transaction=lambda event, _: scrubbed_event(event),
        before_breadcrumb=lambda crumb, _: scrubbed_event(crumb),
    )


def scrubbed_event(event: Any) -> Any:
    """The same structure with every text in it scrubbed."""
    if isinstance(event, str):
        return scrub(event)
    if isinstance(event, dict):
        return {scrub(key) if isinstance(key, str) else key: scrubbed_event(value) for key, value in event.items()}
    if isinstance(event, list | tuple):
        return type(event)(scrubbed_event(value) for value in event)
    return event
