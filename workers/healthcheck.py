"""``python -m workers.healthcheck PROVIDER``: status 0 while a node of this host says that it is alive."""

from __future__ import annotations

import socket
import sys

from redis import Redis

from workers.embedded import load_or_find


def is_alive(redis: Redis, provider: str, host: str) -> bool:
    """Whether a node of ``host`` has reported in the last ten seconds."""
    return any(True for _ in redis.scan_iter(f"tidegate:node:{provider}:{host}:*", count=1000))


if __name__ == "__main__":
    with Redis.from_url(load_or_find().required_redis_url, socket_timeout=3, socket_connect_timeout=3) as client:
        sys.exit(0 if is_alive(client, sys.argv[1], socket.gethostname()) else 1)
