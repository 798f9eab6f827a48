"""A Redis transport for the nodes that does not lose a message when its node is killed.

kombu pops a message and records it as unacknowledged afterwards (celery/kombu#305, #1836, both open): killed in
between, a node takes the message with it. Here a message moves from its list to the record of unacknowledged ones in
one script; or, where the node has to wait for one, atomically from its list to an in-flight list, and from there to
the record. A sweep (``workers/sweep.py``) puts back what got stuck.

Differences to kombu's own that matter elsewhere: the record holds ``list NUL message``; what is given back goes to
the HEAD of its list, in order; nothing is fetched from a queue whose gate is closed; a message that no task can be
made of goes to the dead-letter stream instead of being dropped. Producers keep plain ``redis://``: what they write is
what kombu's transport expects.

An acknowledgement travels with the next fetch, or at the end of the event loop's turn where none follows.

kombu keeps a list per priority step (0, 3, 6, 9; the bare name is 0, served first). BLMOVE waits on one list only, so
each fetch first looks through all lists in order without waiting, then waits a moment on the one that had a message
last. A gate that opens meanwhile ends the wait (CLIENT UNBLOCK): the queue behind it has been kept waiting already.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from queue import Empty
from time import monotonic
from typing import Any, ClassVar, Final

from kombu.transport import TRANSPORT_ALIASES, redis, virtual
from redis.exceptions import NoScriptError, RedisError

from ratelimit.scripts import source
from workers.gate import GATE
from workers.vetting import Unusable, vet

logger = logging.getLogger("tidegate.transport")

UNACKED: Final = "tidegate:unacked"
UNACKED_INDEX: Final = "tidegate:unacked_index"
WAIT_S: Final = 0.5
"""How long one BLMOVE waits; a message in a list that is not waited on is found after this long at the latest."""

_FETCH_SHA: Final = hashlib.sha1(source("fetch", "workers").encode(), usedforsecurity=False).hexdigest()


def in_flight_key(list_key: str) -> str:
    """The in-flight list of a queue's list."""
    return f"tidegate:inflight:{list_key}"


class QoS(redis.QoS):  # type: ignore[misc]
    """Unacknowledged messages: recorded by ``record.lua`` on the way in, given back by ``give_back.lua``."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """Count it against the prefetch limit; the record in Redis was made before."""
        virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Forget it, with the next fetch or at the end of this turn."""
        self.channel.acknowledged.append(delivery_tag)
        virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Give it back to the head of its list, or forget it. Of a closed channel all was given back already."""
        if self.channel.closed:
            return
        if requeue:
            self.restore_by_tag(delivery_tag)
            virtual.QoS.ack(self, delivery_tag)
        else:
            self.ack(delivery_tag)

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:  # noqa: ARG002 - kombu passes it
        """Give it back to the head of its list, whatever ``leftmost`` says: deferring is not losing one's place."""
        with self.channel.conn_or_acquire(client) as connection:
            script = self.channel.script(connection, "give_back")
            script(keys=[self.unacked_key, self.unacked_index_key], args=[tag])

    def hand_over(self, tag: str, queue: str) -> None:
        """Put it at the end of another queue instead, with its priority."""
        with self.channel.conn_or_acquire() as connection:
            script = self.channel.script(connection, "hand_over")
            script(keys=[self.unacked_key, self.unacked_index_key], args=[tag, queue, self.channel.sep])
        virtual.QoS.ack(self, tag)

    def restore_unacked(self, client: Any = None) -> None:  # noqa: ARG002 - kombu passes it
        """Give all of them back, the last one first, so that the first one ends up in front."""
        self._flush()
        try:
            for tag in reversed(list(self._delivered)):
                self.restore_by_tag(tag)
        except Exception as error:  # noqa: BLE001 - Celery ends a node whose connection cannot even be closed
            logger.warning("Messages stay unacknowledged (%s); they come back by themselves", type(error).__name__)
        self._delivered.clear()

    def restore_visible(self, start: int = 0, num: int = 10, interval: int = 10) -> None:
        """Left to the sweep: its clock is the server's, and it spares nodes that are alive."""


class Channel(redis.Channel):  # type: ignore[misc]
    """kombu's Redis channel with a fetch that cannot lose a message."""

    QoS = QoS
    unacked_key = UNACKED
    unacked_index_key = UNACKED_INDEX

    #: Called with (list, message, reason) for a message that no task can be made of; set by the node.
    on_unusable: ClassVar[Callable[[str, bytes, str], None] | None] = None
    #: Names of the tasks that messages may ask for; set by the node.
    known_tasks: ClassVar[frozenset[str]] = frozenset()

    _looking = False
    _waiting_on: str | None = None
    _wait_socket: Any = None
    _wait_client_id: Any = None
    _last_list: str | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.acknowledged: list[str | bytes] = []
        self._riding: list[str | bytes] = []
        self._looked_at: list[str] = []
        super().__init__(*args, **kwargs)

    def flush_acknowledged(self) -> None:
        """Forget what was acknowledged since the last fetch."""
        if not self.acknowledged:
            return
        tags, self.acknowledged = self.acknowledged, []
        with self.conn_or_acquire() as client, client.pipeline() as pipe:
            pipe.hdel(self.unacked_key, *tags).zrem(self.unacked_index_key, *tags).execute()

    def close(self) -> None:
        """Forget what was acknowledged, give back what was not."""
        if not self.closed:
            try:
                self.flush_acknowledged()
            except Exception as error:  # noqa: BLE001 - after a loss the channel has no connection to take one from
                logger.warning("Acknowledgements are lost (%s); their messages are dropped later", type(error).__name__)
        super().close()

    def script(self, client: Any, name: str) -> Any:
        """A script of ``workers/lua``, ready to call on ``client``."""
        return client.register_script(source(name, "workers"))

    def _lists(self) -> list[str]:
        """Lists to take messages from, in the order in which they are served: by priority, then by queue."""
        queues = [queue for queue in self.active_queues if GATE.is_open(queue)]
        return [self._q_for_pri(queue, step) for step in self.priority_steps for queue in queues]

    def _brpop_start(self, timeout: float | None = None) -> None:  # noqa: ARG002 - kombu passes it
        """Look through the lists; called by kombu's poller whenever the node may take another message."""
        lists = self._lists()
        if not lists:
            return
        self._in_poll = self.client.connection
        self._brpop_sent_at = monotonic()
        self._looking, self._looked_at = True, lists
        pairs = [key for name in lists for key in (name, in_flight_key(name))]
        self._riding, self.acknowledged = self.acknowledged, []
        keys = [self.unacked_key, self.unacked_index_key, *pairs]
        self.client.connection.send_command("EVALSHA", _FETCH_SHA, len(keys), *keys, *self._riding)

    def _wait(self) -> None:
        lists = self._lists()
        if not lists or self._closing:
            self._in_poll = None
            return
        self._learn_client_id(self.client.connection)
        GATE.on_open = self._stop_waiting
        self._waiting_on = self._last_list if self._last_list in lists else lists[0]
        self._brpop_sent_at = monotonic()
        name = self._waiting_on
        self.client.connection.send_command("BLMOVE", name, in_flight_key(name), "RIGHT", "LEFT", WAIT_S)

    def _learn_client_id(self, connection: Any) -> None:
        """Ask Redis, once per connection, what it calls this one."""
        if self._wait_socket is not connection._sock:
            connection.send_command("CLIENT", "ID")
            self._wait_client_id = self.client.parse_response(connection, "CLIENT ID")
            self._wait_socket = connection._sock

    def _stop_waiting(self, queue: str) -> None:
        """``queue`` has opened: do not wait on another one's list to the end."""
        if self._in_poll and self._waiting_on and self._waiting_on.split(self.sep, 1)[0] != queue:
            try:
                with self.conn_or_acquire() as client:
                    client.client_unblock(self._wait_client_id)
            except RedisError as error:
                logger.debug("A wait goes on to its end: %s", error)

    def _brpop_read(self, **options: Any) -> bool:
        """A reply is there. Raises ``Empty`` where it holds no message."""
        looking, self._looking = self._looking, False
        waited_on, self._waiting_on = self._waiting_on, None
        try:
            reply = self.client.parse_response(self.client.connection, "EVALSHA" if looking else "BLMOVE", **options)
        except NoScriptError:
            self._in_poll = None
            self.acknowledged = self._riding + self.acknowledged
            with self.conn_or_acquire() as client:
                client.script_load(source("fetch", "workers"))
            raise Empty from None
        except self.connection_errors:
            self._in_poll = None
            self.client.connection.disconnect()
            raise
        except BaseException:
            self._in_poll = None
            raise
        if reply is None and looking:
            self._wait()
            raise Empty
        self._in_poll = None
        if reply is None:
            raise Empty
        if looking:
            name, message, recorded = self._looked_at[reply[0] - 1], reply[1], reply[2]
        else:
            name, message, recorded = str(waited_on), reply, b""
        self._last_list = name
        return self._receive_message(name, message, recorded)

    def _receive_message(self, name: str, message: bytes, recorded: bytes) -> bool:
        """Record it where that is not done, and hand it on; or put it aside where no task can be made of it."""
        try:
            payload = vet(message, self.known_tasks)
        except Unusable as unusable:
            self._put_aside(name, message, str(unusable), recorded)
            raise Empty from None
        queue, tag = name.split(self.sep, 1)[0], payload["properties"]["delivery_tag"]
        payload["properties"]["delivery_info"]["routing_key"] = queue  # where it is, whatever its producer wrote
        if not recorded and not self._record(name, message, tag):
            raise Empty
        self.connection._deliver(payload, queue)
        return True

    def _record(self, name: str, message: bytes, tag: str) -> bool:
        """``False`` where a sweep has put the message back: this node was that slow."""
        with self.conn_or_acquire() as client:
            keys = [in_flight_key(name), self.unacked_key, self.unacked_index_key]
            return bool(self.script(client, "record")(keys=keys, args=[message, tag, name]))

    def _put_aside(self, name: str, message: bytes, reason: str, recorded: bytes) -> None:
        logger.error("A message on %s is unusable and goes to the dead-letter stream: %s", name, reason)
        if Channel.on_unusable is None:
            raise RuntimeError("no dead-letter handler is set")
        Channel.on_unusable(name, message, reason)
        if recorded:
            self.acknowledged.append(recorded)
        else:
            with self.conn_or_acquire() as client:
                client.lrem(in_flight_key(name), 1, message)


class Poller(redis.MultiChannelPoller):  # type: ignore[misc]
    """kombu's poller; ends each turn with the acknowledgements that no fetch has taken along."""

    def on_poll_start(self) -> None:
        """Start fetches where messages may be taken, then see to what is left over."""
        super().on_poll_start()
        for channel in self._channels:
            channel.flush_acknowledged()


class Transport(redis.Transport):  # type: ignore[misc]
    """kombu's Redis transport with :class:`Channel` and :class:`Poller`."""

    Channel = Channel

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cycle = Poller()


def install() -> None:
    """Make ``redis://`` and ``rediss://`` mean this transport in this process. For nodes only."""
    for alias in ("redis", "rediss"):
        TRANSPORT_ALIASES[alias] = "workers.transport:Transport"


def list_key_of(record: bytes) -> tuple[str, bytes]:
    """Take a record of an unacknowledged message apart: its list, and the message as its producer wrote it."""
    name, _, message = record.partition(b"\0")
    return name.decode(), message
