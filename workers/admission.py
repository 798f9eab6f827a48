"""What happens to a message between its arrival and a pool thread: Celery's task strategy, replaced.

In order: has it a result already; is another delivery of it at work; has it expired or been revoked; is its time yet
to come; are its arguments good. Then what it needs is reserved: granted, it goes to the pool; denied, it waits in the
provider's waiting room (``waiting_room.py``). All of this runs in the worker's event loop thread.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any, Final

from celery.utils.imports import symbol_by_name
from celery.worker import state
from celery.worker.request import create_request_cls
from pydantic import ValidationError
from redis.exceptions import RedisError

from providers.registry import PROVIDERS
from workers import node as nodes
from workers.documents import ErrorDocument, now_text
from workers.ending import conclude, conclude_broken, conclude_if_over, seconds_until
from workers.inbox import BUSY, FINISHED
from workers.node import Delivery, Node
from workers.pipeline import park
from workers.transport import UNACKED, list_key_of
from workers.vetting import META_HEADER, RESERVED
from workers.waiting_room import WaitingRoom

logger = logging.getLogger("tidegate.admission")

BUSY_RETRY_S: Final = 5.0
EVENTS_EVERY_S: Final = 0.1
EVENTS_AT_ONCE: Final = 500
MAX_META_BYTES: Final = 4096

Handler = Callable[[Any, Any, Any, Any, Any], None]


class Admission:
    """Admits the messages of one node. Its rooms outlive a reconnect; what waited in them does not."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.rooms = {name: WaitingRoom(node, desk, self.send_to_pool) for name, desk in node.desks.items()}
        self._consumer: Any = None
        self._connection: Any = None
        self._events_timer: Any = None

    def attach(self, consumer: Any) -> None:
        """Serve this consumer. After a reconnect all that waited is delivered again, so the rooms are emptied."""
        if self._connection is not consumer.connection:
            self._consumer, self._connection = consumer, consumer.connection
            self._gather_events(consumer)
            for room in self.rooms.values():
                room.attach(consumer)

    def _gather_events(self, consumer: Any) -> None:
        """Send Celery's events a few times a second, together: one message per event costs as much as the work."""
        if self._events_timer is not None:
            self._events_timer.cancel()
            self._events_timer = None
        dispatcher = consumer.event_dispatcher
        if dispatcher is not None:
            dispatcher.on_send_buffered, dispatcher.buffer_limit = None, EVENTS_AT_ONCE
            self._events_timer = consumer.timer.call_repeatedly(EVENTS_EVERY_S, dispatcher.flush)

    def vacate(self) -> None:
        """Give everything that waits back to its queue: the node stops."""
        for room in self.rooms.values():
            room.vacate()

    def nudge(self, provider: str) -> None:
        """Have a provider's room look again. For other threads."""
        if self._consumer is not None:
            self._consumer.call_soon(self.rooms[provider].nudge)

    def describe(self) -> dict[str, int]:
        """What this node holds, for its heartbeat."""
        return {"held": len(self.node.held), "waiting": sum(len(room) for room in self.rooms.values())}

    def put_aside(self, message: Any, error: Exception) -> None:
        """Celery makes no task of a message that passed the vetting: to the dead-letter stream with it."""
        logger.error("A message is unusable and goes to the dead-letter stream", exc_info=error)
        record = self.node.broker.hget(UNACKED, message.delivery_tag)
        if isinstance(record, bytes):
            self.node.dead_letter(*list_key_of(record), f"Celery makes no task of it ({type(error).__name__})")
        message.ack()

    def receive(self, request: Any) -> None:
        """A message has arrived."""
        delivery = self._delivery(request)
        try:
            self._admit_or_fail(delivery)
        except RedisError as error:
            logger.error("Redis is away, message %s waits: %s", delivery.id, error)
            self.rooms[delivery.provider.name].trouble(delivery)

    def _admit_or_fail(self, delivery: Delivery) -> None:
        try:
            self._admit(delivery)
        except RedisError:
            raise
        except Exception as error:  # noqa: BLE001 - Celery ends the node on any, and the next node after it
            conclude_broken(self.node, delivery, error)

    def _admit(self, delivery: Delivery) -> None:
        found = self.node.inbox.open(delivery.id, delivery.owner)
        if found == FINISHED:
            logger.info("Message %s has its result already: dropped", delivery.id)
            delivery.celery_request.message.ack()
            return
        if found == BUSY:
            self._park(delivery, BUSY_RETRY_S, "another delivery of it is at work")
            return
        delivery.carried = found  # type: ignore[assignment]  # neither of the two words
        self.node.hold(delivery)
        if conclude_if_over(self.node, delivery):
            return
        eta, expires = delivery.celery_request.eta, delivery.celery_request.expires
        if eta is not None and seconds_until(eta) > 0:
            self._park(delivery, seconds_until(min(eta, expires or eta)), "its time is yet to come")
            return
        if not self._validate(delivery):
            return
        self._claim(delivery)

    def _claim(self, delivery: Delivery) -> None:
        message, (queue, free_queue) = delivery.celery_request.message, self.node.desks[delivery.provider.name].queues
        if not delivery.operation.free and message.delivery_info["routing_key"] == free_queue:
            self.node.let_go(delivery)  # it would wait where an empty quota closes nothing
            message.channel.qos.hand_over(delivery.tag, queue)
            return
        delivery.claim = delivery.operation.claim(delivery.request, delivery.carried.progress)
        if delivery.claim is None:
            self.send_to_pool(delivery)
        else:
            self.rooms[delivery.provider.name].enter(delivery)

    def _validate(self, delivery: Delivery) -> bool:
        """Whether the arguments are good; if not, the message gets its result, and nothing was spent."""
        problem = None
        if delivery.celery_request.args:
            problem = "positional arguments are not accepted; give keyword arguments only"
        elif delivery.meta_problem:
            problem = delivery.meta_problem
        else:
            try:
                delivery.request = delivery.operation.request_model.model_validate(delivery.arguments)
            except ValidationError as error:
                problem = _readable(error)
        if problem is None:
            return True
        delivery.carried = delivery.carried.with_(started_at=now_text())
        failure = ErrorDocument(kind="invalid_request", message=problem)
        document = delivery.document("failed", error=failure)
        conclude(self.node, delivery, document, "task-failed", exception=problem, traceback="")
        return False

    def send_to_pool(self, delivery: Delivery) -> None:
        """Run it. What Celery would do about its expiry was done here, with a result."""
        request = delivery.celery_request
        request.expires = None
        request.request_dict[RESERVED] = delivery
        state.task_reserved(request)
        self._consumer.on_task_request(request)

    def _park(self, delivery: Delivery, in_s: float, why: str) -> None:
        desk = self.node.desks[delivery.provider.name]
        park(self.node, desk, delivery, delivery.carried.with_(deferrals=delivery.carried.deferrals + 1), in_s)
        delivery.celery_request.message.ack()
        delivery.celery_request.send_event("task-retried", exception=f"deferred: {why}", traceback="")

    def _delivery(self, request: Any) -> Delivery:
        provider_name, _, operation = request.type.partition(".")
        provider = PROVIDERS[provider_name]
        meta, meta_problem = _meta(request.message.headers)
        return Delivery(
            id=request.id,
            tag=request.message.delivery_tag,
            task=request.type,
            owner=self.node.new_owner(),
            provider=provider,
            account=self.node.desks[provider_name].account.name,
            operation=provider.operations[operation],
            arguments=request.kwargs,
            meta=meta,
            meta_problem=meta_problem,
            celery_request=request,
        )


def _meta(headers: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """The producer's ``tidegate_meta`` and what is wrong with it."""
    meta = headers.get(META_HEADER)
    if meta is None:
        return {}, None
    if not isinstance(meta, dict):
        return {}, f"header {META_HEADER} must be a JSON object"
    if len(json.dumps(meta).encode()) > MAX_META_BYTES:
        return {}, f"header {META_HEADER} is larger than {MAX_META_BYTES} bytes"
    return meta, None


def _readable(error: ValidationError) -> str:
    """Which field and why, for each problem (at most five)."""
    problems = []
    for item in error.errors(include_url=False, include_context=False)[:5]:
        where = ".".join(str(part) for part in item["loc"])
        value = "" if item["type"] in {"missing", "value_error"} else f" (got {item['input']!r:.80})"
        problems.append(f"{where + ': ' if where else ''}{item['msg'].removeprefix('Value error, ')}{value}")
    return "; ".join(problems)


_admission: Admission | None = None


def serve(node: Node) -> Admission:
    """Make this process admit messages for ``node``."""
    global _admission  # noqa: PLW0603 - Celery names the strategy by an import path
    nodes.start(node)
    _admission = Admission(node)
    return _admission


def strategy(task: Any, app: Any, consumer: Any) -> Handler:
    """Celery's ``Task.Strategy``: called per task and connection, returns what is called per message."""
    if _admission is None:
        raise RuntimeError("no node: start workers with `tidegate worker` or `celery -A workers worker`")
    admission = _admission
    admission.attach(consumer)
    eventer = consumer.event_dispatcher
    request_class = create_request_cls(
        symbol_by_name(task.Request), task, consumer.pool, consumer.hostname, eventer, app=app
    )

    def receive(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any) -> None:  # noqa: ARG001 - Celery's
        try:
            request = request_class(
                message,
                on_ack=ack,
                on_reject=reject,
                app=app,
                hostname=consumer.hostname,
                eventer=eventer,
                task=task,
                connection_errors=consumer.connection_errors,
                body=message.body,
                headers=message.headers,
                decoded=False,
                utc=True,
            )
        except Exception as error:  # noqa: BLE001 - Celery drops the message, or ends the node
            admission.put_aside(message, error)
            return
        _announce(request)
        admission.receive(request)

    return receive


def _announce(request: Any) -> None:
    request.send_event(
        "task-received",
        name=request.name,
        args=request.argsrepr,
        kwargs=request.kwargsrepr,
        root_id=request.root_id,
        parent_id=request.parent_id,
        retries=0,
        eta=request.eta and request.eta.isoformat(),
        expires=request.expires and request.expires.isoformat(),
    )
