"""A node's background thread: renews what the node holds, sweeps, brings parked messages back, asks the provider.

The asking is shared by the fleet: a short lock per account keeps two questions at least ``probe_min_s`` apart, and
whoever gets it asks for all. It has a thread of its own while it lasts: a provider that hangs must not keep the node
from saying what it holds.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from kombu.transport.redis import PRIORITY_STEPS
from redis.exceptions import RedisError

from providers.base import Call
from providers.errors import AccountError, ProviderError
from ratelimit import Reason, Snapshot
from workers.gate import GATE
from workers.node import Desk, Node
from workers.resets import is_reset_near
from workers.sweep import Sweep

logger = logging.getLogger("tidegate.steward")

TICK_S: Final = 0.25
BEAT_S: Final = 1.0
SETTLED_S: Final = 10.0
"""After Redis was away the sweep waits so long, for the other nodes to renew what they hold."""
ASK_AGAIN_AFTER_S: Final = 55.0
"""Age of the newest observation at which a waiting fleet asks again; a claim is denied at 60 s."""
ASK_ANYWAY_S: Final = 300.0
"""How often a node that has work asks though answers keep coming: a larger plan is told nowhere else."""
PUMPED_AT_ONCE: Final = 200
"""So many parked messages are brought back in one round."""
PRIORITY_SEPARATOR: Final = "\x06\x16"


def lists_of(queue: str) -> list[str]:
    """The Redis lists of a queue, one per priority step, as kombu names them."""
    return [f"{queue}{PRIORITY_SEPARATOR}{step}" if step else queue for step in PRIORITY_STEPS]


class Steward(threading.Thread):
    """Runs until :meth:`stop`. ``nudge`` makes a provider's waiting room look again, in the event loop."""

    def __init__(self, node: Node, nudge: Callable[[str], None], describe: Callable[[], Mapping[str, Any]]) -> None:
        super().__init__(name="steward", daemon=True)
        self._node = node
        self._nudge = nudge
        self._describe = describe
        self._ended = threading.Event()
        timing = node.settings.timing
        lists = [name for desk in node.desks.values() for queue in desk.queues for name in lists_of(queue)]
        self._sweep = Sweep(node.broker, lists, visibility_s=timing.visibility_s, in_flight_s=timing.in_flight_s)
        self._due: dict[str, float] = {f"ask {name} anyway": time.monotonic() + ASK_ANYWAY_S for name in node.desks}
        self._well_since = 0.0

    def run(self) -> None:
        """Tick until stopped; whatever goes wrong ends a tick, nothing else."""
        while not self._ended.is_set():
            try:
                self.tick()
            except RedisError as error:
                if self._well_since != float("inf"):
                    logger.error("Redis is away: %s", error)
                self._well_since = float("inf")
                self._ended.wait(0.5)
            except Exception:  # a dead steward would let all that the node holds lapse
                logger.exception("A fault in this program; the steward goes on")
                self._ended.wait(1.0)
            self._node.wake.wait(TICK_S)
            self._node.wake.clear()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._ended.set()
        self._node.wake.set()
        self.join(timeout=15)

    def tick(self) -> None:
        """One round: each duty whose time has come."""
        timing = self._node.settings.timing
        if self._well_since == float("inf"):
            self._node.broker.ping()
            self._node.redis.ping()
            self._well_since = time.monotonic()
        if self._is_due("renew", timing.renew_s):
            self._renew()
        for desk in self._node.desks.values():
            self._ask_if_wanted(desk)
            if desk.deferred.bring_back(self._node.broker, PUMPED_AT_ONCE) >= PUMPED_AT_ONCE:
                self._node.wake.set()  # more are due; but what this node holds is renewed in between
        if self._is_due("sweep", BEAT_S) and time.monotonic() - self._well_since > SETTLED_S:
            put_back = self._sweep.stuck() + self._sweep.lapsed()
            if put_back:
                logger.warning("%d messages of nodes that died are back in their queues", put_back)
        if self._is_due("beat", BEAT_S):
            self._beat()

    def _is_due(self, duty: str, every_s: float) -> bool:
        now = time.monotonic()
        if now < self._due.get(duty, 0.0):
            return False
        self._due[duty] = now + every_s
        return True

    def _renew(self) -> None:
        held = dict(self._node.held)
        self._sweep.renew(held)
        self._node.inbox.keep({delivery.id: delivery.owner for delivery in held.values()})

    def _beat(self) -> None:
        """Look at each account: ask the provider where that is due, tell rooms that may open, say we are alive."""
        for name, desk in self._node.desks.items():
            closed = GATE.why(desk.queues[0])
            if closed is not None:
                self._ask_while_closed(desk)
                self._nudge(name)
            if self._is_due(f"ask {name} anyway", ASK_ANYWAY_S) and self._backlog(desk):
                desk.ask_provider()
            value = json.dumps({"node": self._node.name, "closed": closed, **self._describe()})
            self._node.redis.set(f"tidegate:node:{name}:{self._node.name}", value, ex=10)

    def _ask_while_closed(self, desk: Desk) -> None:
        if desk.provider.probe() is None:
            return
        snapshot = desk.limiter.peek()
        if _asking_is_due(snapshot) and self._backlog(desk):
            desk.ask_provider()

    def _backlog(self, desk: Desk) -> bool:
        return any(self._node.broker.exists(*lists_of(queue)) for queue in desk.queues) or any(
            delivery.provider is desk.provider for delivery in list(self._node.held.values())
        )

    def _ask_if_wanted(self, desk: Desk) -> None:
        call = desk.provider.probe()
        if call is None or not desk.wants_probe.is_set():
            return
        if _was_said(desk.limiter.peek(), time.monotonic() - desk.wanted_at_s):
            desk.wants_probe.clear()
            return
        lock_s = self._asking_apart_s(desk) + call.deadline_s
        if self._node.redis.set(_lock_key(desk), self._node.name, nx=True, px=round(lock_s * 1000)):
            desk.wants_probe.clear()
            threading.Thread(target=self._ask_and_tell, args=(desk, call), name="asking", daemon=True).start()

    def _asking_apart_s(self, desk: Desk) -> float:
        timing = self._node.settings.timing
        return timing.parked_ask_s if desk.parked else timing.probe_min_s

    def _ask_and_tell(self, desk: Desk, call: Call) -> None:
        """Ask; the next question may be asked so long after this one's answer, however long that took."""
        try:
            self._ask(desk, call)
            self._node.redis.set(_lock_key(desk), self._node.name, px=round(self._asking_apart_s(desk) * 1000))
            self._nudge(desk.provider.name)
        except RedisError as error:
            logger.error("Redis is away: %s", error)
        except Exception:  # a thread's end would be all that is seen of it
            logger.exception("A fault in this program; %s is asked again", desk.account.id)

    def _ask(self, desk: Desk, call: Call) -> None:
        mark = desk.limiter.mark()
        try:
            observations = desk.provider.read_probe(desk.http.send(call))
        except AccountError as error:
            desk.parked = True
            if desk.limiter.pause("account", error.message):
                logger.error("Account %s is parked: %s. Its messages stay queued.", desk.account.id, error.message)
            return
        except ProviderError as error:
            logger.warning("%s does not say what is left: %s", desk.account.id, error.message)
            return
        desk.limiter.observe(mark, observations)
        desk.parked = False
        if desk.limiter.resume("account"):
            logger.warning("Account %s works again", desk.account.id)


def _lock_key(desk: Desk) -> str:
    return f"{{tidegate:{desk.account.id}}}:asked"


def _was_said(snapshot: Snapshot, wanted_ago_s: float) -> bool:
    """Whether another node has asked since this one wanted to, or an answer has told what is left."""
    if snapshot.blocked_reason is Reason.UNOBSERVED or snapshot.paused_kind == "account":
        return False
    return snapshot.observed_ago_s is not None and snapshot.observed_ago_s < wanted_ago_s


def _asking_is_due(snapshot: Snapshot) -> bool:
    """While messages wait: every minute, at once where nothing is known, and not shortly before a reset."""
    if snapshot.paused_kind == "operator" or is_reset_near(snapshot):
        return False
    if snapshot.paused_kind == "account" or snapshot.blocked_reason is Reason.UNOBSERVED:
        return True
    return snapshot.observed_ago_s is None or snapshot.observed_ago_s > ASK_AGAIN_AFTER_S
