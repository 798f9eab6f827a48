"""One worker process: the clients it uses, what it holds, and the rooms in which its messages wait."""

from __future__ import annotations

import itertools
import logging
import os
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from providers.base import Operation, Provider, Request
from providers.http import HttpClient
from ratelimit import Claim, Granted, Limiter
from workers.deferral import DeferralStore
from workers.documents import ErrorDocument, ResultDocument, Status, Usage, now_text
from workers.inbox import Carried, Inbox
from workers.settings import Account, Settings

logger = logging.getLogger("tidegate.node")

LEASE_S: Final = 60.0
"""How long a reservation lives: twice the longest deadline of a request (``providers.base.Call``)."""


def connect(url: str) -> Redis:
    """A client with deadlines on every command and a few quick retries of a lost connection."""
    return Redis.from_url(
        url,
        socket_timeout=10.0,
        socket_connect_timeout=5.0,
        health_check_interval=15,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 3),
    )


@dataclass(slots=True, kw_only=True)
class Delivery:
    """One delivery of one message to this node.

    ``owner`` names the delivery (the inbox keeps a second one out); ``request`` is set once the arguments are known
    to be good, ``claim`` and ``granted`` once there is something to spend.
    """

    id: str
    tag: str
    task: str
    owner: str
    provider: Provider
    account: str
    operation: Operation[Any]
    arguments: dict[str, Any]
    meta: dict[str, Any]
    meta_problem: str | None
    celery_request: Any
    carried: Carried = field(default_factory=Carried)
    request: Request | None = None
    claim: Claim | None = None
    granted: Granted | None = None

    @property
    def units(self) -> int:
        """Units granted for the next step, of the limit with the highest cost."""
        return max(self.granted.costs.values(), default=0) if self.granted else 0

    def document(
        self, status: Status, *, data: dict[str, Any] | None = None, error: ErrorDocument | None = None
    ) -> ResultDocument:
        """The message's result."""
        request = self.request
        return ResultDocument(
            task_id=self.id,
            task=self.task,
            provider=self.provider.name,
            account=self.account,
            status=status,
            request=self.arguments if request is None else request.model_dump(mode="json", exclude_none=True),
            meta=self.meta,
            data=data,
            error=error,
            usage=Usage(unit=self.provider.unit, consumed=self.carried.consumed),
            attempts=self.carried.attempts,
            deferrals=self.carried.deferrals,
            started_at=self.carried.started_at or now_text(),
            finished_at=now_text(),
        )

    def broken(self, error: Exception) -> ResultDocument:
        """The result where this program fails on the message. It repeats no arguments: they may be the reason."""
        message = f"a fault in this program ({type(error).__name__}); the node's log has the details"
        failure = ErrorDocument(kind="internal", message=message, retryable=True)
        return self.document("failed", error=failure).model_copy(update={"request": {}})


class Desk:
    """All that belongs to one account on this node: its limiter, its HTTP client, its parked messages."""

    def __init__(self, redis: Redis, account: Account, *, connections: int, wake: threading.Event) -> None:
        self.account = account
        self.provider = account.provider
        limits = account.provider.limits(account.plan)
        self.limiter = Limiter(redis, account.id, limits, lease_s=LEASE_S)
        self.http = HttpClient(account.base_url, account.provider.credential, account.key, max_connections=connections)
        self.deferred = DeferralStore(redis, account.provider.name)
        self.wants_probe = threading.Event()
        self.wanted_at_s = 0.0
        self.parked = False
        self._wake = wake

    def ask_provider(self) -> None:
        """Have the steward ask the provider what is left, as soon as that is allowed; unless it is said meanwhile."""
        self.wanted_at_s = time.monotonic()
        self.wants_probe.set()
        self._wake.set()

    @property
    def queues(self) -> tuple[str, str]:
        """The provider's queue, and the one for what is free."""
        return queues_of(self.provider)


def queues_of(provider: Provider) -> tuple[str, str]:
    """Names of a provider's two queues: for what costs, and for what is free."""
    return provider.name, f"{provider.name}.free"


class Node:
    """What the parts of one worker process share."""

    def __init__(self, settings: Settings, providers: Iterable[str], *, concurrency: int) -> None:
        timing = settings.timing
        self.settings = settings
        self.name = f"{socket.gethostname()}:{os.getpid()}:{os.urandom(3).hex()}"
        self.redis = connect(settings.required_redis_url)
        self.broker = connect(settings.broker_url or settings.required_redis_url)
        self.inbox = Inbox(self.redis, settings.result_stream, owned_s=timing.visibility_s, done_s=timing.done_s)
        self.wake = threading.Event()
        self.desks = {
            name: Desk(self.redis, settings.account(name), connections=concurrency, wake=self.wake)
            for name in providers
        }
        self.held: dict[str, Delivery] = {}
        self.stopping = threading.Event()
        self._numbers = itertools.count(1)

    def new_owner(self) -> str:
        """A name for one delivery, unique over all nodes."""
        return f"{self.name}:{next(self._numbers)}"

    def hold(self, delivery: Delivery) -> None:
        """From now on the delivery is renewed."""
        self.held[delivery.tag] = delivery

    def drop(self, delivery: Delivery) -> None:
        """It is no longer renewed."""
        if self.held.get(delivery.tag) is delivery:
            del self.held[delivery.tag]

    def let_go(self, delivery: Delivery, carried: Carried | None = None) -> None:
        """The message will wait elsewhere: end the ownership, keep what it carries. Best effort: it lapses anyway."""
        self.drop(delivery)
        try:
            self.inbox.release(delivery.id, delivery.owner, carried or delivery.carried)
        except RedisError as error:
            logger.warning("Message %s could not be released (%s); it will be, by itself", delivery.id, error)

    def publish(self, delivery: Delivery, document: ResultDocument) -> None:
        """Publish the message's result, once; and see that no parked copy of it comes back."""
        self.inbox.publish(document)
        if delivery.carried.deferrals:
            self.desks[delivery.provider.name].deferred.forget(delivery.id)

    def dead_letter(self, name: str, message: bytes, reason: str) -> None:
        """Add an unusable message to the dead-letter stream, as its bytes were."""
        fields: dict[Any, Any] = {
            "list": name,
            "reason": reason,
            "node": self.name,
            "at": now_text(),
            "message": message,
        }
        self.redis.xadd(self.settings.dead_letter_stream, fields)

    def close(self) -> None:
        """Close all clients."""
        for desk in self.desks.values():
            desk.http.close()
        self.redis.close()
        self.broker.close()


_current: Node | None = None


def start(node: Node) -> None:
    """Make it this process's node."""
    global _current  # noqa: PLW0603 - one node a process; Celery offers its tasks no other way to it
    _current = node


def current() -> Node:
    """This process's node. Raises :class:`RuntimeError` outside a worker."""
    if _current is None:
        raise RuntimeError("there is no node in this process: tasks run in a worker only")
    return _current
