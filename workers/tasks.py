"""The Celery tasks, one per operation of the registry, and what an outcome means to Celery.

A task of these never runs by itself: admission hands it a delivery. The mapping, acknowledgement last in each row:

- published ``ok``: returns (SUCCESS); published otherwise: raises :class:`MessageFailed` (FAILURE, not an error here)
- requeued: ``Reject(requeue=True)``; the transport gives the message to the head of its list
- parked: ``Retry`` with the time it is due; Celery acknowledges and tells Flower, and publishes nothing
- unpublished: as requeued
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from celery import Celery, Task
from celery.exceptions import Reject, Retry
from celery.worker.request import Request

from providers.registry import PROVIDERS
from workers import node, pipeline
from workers.vetting import RESERVED


class MessageFailed(Exception):
    """The message has a result that is not ``ok``. For Flower's eyes; the result says it all."""


class UnstoppableRequest(Request):  # type: ignore[misc]
    """A pool thread cannot be ended from outside: ``revoke(terminate=True)`` revokes what has not begun, no more."""

    def terminate(self, pool: Any, signal: Any = None) -> None:
        """Celery's would end in the thread, before the message runs, and nobody would hear of it again."""


class ProviderTask(Task):  # type: ignore[misc]
    """Base of all tasks: admission instead of Celery's strategy, acknowledged last, no result backend."""

    abstract = True
    Strategy = "workers.admission:strategy"
    Request = UnstoppableRequest
    acks_late = True
    acks_on_failure_or_timeout = True
    ignore_result = True
    throws = (MessageFailed,)

    def run(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Run the delivery that admission has prepared."""
        delivery = getattr(self.request, RESERVED, None)
        if not isinstance(delivery, node.Delivery):
            raise Reject(f"{self.name} runs in a tidegate worker only", requeue=True)
        here = node.current()
        try:
            outcome = pipeline.run(here, here.desks[delivery.provider.name], delivery)
        except pipeline.Unpublished as error:
            here.let_go(delivery)
            raise Reject(str(error), requeue=True) from None
        return conclude(outcome)


def conclude(outcome: pipeline.Outcome) -> dict[str, Any]:
    """Tell Celery how a run ended."""
    if isinstance(outcome, pipeline.Requeued):
        raise Reject(outcome.why, requeue=True)
    if isinstance(outcome, pipeline.Parked):
        raise Retry(f"deferred: {outcome.why}", when=datetime.now(UTC) + timedelta(seconds=outcome.in_s))
    document = outcome.document
    if document.status != "ok":
        kind = document.error.kind if document.error else document.status
        raise MessageFailed(f"{kind}: {document.error.message if document.error else ''}")
    return {"status": "ok", "consumed": document.usage.consumed}


def register(app: Celery) -> None:
    """Register ``<provider>.<operation>`` for every operation of every provider."""
    for provider in PROVIDERS.values():
        for operation in provider.operations:
            name = f"{provider.name}.{operation}"
            app.register_task(type(f"{name} task", (ProviderTask,), {"name": name, "__module__": __name__})())
