"""Run beside a compose fleet that is up: messages in, results out, counted. Exits 1 where they differ."""

import json
import os
import subprocess
import sys
import time
import uuid

import httpx
from celery import Celery
from redis import Redis

COUNT = 30


def main() -> int:
    """Send, wait, count; look whether Flower asks for a login."""
    password = os.environ.get("REDIS_PASSWORD") or "tidegate-laptop"
    url = f"redis://:{password}@127.0.0.1:{os.environ['REDIS_PORT']}/0"
    redis, app = Redis.from_url(url, decode_responses=True), Celery(broker=url)
    sent = [str(uuid.uuid4()) for _ in range(COUNT)]
    for number, task_id in enumerate(sent):
        kwargs = {"asin": [f"B0{number:08d}"], "domain": "com"}
        app.send_task("asinscope.lookup", kwargs=kwargs, task_id=task_id, queue="asinscope")
    deadline = time.monotonic() + 60
    while redis.xlen("tidegate:results") < COUNT and time.monotonic() < deadline:
        time.sleep(0.2)
    documents = [json.loads(fields["result"]) for _, fields in redis.xrange("tidegate:results")]
    ok = sorted(document["task_id"] for document in documents if document["status"] == "ok")
    page = f"http://127.0.0.1:{os.environ['FLOWER_PORT']}/tasks"
    login = tuple((os.environ.get("FLOWER_LOGIN") or "tidegate:tidegate-laptop").split(":", 1))
    closed, opened = httpx.get(page).status_code, httpx.get(page, auth=login).status_code
    print(f"sent {COUNT}, results ok {len(ok)}, Flower without login {closed}, with login {opened}")
    if ok == sorted(sent) and (closed, opened) == (401, 200):
        return 0
    subprocess.run(["docker", "compose", "logs", "--tail", "40"], check=False)
    return 1


if __name__ == "__main__":
    sys.exit(main())
