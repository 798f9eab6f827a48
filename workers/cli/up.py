"""``tidegate up``: everything on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from providers.sandbox import registry as sandboxes
from providers.sandbox.server import SandboxServer
from workers.cli import sandbox as sandboxed
from workers.embedded import STATE_DIR, EmbeddedRedis, announce, free_port, refuse_a_second_one
from workers.processes import Fleet, wait_for_page
from workers.settings import Settings, load

FLOWER_PORT: Final = 5555
REDIS_PORT: Final = 6379


@dataclass(frozen=True, slots=True)
class Ground:
    """What a fleet stands on: its Redis, its sandboxes by provider, and the settings its processes get."""

    redis_url: str
    redis_version: str
    sandboxes: dict[str, Any]
    environment: dict[str, str]
    providers: list[str]


@contextlib.contextmanager
def ground(directory: Path, vendors: dict[str, Any], *, fresh: bool = False) -> Iterator[Ground]:
    """Start what is missing: an embedded Redis where none is configured, a sandbox where no key is.

    ``vendors`` are sandboxed vendors made by the caller, by provider; ``fresh`` ignores what is configured. Raises
    :class:`~workers.settings.SettingsError`, :class:`~workers.embedded.NoRedisServer`.
    """
    settings = Settings(redis_url=None, broker_url=None) if fresh else load()
    with contextlib.ExitStack() as stack:
        url, version = settings.redis_url, "configured"
        if url is None:
            refuse_a_second_one(STATE_DIR)
            embedded = stack.enter_context(EmbeddedRedis(directory / "redis", preferred_port=REDIS_PORT))
            url, version = embedded.url, embedded.version
            stack.callback(announce(STATE_DIR, url).unlink, missing_ok=True)
        environment = {"TIDEGATE_REDIS_URL": url}
        if fresh:
            environment |= _nothing_else(directory, url)
        configured = [account.provider.name for account in settings.accounts]
        served = {name: vendors.get(name) or sandboxed.make(name) for name in sandboxes if name not in configured}
        for name, vendor in served.items():
            server = stack.enter_context(SandboxServer(vendor))
            environment |= sandboxed.environment(name, server.url)
        yield Ground(url, version, served, environment, [*configured, *served])


def _nothing_else(directory: Path, url: str) -> dict[str, str]:
    """What hides the caller's own settings from the processes: a demo must not spend, nor write elsewhere."""
    empty = directory / "empty.toml"
    empty.touch()
    hidden = ("TIDEGATE_RESULT_STREAM", "TIDEGATE_DEAD_LETTER_STREAM", "TIDEGATE_TIMING", "SENTRY_DSN")
    plans = (f"{name.upper()}_PLAN" for name in sandboxes)
    return {"TIDEGATE_BROKER_URL": url, "TIDEGATE_CONFIG": str(empty)} | dict.fromkeys([*hidden, *plans], "")


@click.command()
@click.option("--concurrency", "-c", type=click.IntRange(1, 256), default=8, show_default=True, help="per node")
@click.option("--nodes", type=click.IntRange(1, 16), default=1, show_default=True, help="nodes per provider")
@click.option("--flower-port", type=int, default=FLOWER_PORT, show_default=True)
def up(concurrency: int, nodes: int, flower_port: int) -> None:
    """Run everything on this machine, until Ctrl-C.

    Starts an embedded Redis if none is configured, one worker node per configured provider and Flower; a provider
    without a key is served by its sandbox.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with ground(STATE_DIR, {}) as base:
        fleet = Fleet(base.environment)
        port = free_port(flower_port)
        try:
            for provider in base.providers:
                for _ in range(nodes):
                    fleet.add_node(provider, concurrency)
            fleet.add_flower(port)
            _introduce(base, port)
            while not stop.wait(1.0):
                for child in fleet.revive():
                    click.echo(f"{child.name} had ended and was started again", err=True)
        finally:
            click.echo("stopping: requests in flight may end first", err=True)
            fleet.stop()


def _introduce(base: Ground, flower_port: int) -> None:
    click.echo(f"Redis {base.redis_version}: {base.redis_url}")
    for provider in base.providers:
        where = "its sandbox (no key is set)" if provider in base.sandboxes else "the real service"
        click.echo(f"{provider}: {where}, queue {provider!r}")
    page = f"http://127.0.0.1:{flower_port}"
    ready = wait_for_page(f"{page}/healthcheck", within_s=30)
    click.echo(f"Flower: {page}{'' if ready else ' (not yet answering)'}")
    broker = os.environ.get("TIDEGATE_BROKER_URL") or base.redis_url
    click.echo(f"Produce to {broker}; see results with `tidegate results --follow`; Ctrl-C ends all of it.")
