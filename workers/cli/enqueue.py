"""``tidegate enqueue``: messages from the command line or a file, packed into the fewest requests."""

from __future__ import annotations

import csv
import json
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from providers.base import Operation
from providers.registry import PROVIDERS
from workers.embedded import load_or_find
from workers.settings import SettingsError


@click.command()
@click.argument("task")
@click.option("--json", "as_json", help="keyword arguments, a JSON object; lists may be longer than one request allows")
@click.option("--file", "path", type=click.Path(exists=True, dir_okay=False, path_type=Path), help=".ndjson or .csv")
def enqueue(task: str, as_json: str | None, path: Path | None) -> None:
    """Send messages for TASK (as in asinscope.lookup); prints their ids.

    A .ndjson file has a JSON object of keyword arguments a line; a .csv file names them in its first line. All
    arguments are checked before the first message is sent.
    """
    provider, operation = _find(task)
    arguments = list(_arguments(as_json, path))
    messages = operation.pack(arguments)
    _check(operation, messages)
    settings = load_or_find()
    settings.required_redis_url  # noqa: B018 - raises where there is none
    from celery import Celery

    app = Celery(broker=settings.broker_url, set_as_current=False)
    queue = f"{provider}.free" if operation.free else provider
    with (
        app.producer_or_acquire() as producer,
        click.progressbar(messages, label=f"{len(messages)} messages to {queue!r}", file=sys.stderr) as bar,
    ):
        for message in bar:
            task_id = str(uuid.uuid4())
            app.send_task(task, kwargs=message, task_id=task_id, queue=queue, producer=producer)
            click.echo(task_id)


def _find(task: str) -> tuple[str, Operation[Any]]:
    provider, _, name = task.partition(".")
    known = [f"{item.name}.{operation}" for item in PROVIDERS.values() for operation in item.operations]
    if task not in known:
        raise SettingsError(f"there is no task {task!r}; known: {', '.join(known)}")
    return provider, PROVIDERS[provider].operations[name]


def _arguments(as_json: str | None, path: Path | None) -> Iterator[dict[str, Any]]:
    if (as_json is None) == (path is None):
        raise SettingsError("give either --json or --file")
    if as_json is not None:
        yield _object(as_json, "--json")
    elif path is not None and path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file):
                yield {name: value for name, value in row.items() if name and value}
    elif path is not None and path.suffix in {".ndjson", ".jsonl"}:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _object(line, f"{path.name}, line {number}")
    else:
        raise SettingsError(f"{path}: the name must end in .ndjson, .jsonl or .csv")


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"{where} is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise SettingsError(f"{where} is no JSON object")
    return value


def _check(operation: Operation[Any], messages: list[dict[str, Any]]) -> None:
    if not messages:
        raise SettingsError("there is nothing to send: no identifiers were found")
    for message in messages:
        try:
            operation.request_model.model_validate(message)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise SettingsError(f"{where or 'arguments'}: {first['msg']}; nothing was sent") from None
