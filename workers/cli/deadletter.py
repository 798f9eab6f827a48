"""``tidegate deadletter``: messages that no task could be made of."""

from __future__ import annotations

import json
from typing import Any

import click
from redis import Redis

from workers.embedded import load_or_find


@click.group()
def deadletter() -> None:
    """Look at messages that no task could be made of; put them back, or drop them."""


def _stream() -> tuple[Redis, str, str]:
    settings = load_or_find()
    return Redis.from_url(settings.required_redis_url), settings.dead_letter_stream, str(settings.broker_url)


@deadletter.command("list")
@click.option("--json", "as_json", is_flag=True, help="one JSON object a line, the message's bytes as Latin-1 text")
def list_entries(as_json: bool) -> None:
    """List them: id, when, list, reason."""
    redis, stream, _ = _stream()
    entries: Any = redis.xrange(stream)
    for entry_id, fields in entries:
        row = {name.decode(): value.decode("latin-1") for name, value in fields.items()}
        row["id"] = entry_id.decode()
        click.echo(json.dumps(row) if as_json else f"{row['id']}  {row['at']}  {row['list']!r}  {row['reason']}")


@deadletter.command()
@click.argument("ids", nargs=-1, required=True)
def requeue(ids: tuple[str, ...]) -> None:
    """Put messages back to the tail of their lists, as they were, and forget them here."""
    redis, stream, broker_url = _stream()
    broker = Redis.from_url(broker_url)
    for entry_id in ids:
        fields = _entry(redis, stream, entry_id)
        broker.lpush(fields[b"list"].decode(), fields[b"message"])
        redis.xdel(stream, entry_id)
        click.echo(f"{entry_id} is back in {fields[b'list'].decode()!r}")


@deadletter.command()
@click.argument("ids", nargs=-1, required=True)
def drop(ids: tuple[str, ...]) -> None:
    """Forget messages for good."""
    redis, stream, _ = _stream()
    for entry_id in ids:
        _entry(redis, stream, entry_id)
        redis.xdel(stream, entry_id)
        click.echo(f"{entry_id} is dropped")


def _entry(redis: Redis, stream: str, entry_id: str) -> dict[bytes, bytes]:
    found: Any = redis.xrange(stream, entry_id, entry_id)
    if not found:
        raise click.ClickException(f"there is no dead letter {entry_id}")
    return dict(found[0][1])
