"""``tidegate results``: the result stream, read."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import click
from redis import Redis
from redis.exceptions import ResponseError

from workers.embedded import load_or_find

BLOCK_MS = 1000


@click.command()
@click.option("--group", help="read as this consumer group: at least once, acknowledged after it is printed")
@click.option("--follow", is_flag=True, help="wait for more")
@click.option("--json", "as_json", is_flag=True, help="one result document a line")
def results(group: str | None, follow: bool, as_json: bool) -> None:
    """Read the result stream: all of it, or as a consumer group what the group has not seen."""
    settings = load_or_find()
    redis = Redis.from_url(settings.required_redis_url, decode_responses=True)
    stream = settings.result_stream
    entries = _as_group(redis, stream, group, follow) if group else _all(redis, stream, follow)
    try:
        for entry_id, fields in entries:
            click.echo(fields["result"] if as_json else _line(fields))
            if group:
                redis.xack(stream, group, entry_id)
    except KeyboardInterrupt:
        return


def _all(redis: Redis, stream: str, follow: bool) -> Iterator[tuple[str, dict[str, str]]]:
    last = "0-0"
    while True:
        reply: Any = redis.xread({stream: last}, count=500, block=BLOCK_MS if follow else None)
        for _, entries in reply or []:
            for entry_id, fields in entries:
                last = entry_id
                yield entry_id, fields
        if not reply and not follow:
            return


def _as_group(redis: Redis, stream: str, group: str, follow: bool) -> Iterator[tuple[str, dict[str, str]]]:
    """First what a consumer of this name got and did not acknowledge, then what is new."""
    try:
        redis.xgroup_create(stream, group, id="0", mkstream=True)
    except ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise
    consumer = f"{socket.gethostname()}-{os.getpid()}"
    claimed: Any = redis.xautoclaim(stream, group, consumer, min_idle_time=60_000, count=500)
    yield from claimed[1]
    while True:
        reply: Any = redis.xreadgroup(group, consumer, {stream: ">"}, count=500, block=BLOCK_MS if follow else None)
        for _, entries in reply or []:
            yield from entries
        if not reply and not follow:
            return


def _line(fields: dict[str, str]) -> str:
    document = json.loads(fields["result"])
    said = ""
    if document["error"]:
        said = f"{document['error']['kind']}: {document['error']['message']}"
    elif document["data"]:
        said = ", ".join(
            f"{len(value)} {name}" if isinstance(value, list) else f"{name} {value!r:.40}"
            for name, value in document["data"].items()
        )
    usage = document["usage"]
    return f"{fields['status']:9} {fields['task']:20} {fields['task_id']}  {usage['consumed']} {usage['unit']}s  {said}"
