"""The processes of a fleet on one machine: nodes and Flower, started, watched and ended by ``up`` and ``demo``."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final
from urllib.error import URLError
from urllib.request import urlopen

from redis import Redis

from workers.leash import leashed

STOP_WITHIN_S: Final = 45.0
"""A node may finish the request it is in: its deadline is 30 s."""


@dataclass(slots=True)
class Child:
    """One process: what it is called, how it is started, where it writes (``None``: where we do)."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path | None
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0

    def start(self) -> None:
        """Start it, in a session of its own: a Ctrl-C is for us to pass on, in order."""
        output: IO[bytes] | None = None
        if self.log is not None:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            output = self.log.open("ab")
        self.process = subprocess.Popen(
            leashed(list(self.command)),
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        self.starts += 1
        if output is not None:
            output.close()

    def is_running(self) -> bool:
        """Whether it is alive."""
        return self.process is not None and self.process.poll() is None

    def terminate(self) -> None:
        """Ask it to end."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def wait(self, deadline_s: float) -> int | None:
        """Wait for its end until ``time.monotonic()`` says so, then kill it. Returns its exit status."""
        if self.process is None:
            return None
        try:
            return self.process.wait(timeout=max(0.1, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@dataclass(slots=True)
class Fleet:
    """Nodes and Flower on this machine. ``environment`` is what they get on top of ours."""

    environment: Mapping[str, str]
    log_directory: Path | None = None
    children: list[Child] = field(default_factory=list)

    def add_node(self, provider: str, concurrency: int) -> Child:
        """Start a worker node for one provider."""
        number = sum(child.name.startswith(provider) for child in self.children) + 1
        command = [sys.executable, "-m", "workers", "worker", provider, "--concurrency", str(concurrency)]
        return self._add(f"{provider}-{number}", command)

    def add_flower(self, port: int) -> Child:
        """Start Flower on loopback."""
        command = [
            sys.executable,
            "-m",
            "celery",
            "-q",
            "-A",
            "workers",
            "flower",
            "--address=127.0.0.1",
            f"--port={port}",
        ]
        return self._add("flower", [*command, "--logging=warning"], quiet=True)

    def revive(self) -> list[Child]:
        """Start again what has died. Returns those."""
        dead = [child for child in self.children if not child.is_running()]
        for child in dead:
            child.start()
        return dead

    def stop(self) -> dict[str, int | None]:
        """End all of them, nodes first; each may finish its requests. Returns the exit statuses."""
        ordered = sorted(self.children, key=lambda child: child.name == "flower")
        for child in ordered:
            child.terminate()
        deadline_s = time.monotonic() + STOP_WITHIN_S
        return {child.name: child.wait(deadline_s) for child in ordered}

    def _add(self, name: str, command: Sequence[str], *, quiet: bool = False) -> Child:
        directory = self.log_directory
        if directory is None and quiet:
            directory = Path(".tidegate") / "logs"
        child = Child(name, command, self.environment, directory / f"{name}.log" if directory else None)
        child.start()
        self.children.append(child)
        return child


def wait_for_nodes(redis: Redis, provider: str, count: int, *, within_s: float) -> bool:
    """Wait until so many nodes of a provider have said that they are alive."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if sum(1 for _ in redis.scan_iter(f"tidegate:node:{provider}:*", count=1000)) >= count:
            return True
        time.sleep(0.1)  # nodes announce themselves once a second
    return False


def wait_for_page(url: str, *, within_s: float) -> bool:
    """Wait until a page on this machine answers."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            with urlopen(url, timeout=2) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            time.sleep(0.2)  # it is starting
    return False
