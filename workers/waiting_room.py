"""Where a node's messages wait while their account has nothing to spend: in order, a handful, for seconds.

Only the head asks the limiter, at the moment the limiter named. While somebody waits the provider's queue is closed,
so nothing more is fetched. What must wait longer goes back to the head of the queue, in order, and the queue stays
closed until the account can spend again; then the room looks (``peek``) before it lets anything in. Runs in the
worker's event loop thread only.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from redis.exceptions import RedisError

from ratelimit import Claim, Denied, Reason, Snapshot
from workers.documents import ErrorDocument
from workers.ending import conclude, conclude_broken, conclude_if_over
from workers.gate import GATE
from workers.inbox import Carried
from workers.node import Delivery, Desk, Node
from workers.resets import is_reset_near

logger = logging.getLogger("tidegate.waiting_room")

LOOK_AGAIN_S: Final = 0.2
"""While the provider is being asked."""
LOOK_AT_MOST_S: Final = 60.0
TROUBLE_S: Final = 1.0
"""While Redis is away, or the provider has not said for long what is left."""


class WaitingRoom:
    """The waiting room of one provider on one node."""

    def __init__(self, node: Node, desk: Desk, send_to_pool: Callable[[Delivery], None]) -> None:
        self._node = node
        self._desk = desk
        self._send_to_pool = send_to_pool
        self._queue = desk.queues[0]
        self._waiting: deque[Delivery] = deque()
        self._since_s = 0.0
        self._unanswered = False
        self._sent_home: Claim | None = None
        self._timer: Any = None
        self._consumer: Any = None

    def __len__(self) -> int:
        return len(self._waiting)

    def attach(self, consumer: Any) -> None:
        """Serve a new connection: what waited here came over the old one and is delivered again."""
        self._consumer = consumer
        for delivery in self._waiting:
            self._node.let_go(delivery)
        self._waiting.clear()
        self._set_timer(0.0 if GATE.is_open(self._queue) else TROUBLE_S)

    def enter(self, delivery: Delivery) -> None:
        """Wait for what ``delivery.claim`` needs; alone in the room, ask at once."""
        self._waiting.append(delivery)
        if len(self._waiting) == 1:
            self._since_s = time.monotonic()
            self.look()

    def nudge(self) -> None:
        """Something may have changed: look now. Called from the steward by way of the event loop."""
        if self._waiting or not GATE.is_open(self._queue):
            self.look()

    def trouble(self, delivery: Delivery) -> None:
        """Redis could not be asked about this message: back to the queue, look again soon."""
        self._node.drop(delivery)
        GATE.close(self._queue, "Redis is away")
        try:
            delivery.celery_request.message.reject(requeue=True)
        except (RedisError, OSError) as error:
            logger.warning("Message %s stays unacknowledged (%s); it comes back by itself", delivery.id, error)
        self._set_timer(TROUBLE_S)

    def look(self) -> None:
        """Ask for the head, and again for the next, until one is denied; or open the closed queue if that helps."""
        if self._node.stopping.is_set():
            return
        try:
            if self._waiting:
                self._ask()
            else:
                self._reopen()
        except RedisError as error:
            logger.error("Redis is away, %s waits: %s", self._queue, error)
            GATE.close(self._queue, "Redis is away")
            self._set_timer(TROUBLE_S)

    def _ask(self) -> None:
        while self._waiting:
            head = self._waiting[0]
            try:
                denied = self._serve(head)
            except RedisError:
                raise
            except Exception as error:  # noqa: BLE001 - the messages behind it must go on
                self._give_up(head, error)
                continue
            if denied is not None:
                self._stay(head, denied)
                return
        self._open()

    def _serve(self, head: Delivery) -> Denied | None:
        """Send it on its way, or say what stands in it."""
        if conclude_if_over(self._node, head):
            self._leave(head)
            return None
        assert head.claim is not None
        verdict = self._desk.limiter.reserve(head.claim, head.id)
        if isinstance(verdict, Denied):
            return verdict
        self._leave(head)
        head.granted = verdict
        self._send_to_pool(head)
        return None

    def _give_up(self, head: Delivery, error: Exception) -> None:
        try:
            conclude_broken(self._node, head, error)
        except RedisError:
            if head not in self._waiting:
                self.trouble(head)  # nobody else would see to it any more
            raise
        self._leave(head)

    def _leave(self, head: Delivery) -> None:
        if self._waiting and self._waiting[0] is head:
            self._waiting.popleft()
        self._since_s = time.monotonic()

    def _stay(self, head: Delivery, denied: Denied) -> None:
        if denied.reason is Reason.IMPOSSIBLE:
            self._refuse(head, denied)
            return
        timing, retry_in_s = self._node.settings.timing, denied.retry_in_s
        waited_s = time.monotonic() - self._since_s
        if denied.reason is Reason.UNOBSERVED:
            self._desk.ask_provider()
            retry_in_s = LOOK_AGAIN_S
        long = retry_in_s > timing.hold_s
        if denied.reason not in {Reason.EMPTY, Reason.WAITING}:
            long = long or waited_s > timing.hold_s
        GATE.close(self._queue, f"{denied.limit}: {denied.reason.value}")
        if long:
            self._unanswered = denied.reason is Reason.UNOBSERVED
            self._sent_home = head.claim
            self._send_home()
            retry_in_s = min(retry_in_s, LOOK_AT_MOST_S)
        else:
            retry_in_s = min(retry_in_s, self._desk.limiter.ask_within_s)
        self._set_timer(retry_in_s)

    def _refuse(self, head: Delivery, denied: Denied) -> None:
        message = f"it costs more than limit {denied.limit!r} of account {self._desk.account.id} can ever hold"
        document = head.document("failed", error=ErrorDocument(kind="invalid_request", message=message))
        conclude(self._node, head, document, "task-failed", exception=message, traceback="")
        self._leave(head)
        self._set_timer(0.0)

    def _reopen(self) -> None:
        """Nobody waits here and the queue is closed: is there enough for the one sent home, or for anybody?"""
        snapshot = self._desk.limiter.peek()
        if snapshot.blocked_reason is None and (lacking_s := _lacking_s(self._sent_home, snapshot)) > 0:
            self._set_timer(min(lacking_s, LOOK_AT_MOST_S))
            return
        unobserved = snapshot.blocked_reason is Reason.UNOBSERVED
        self._unanswered = self._unanswered and unobserved
        if snapshot.blocked_reason is None or (unobserved and not self._unanswered and not is_reset_near(snapshot)):
            self._open()  # unobserved: whoever comes in has the provider asked, and an idle node leaves it alone
            return
        GATE.close(self._queue, f"{snapshot.blocked_by}: {snapshot.blocked_reason.value}")
        next_in_s = TROUBLE_S if snapshot.next_in_s is None else max(snapshot.next_in_s, 0.001)
        self._set_timer(min(next_in_s, LOOK_AT_MOST_S))

    def _open(self) -> None:
        self._sent_home = None
        GATE.open(self._queue)
        self._cancel_timer()

    def _send_home(self) -> None:
        """All that waits goes back to the head of the queue, the last one first."""
        while self._waiting:
            delivery = self._waiting.pop()
            self._give_back(delivery, delivery.carried.with_(deferrals=delivery.carried.deferrals + 1))

    def vacate(self) -> None:
        """The node stops: all back, as if it had never come."""
        self._cancel_timer()
        while self._waiting:
            delivery = self._waiting.pop()
            self._give_back(delivery, delivery.carried)

    def _give_back(self, delivery: Delivery, carried: Carried) -> None:
        self._node.let_go(delivery, carried)
        try:
            delivery.celery_request.message.reject(requeue=True)
            self._desk.limiter.forget(delivery.id)
        except (RedisError, OSError) as error:
            logger.warning("Message %s or its ticket could not be given back (%s); it lapses", delivery.id, error)

    def _set_timer(self, in_s: float) -> None:
        self._cancel_timer()
        if self._consumer is not None:
            self._timer = self._consumer.timer.call_after(in_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.look()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _lacking_s(claim: Claim | None, snapshot: Snapshot) -> float:
    """Seconds until the buckets hold what the claim needs; 0 where they do."""
    lacking_s = 0.0
    for name, cost in (claim.costs if claim else {}).items():
        view = snapshot.limits[name]
        if view.capacity and view.refill_per_s and view.left is not None:
            lacking_s = max(lacking_s, (min(cost, view.capacity) - view.left) / view.refill_per_s)
    return lacking_s
