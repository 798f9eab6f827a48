"""What a Celery user would write today, as well as one would: the peers of the benches.

- ``plain``: the look-up and the push to a stream, no limits (for the messages-a-second bench)
- ``retrying``: the same, 429s retried with exponential backoff and full jitter, for ever
- ``limited``: the same with Celery's ``rate_limit``, the account's rate divided among three workers
"""

from __future__ import annotations

import json
import os
import random
from typing import Any

import httpx
from celery import Celery, Task
from redis import Redis

URL = os.environ.get("TIDEGATE_REDIS_URL", "redis://localhost:6379/0")
BASE_URL = os.environ.get("ASINSCOPE_BASE_URL", "http://localhost:8800")

app = Celery("peers", broker=URL)
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True)

_http = httpx.Client(timeout=30, limits=httpx.Limits(max_connections=64))
_redis = Redis.from_url(URL)


def _look_up(asin: list[str], domain: str) -> httpx.Response:
    query = {"key": os.environ.get("ASINSCOPE_API_KEY", ""), "asin": ",".join(asin), "domain": domain}
    return _http.get(f"{BASE_URL}/products/lookup", params=query)


def _push(task: Task, answer: httpx.Response) -> None:
    fields: dict[Any, Any] = {"task_id": task.request.id, "result": json.dumps(answer.json())}
    _redis.xadd("tidegate:results", fields)


@app.task(bind=True, name="plain.lookup")
def plain(self: Task, asin: list[str], domain: str) -> None:
    answer = _look_up(asin, domain)
    answer.raise_for_status()
    _push(self, answer)


def _with_retries(task: Task, asin: list[str], domain: str) -> None:
    answer = _look_up(asin, domain)
    if answer.status_code == 429:
        raise task.retry(countdown=random.uniform(0, min(30.0, 2.0**task.request.retries)))
    answer.raise_for_status()
    _push(task, answer)


@app.task(bind=True, name="retrying.lookup", acks_late=True, max_retries=None)
def retrying(self: Task, asin: list[str], domain: str) -> None:
    _with_retries(self, asin, domain)


@app.task(bind=True, name="limited.lookup", acks_late=True, max_retries=None, rate_limit="200/m")
def limited(self: Task, asin: list[str], domain: str) -> None:
    _with_retries(self, asin, domain)
