"""Results that need no request: a message that expired, was revoked, or that we fail on. Event loop thread only."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from celery.worker import state

from workers.documents import ResultDocument
from workers.node import Delivery, Node

logger = logging.getLogger("tidegate.ending")


def conclude(node: Node, delivery: Delivery, document: ResultDocument, event: str, **fields: Any) -> None:
    """Publish the result, then acknowledge the message and tell Flower."""
    node.publish(delivery, document)
    node.drop(delivery)
    delivery.celery_request.message.ack()
    delivery.celery_request.send_event(event, **fields)


def conclude_broken(node: Node, delivery: Delivery, error: Exception) -> None:
    """Give a message its result that a fault of ours keeps from running: it must not stop the others behind it."""
    logger.error("%s %s: a fault in this program", delivery.task, delivery.id, exc_info=error)
    conclude(node, delivery, delivery.broken(error), "task-failed", exception=type(error).__name__, traceback="")


def conclude_if_over(node: Node, delivery: Delivery) -> bool:
    """Give an expired or revoked message its result. Whether it was one."""
    expires = delivery.celery_request.expires
    if delivery.id in state.revoked:
        conclude(node, delivery, delivery.document("cancelled"), "task-revoked", terminated=False, expired=False)
        return True
    if expires is not None and seconds_until(expires) <= 0:
        conclude(node, delivery, delivery.document("expired"), "task-revoked", terminated=False, expired=True)
        return True
    return False


def seconds_until(moment: datetime) -> float:
    """Seconds from now; negative for what is past."""
    return (moment - datetime.now(UTC)).total_seconds()
