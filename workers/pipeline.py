"""One run of one message: send its next request, settle, understand the answer, say how the run ended.

Runs in a pool thread, after admission has validated the message and reserved what it needs. Returns an outcome; the
Celery side (``tasks.py``) turns it into an acknowledgement. Nothing is acknowledged before its result is published,
or it is safely somewhere else.
"""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import RedisError

from providers.base import Done, More
from providers.errors import (
    AccountError,
    BadResponse,
    InvalidRequest,
    NotFound,
    ProviderError,
    QuotaExhausted,
    Throttled,
    Transient,
)
from workers.documents import ErrorDocument, ResultDocument, now_text
from workers.inbox import Carried
from workers.node import Delivery, Desk, Node
from workers.transport import UNACKED

logger = logging.getLogger("tidegate.pipeline")

BACKOFF_BASE_S: Final = 1.0
BACKOFF_CAP_S: Final = 30.0
PUBLISH_RETRY_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Published:
    """The message has its result. Acknowledge it."""

    document: ResultDocument


@dataclass(frozen=True, slots=True)
class Requeued:
    """The message goes back to the head of its queue: nothing to spend, or its next step is due."""

    why: str


@dataclass(frozen=True, slots=True)
class Parked:
    """The message is in the deferral store. Acknowledge it here; it comes back by itself."""

    why: str
    in_s: float


Outcome = Published | Requeued | Parked


def run(node: Node, desk: Desk, delivery: Delivery) -> Outcome:
    """Send the message's next request and see it through, whatever happens. Raises :class:`Unpublished`."""
    try:
        return _run(node, desk, delivery)
    except Unpublished:
        raise
    except RedisError as error:
        raise Unpublished(type(error).__name__) from error
    except Exception as error:  # noqa: BLE001 - Celery would acknowledge the message and forget it
        return _broken(node, desk, delivery, error)


def _run(node: Node, desk: Desk, delivery: Delivery) -> Outcome:
    delivery.carried = delivery.carried.with_(started_at=delivery.carried.started_at or now_text())
    try:
        reading = _ask(desk, delivery)
    except ProviderError as error:
        _settle_error(desk, delivery, error)
        return _after_error(node, desk, delivery, error)
    _settle(desk, delivery, reading)
    if isinstance(reading, Done):
        return _publish(node, delivery, delivery.document("ok", data=dict(reading.data)))
    return _next_step(node, desk, delivery, reading)


def _ask(desk: Desk, delivery: Delivery) -> Done | More:
    operation, request, progress = delivery.operation, delivery.request, delivery.carried.progress
    call = operation.build(request, progress, delivery.units)
    reply = desk.http.send(call)
    return operation.read(request, progress, delivery.units, reply)


def _settle(desk: Desk, delivery: Delivery, reading: Done | More) -> None:
    spent = max(reading.consumed.values(), default=0)
    delivery.carried = delivery.carried.with_(
        consumed=delivery.carried.consumed + spent, attempts=delivery.carried.attempts + 1, faults=0
    )
    if delivery.granted is None:
        return
    try:
        desk.limiter.settle(delivery.granted, consumed=reading.consumed, observations=reading.observations)
    except RedisError as error:
        logger.warning("Message %s: its reservation is not settled (%s); it lapses by itself", delivery.id, error)


def _settle_error(desk: Desk, delivery: Delivery, error: ProviderError) -> None:
    """What an error says about money: nothing spent, so much, or nobody knows (then all counts as spent)."""
    if error.consumed:
        spent = max(error.consumed.values())
        delivery.carried = delivery.carried.with_(consumed=delivery.carried.consumed + spent)
    if delivery.granted is None:
        return
    fault = True if isinstance(error, Transient) else None if isinstance(error, AccountError) else False
    if isinstance(error, Throttled | QuotaExhausted):
        fault = None
    consumed = None
    if error.consumed is not None:
        consumed = {name: error.consumed.get(name, 0) for name in delivery.granted.costs}
    try:
        desk.limiter.settle(delivery.granted, consumed=consumed, observations=error.observations, fault=fault)
        if (for_s := _closed_for_s(delivery, error)) > 0:
            desk.limiter.pause("retry_after", error.message, for_s=for_s)
    except RedisError as trouble:
        logger.warning("Message %s: its reservation is not settled (%s); it lapses by itself", delivery.id, trouble)


def _closed_for_s(delivery: Delivery, error: ProviderError) -> float:
    """How long a 429 closes the account: as it says; or, where it does not even say which limit it is about, longer
    each time. One that names its limit has lowered that, which is enough.
    """
    if not isinstance(error, Throttled | QuotaExhausted):
        return 0.0
    if error.retry_in_s is not None:
        return error.retry_in_s
    return 0.0 if error.observations else backoff_s(delivery.carried.deferrals + 1, 1.0)


def _after_error(node: Node, desk: Desk, delivery: Delivery, error: ProviderError) -> Outcome:
    """The table of outcomes, a class a line."""
    if isinstance(error, AccountError):
        return _account_closed(node, desk, delivery, error)
    if isinstance(error, Throttled | QuotaExhausted):
        logger.warning("%s answered 429 for %s: %s", desk.account.id, delivery.id, error.message)
        desk.ask_provider()
        return _requeue(node, delivery, f"429: {error.message}")
    carried = delivery.carried
    delivery.carried = carried.with_(attempts=carried.attempts + 1, faults=carried.faults + 1)
    desk.ask_provider()
    if isinstance(error, Transient) and delivery.carried.faults < delivery.provider.max_attempts:
        return _park(node, desk, delivery, error)
    return _fail(node, delivery, error)


def _account_closed(node: Node, desk: Desk, delivery: Delivery, error: AccountError) -> Outcome:
    if desk.limiter.pause("account", error.message):
        logger.error(
            "Account %s is parked: %s. Its messages stay queued; the key is tried again by itself.",
            desk.account.id,
            error.message,
        )
    return _requeue(node, delivery, error.message)


def _next_step(node: Node, desk: Desk, delivery: Delivery, more: More) -> Outcome:
    if more.refresh:
        desk.ask_provider()
    delivery.carried = delivery.carried.with_(progress=more.progress)
    if more.after_s <= 0:
        return _requeue(node, delivery, "its next step is due", counted=False)
    return _set_aside(node, desk, delivery, more.after_s, "its next step is due then")


def _park(node: Node, desk: Desk, delivery: Delivery, error: Transient) -> Parked:
    wait_s = backoff_s(delivery.carried.faults, random.random())
    wait_s = max(wait_s, error.retry_in_s or 0.0)
    logger.warning(
        "%s %s, fault %d of %d: %s; again in %.1f s",
        delivery.task,
        delivery.id,
        delivery.carried.faults,
        delivery.provider.max_attempts,
        error.message,
        wait_s,
    )
    return _set_aside(node, desk, delivery, wait_s, error.message)


def backoff_s(faults: int, chance: float) -> float:
    """Exponential backoff with full jitter: ``chance`` (0 to 1) of 1, 2, 4, … s, at most 30 s."""
    return chance * min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2.0 ** (faults - 1))


def _set_aside(node: Node, desk: Desk, delivery: Delivery, in_s: float, why: str) -> Parked:
    carried = _deferred(delivery)
    _until_done(node, "parked", lambda: park(node, desk, delivery, carried, in_s))
    return Parked(why, in_s)


def park(node: Node, desk: Desk, delivery: Delivery, carried: Carried, in_s: float) -> None:
    """Put the message into the deferral store. It is acknowledged by whoever called this, afterwards.

    What it carries is saved first: brought back at once, it must find that. (Not where another delivery owns it.)
    """
    node.inbox.release(delivery.id, delivery.owner, carried)
    record = node.broker.hget(UNACKED, delivery.tag)
    if isinstance(record, bytes):
        desk.deferred.park(delivery.id, record, in_s)
    node.drop(delivery)


def _requeue(node: Node, delivery: Delivery, why: str, *, counted: bool = True) -> Requeued:
    carried = _deferred(delivery) if counted else delivery.carried
    _until_done(node, "released", lambda: node.inbox.release(delivery.id, delivery.owner, carried))
    node.drop(delivery)
    return Requeued(why)


def _deferred(delivery: Delivery) -> Carried:
    return delivery.carried.with_(deferrals=delivery.carried.deferrals + 1)


def _fail(node: Node, delivery: Delivery, error: ProviderError) -> Published:
    if not isinstance(error, InvalidRequest | NotFound | BadResponse | Transient):
        raise TypeError(f"{type(error).__name__} has no place in the table of outcomes")
    level = logging.INFO if isinstance(error, InvalidRequest | NotFound) else logging.ERROR
    logger.log(level, "%s %s failed: %s", delivery.task, delivery.id, error.message)
    if error.evidence:
        logger.error("%s %s: the answer began %r", delivery.task, delivery.id, error.evidence[:500])
    return _publish(node, delivery, delivery.document("failed", error=ErrorDocument.of(error)))


def _broken(node: Node, desk: Desk, delivery: Delivery, error: Exception) -> Published:
    logger.error("%s %s: a fault in this program", delivery.task, delivery.id, exc_info=error)
    if (granted := delivery.granted) is not None:
        _until_done(node, "settled", lambda: desk.limiter.settle(granted, fault=None))
    return _publish(node, delivery, delivery.broken(error))


def _publish(node: Node, delivery: Delivery, document: ResultDocument) -> Published:
    _until_done(node, "published", lambda: node.publish(delivery, document))
    node.drop(delivery)
    return Published(document)


class Unpublished(Exception):
    """Redis went away before the message was safe: it goes back to its queue and is run again."""


def _until_done(node: Node, what: str, step: Any) -> None:
    """A paid answer is worth waiting for Redis: try until it works, or the node stops."""
    warned = False
    while True:
        try:
            step()
        except RedisError as error:
            if node.stopping.is_set():
                raise Unpublished(f"not {what}: {type(error).__name__}") from error
            if not warned:
                logger.error("Redis is away, a message waits to be %s: %s", what, error)
                warned = True
            time.sleep(PUBLISH_RETRY_S)  # nothing tells when Redis is back
        else:
            return
