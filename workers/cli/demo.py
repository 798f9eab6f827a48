"""``tidegate demo``: the main job on a sandbox with a tight plan, told as it happens, and counted at the end."""

from __future__ import annotations

import json
import sys
import tempfile
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click
from celery import Celery
from redis import Redis

from providers.registry import PROVIDERS
from providers.sandbox.vendor import Latency
from ratelimit import Limiter, Snapshot
from workers.cli import sandbox
from workers.cli.up import FLOWER_PORT, Ground, ground
from workers.embedded import free_port
from workers.processes import Fleet, wait_for_nodes, wait_for_page
from workers.steward import lists_of

PROVIDER: Final = "asinscope"
PLAN: Final = {"bucket_capacity": 10, "tokens_per_minute": 120, "daily_tokens": 40}
DAY_S: Final = 40.0
FIRST_RESET_S: Final = 30.0
NODES: Final = 2
WITHIN_S: Final = 120.0
TELL_EVERY_S: Final = 2.0


@dataclass(slots=True)
class Story:
    """What was sent, and the clock of the telling."""

    began_s: float = field(default_factory=time.monotonic)
    sent: list[str] = field(default_factory=list)
    codes: int = 0

    def tell(self, text: str) -> None:
        """One line, with the seconds since the start."""
        click.echo(f"[{time.monotonic() - self.began_s:5.1f} s] {text}")


@click.command()
@click.option("--flower-port", type=int, default=FLOWER_PORT, show_default=True)
@click.option("--keep-open", is_flag=True, help="leave Flower and Redis running at the end, until Enter")
def demo(flower_port: int, keep_open: bool) -> None:
    """Show the main job: messages go in, tokens run out, messages wait, results come out, none missing.

    Exits 0 only if every message has exactly one result and the provider never had to say 429.
    """
    story = Story()
    vendor = sandbox.make(PROVIDER, PLAN, day_s=DAY_S, day_left_s=FIRST_RESET_S, latency=Latency(0.08, 0.03))
    with (
        tempfile.TemporaryDirectory(prefix="tidegate-demo-") as directory,
        ground(Path(directory), {PROVIDER: vendor}, fresh=True) as base,
    ):
        fleet = Fleet(base.environment, log_directory=Path(directory) / "logs")
        try:
            good = _play(story, base, vendor, fleet, free_port(flower_port))
            if keep_open:
                click.prompt("Enter ends", default="", show_default=False)
        finally:
            fleet.stop()
        if not good:
            _show_logs(Path(directory) / "logs")
    sys.exit(0 if good else 1)


def _play(story: Story, base: Ground, vendor: Any, fleet: Fleet, flower_port: int) -> bool:
    redis = Redis.from_url(base.redis_url, decode_responses=True)
    story.tell(f"Redis {base.redis_version} at {base.redis_url}")
    story.tell(
        f"A stand-in for ASINScope with a tight plan: {PLAN['bucket_capacity']} tokens at once,"
        f" {PLAN['tokens_per_minute'] // 60} more a second, {PLAN['daily_tokens']} a day (its day lasts {DAY_S:.0f} s)"
    )
    _send(story, base)
    for _ in range(NODES):
        fleet.add_node(PROVIDER, concurrency=4)
    fleet.add_flower(flower_port)
    page = f"http://127.0.0.1:{flower_port}"
    wait_for_nodes(redis, PROVIDER, NODES, within_s=40)
    flower = "Flower" if wait_for_page(f"{page}/healthcheck", within_s=30) else "Flower (still starting)"
    story.tell(f"{NODES} nodes are at work; {flower} shows queue and tasks: {page}")
    _watch(story, redis, Redis.from_url(base.redis_url))
    return _account_for_all(story, redis, vendor)


def _send(story: Story, base: Ground) -> None:
    """What a producer does: plain Celery, no import of this project."""
    app = Celery(broker=base.redis_url, set_as_current=False)
    batches = [[f"B0DEMO{batch:02d}{code:02d}" for code in range(1 + batch % 4)] for batch in range(28)]
    batches[5][0] = "B0MISSING1"
    for codes in batches:
        _send_one(story, app, {"asin": codes, "domain": "com"})
        story.codes += len(codes)
    _send_one(story, app, {"upc": ["012345678905"]})
    story.codes += 1
    _send_one(story, app, {"asin": ["not an ASIN"]})
    app.send_task("asinscope.lookup", kwargs={"asin": batches[0]}, task_id=story.sent[0], queue=PROVIDER)
    story.tell(
        f"Sent {len(story.sent)} messages with {story.codes} product codes, one token each"
        " (one has a code that does not exist, one is malformed, and one was sent twice under the same id)"
    )


def _send_one(story: Story, app: Celery, kwargs: dict[str, Any]) -> None:
    task_id = str(uuid.uuid4())
    app.send_task("asinscope.lookup", kwargs=kwargs, task_id=task_id, queue=PROVIDER)
    story.sent.append(task_id)


def _watch(story: Story, redis: Redis, raw: Redis) -> None:
    """Tell what is going on until every message has its result, or time is over."""
    limiter = Limiter(raw, f"{PROVIDER}:main", PROVIDERS[PROVIDER].limits(None))
    deadline, told, before = time.monotonic() + WITHIN_S, 0.0, ""
    while time.monotonic() < deadline:
        done = redis.xlen("tidegate:results")
        if done >= len(story.sent):
            return
        queued = sum(redis.llen(key) for key in lists_of(PROVIDER))
        phase, line = _describe(limiter.peek(), done, queued, len(story.sent))
        if phase != before or time.monotonic() - told >= TELL_EVERY_S:
            story.tell(line)
            told, before = time.monotonic(), phase
        time.sleep(0.1)


def _describe(now: Snapshot, done: int, queued: int, sent: int) -> tuple[str, str]:
    progress = f"results {done:2d} of {sent}, still queued {queued:2d}"
    day, bucket = now.limits["day"], now.limits["bucket"]
    if day.left is None or bucket.left is None:
        return "asking", f"{progress} | asking the provider what is left"
    left = f"bucket {max(0.0, bucket.left):4.1f}, day {max(0.0, day.left):2.0f} left"
    if day.left < 1:
        return "day", f"{progress} | {left} | the day is used up: waiting {day.reset_in_s or 0:.0f} s for the reset"
    return "bucket", f"{progress} | {left}{' | waiting for the bucket to refill' if queued else ''}"


def _account_for_all(story: Story, redis: Redis, vendor: Any) -> bool:
    """The table at the end. Whether it adds up."""
    time.sleep(1.0)  # a second result for one message would come now
    entries: Any = redis.xrange("tidegate:results")
    documents = [json.loads(fields["result"]) for _, fields in entries]
    per_id = Counter(document["task_id"] for document in documents)
    status = Counter(document["status"] for document in documents)
    missing = sum(len(document["data"]["missing"]) for document in documents if document["data"])
    duplicates = sum(count - 1 for count in per_id.values())
    lost = len(set(story.sent) - set(per_id))
    refused = len(vendor.ledger.broken_limits())
    spent, reported = vendor.ledger.consumed(), sum(document["usage"]["consumed"] for document in documents)
    rows = [
        ("messages sent", len(story.sent)),
        ("results", len(documents)),
        ("  ok", status["ok"]),
        ("  failed (the malformed one, refused before anything was sent)", status["failed"]),
        ("messages without a result", lost),
        ("duplicate results", duplicates),
        ("429s that the provider had to answer", refused),
        ("product codes asked for", story.codes),
        ("  of them unknown to the provider", missing),
        ("tokens spent, by the provider's books", spent),
        ("tokens spent, by the results", reported),
    ]
    story.tell("Every message has its result" if not lost else f"{lost} messages have no result")
    click.echo()
    for label, count in rows:
        click.echo(f"  {label:68}{count:5d}")
    good = not (lost or duplicates or refused) and spent == reported == story.codes and status["failed"] == 1
    click.echo(f"\n  {'It adds up.' if good else 'IT DOES NOT ADD UP.'}")
    return good


def _show_logs(directory: Path) -> None:
    for path in sorted(directory.glob("*.log")):
        click.echo(f"--- {path.name}\n{path.read_text(errors='replace')[-4000:]}", err=True)
