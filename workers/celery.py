"""The Celery application. ``celery -A workers …`` finds it here.

Importing it opens nothing. A worker process becomes a node when Celery has parsed its options: the safe transport is
put in place, the node is built for the queues it was told to consume, and its steward starts when it is ready.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

from celery import Celery, bootsteps, signals
from kombu import Exchange, Queue

from providers.registry import PROVIDERS
from workers import admission, tasks, telemetry, transport
from workers.embedded import load_or_find
from workers.node import Node, queues_of
from workers.settings import Settings, SettingsError
from workers.steward import Steward

logger = logging.getLogger("tidegate.celery")

SWITCH_INTERVAL_S: Final = 0.0005
"""How long a thread may keep the interpreter while others wait for it. Python's 5 ms suit computing; a node's threads
wait for sockets, and each answer that arrives would stand in line that long."""


class AdmissionStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Empties the waiting rooms before the connection closes: in order, to the head of their queues."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def stop(self, parent: Any) -> None:  # noqa: ARG002 - Celery's
        """The consumer stops, or reconnects."""
        if _running is not None:
            _running[1].vacate()


def make_app(settings: Settings) -> Celery:
    """The application for these settings. Its broker is unset where none is configured."""
    app = Celery("tidegate", set_as_current=False)
    app.conf.update(
        broker_url=settings.broker_url or "redis://",
        broker_connection_retry_on_startup=True,
        broker_transport_options={"health_check_interval": 10, "socket_connect_timeout": 5},
        worker_pool="threads",
        worker_concurrency=8,
        worker_prefetch_multiplier=1,
        worker_enable_prefetch_count_reduction=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_log_color=False,
        task_serializer="json",
        accept_content=["json"],
        event_serializer="json",
        task_ignore_result=True,
        task_queues=[_queue(name) for provider in PROVIDERS.values() for name in queues_of(provider)],
        task_routes={f"{name}.*": {"queue": name} for name in PROVIDERS},
        task_create_missing_queues=True,
        timezone="UTC",
    )
    tasks.register(app)
    app.steps["consumer"].add(AdmissionStep)
    return app


def _queue(name: str) -> Queue:
    """A queue as a plain producer's ``send_task(queue=name)`` declares it."""
    return Queue(name, Exchange(name), routing_key=name)


settings = load_or_find()
app = make_app(settings)

_running: tuple[Node, admission.Admission, Steward] | None = None


@signals.celeryd_init.connect(weak=False)
def _use_safe_transport(**_: Any) -> None:
    transport.install()


@signals.setup_logging.connect(weak=False)
def _set_up_logging(loglevel: int | None = None, **_: Any) -> None:
    telemetry.configure_logging(loglevel or logging.INFO)


@signals.worker_init.connect(weak=False)
def _become_node(sender: Any, **_: Any) -> None:
    global _running  # noqa: PLW0603 - one node a process
    try:
        _running = _build(sender)
    except SettingsError as error:
        raise SystemExit(f"tidegate: {error}") from None


def _build(worker: Any) -> tuple[Node, admission.Admission, Steward]:
    pool = worker.app.conf.worker_pool if isinstance(worker.pool_cls, str) else worker.pool_cls.__module__
    if "thread" not in str(worker.pool_cls) and "thread" not in str(pool):
        raise SettingsError("nodes run with the threads pool: leave -P out, or give -P threads")
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    telemetry.start_sentry(settings.sentry_dsn)
    consumed = set(worker.app.amqp.queues.consume_from)
    wanted = [name for name, provider in PROVIDERS.items() if consumed & set(queues_of(provider))]
    configured = {account.provider.name for account in settings.accounts}
    providers = [name for name in wanted if name in configured] or wanted
    for name in set(wanted) - set(providers):
        worker.app.amqp.queues.deselect(queues_of(PROVIDERS[name]))
    node = Node(settings, providers, concurrency=int(worker.concurrency))
    transport.Channel.on_unusable = node.dead_letter
    transport.Channel.known_tasks = frozenset(
        f"{name}.{operation}" for name in providers for operation in PROVIDERS[name].operations
    )
    serving = admission.serve(node)
    return node, serving, Steward(node, serving.nudge, serving.describe)


@signals.worker_ready.connect(weak=False)
def _start_steward(**__: Any) -> None:
    assert _running is not None
    node, _, steward = _running
    steward.start()
    logger.info("Node %s serves %s", node.name, ", ".join(node.desks))


@signals.worker_shutting_down.connect(weak=False)
def _take_no_more(**_: Any) -> None:
    if _running is not None:
        _running[0].stopping.set()


@signals.worker_shutdown.connect(weak=False)
def _end(**__: Any) -> None:
    if _running is not None:
        node, _, steward = _running
        if steward.is_alive():
            steward.stop()
        node.close()
