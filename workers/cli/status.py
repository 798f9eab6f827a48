"""``tidegate status``: what is left, what waits, and until when."""

from __future__ import annotations

import base64
import json
import time
from typing import Any, Final

import click
from redis import Redis

from providers.registry import PROVIDERS
from ratelimit import Limiter
from workers.deferral import DeferralStore
from workers.embedded import load_or_find
from workers.forecast import drained_in_s
from workers.settings import Account, Settings
from workers.steward import lists_of

SAMPLE: Final = 100
"""So many waiting messages are looked at to guess what all of them cost."""


@click.command()
@click.option("--watch", is_flag=True, help="again every 2 s, until Ctrl-C")
@click.option("--json", "as_json", is_flag=True, help="one JSON object per account a line")
def status(watch: bool, as_json: bool) -> None:
    """Per account: what is left of each limit, whether its gate is open, what waits, when that will be done."""
    settings = load_or_find()
    redis = Redis.from_url(settings.required_redis_url)
    broker = Redis.from_url(str(settings.broker_url))
    while True:
        rows = [describe(account, redis, broker) for account in _accounts(settings)]
        if watch and not as_json:
            click.clear()
        for row in rows:
            click.echo(json.dumps(row) if as_json else text(row))
        if not rows:
            click.echo("no provider is configured, and no node runs", err=True)
        if not watch:
            return
        try:
            time.sleep(2)
        except KeyboardInterrupt:
            return


def _accounts(settings: Settings) -> list[tuple[str, Account | None]]:
    """Every provider: one may be served by somebody else's nodes, on this Redis."""
    configured = {account.provider.name: account for account in settings.accounts}
    return [(name, configured.get(name)) for name in PROVIDERS]


def describe(account: tuple[str, Account | None], redis: Redis, broker: Redis) -> dict[str, Any]:
    """One account as it stands, JSON-ready. Times in seconds."""
    name, configured = account
    provider = PROVIDERS[name]
    account_id = configured.id if configured else f"{name}:main"
    snapshot = Limiter(redis, account_id, provider.limits(configured.plan if configured else None)).peek()
    nodes = _nodes(redis, name)
    queued = {queue: sum(broker.llen(key) for key in lists_of(queue)) for queue in (name, f"{name}.free")}
    cost = _cost_of_waiting(broker, name)
    reasons = sorted({node["closed"] for node in nodes if node["closed"]})
    return {
        "account": account_id,
        "limits": {
            limit: {
                "left": view.left,
                "capacity": view.capacity,
                "in_flight": view.outstanding,
                "refill_per_s": view.refill_per_s,
                "reset_in_s": view.reset_in_s,
            }
            for limit, view in snapshot.limits.items()
        },
        "observed_ago_s": snapshot.observed_ago_s,
        "gate": "no node" if not nodes else "closed" if reasons else "open",
        "gate_reasons": reasons,
        "paused": snapshot.paused_because,
        "paused_for_s": snapshot.paused_for_s if snapshot.paused_kind not in {"account", "operator"} else None,
        "next_in_s": snapshot.next_in_s,
        "nodes": len(nodes),
        "queued": queued,
        "deferred": DeferralStore(redis, name).count(),
        "held_by_nodes": sum(node.get("held", 0) for node in nodes),
        "in_flight": snapshot.in_flight,
        "backlog_units": cost,
        "drained_in_s": None if snapshot.paused_because else drained_in_s(cost, snapshot.limits),
    }


def _nodes(redis: Redis, provider: str) -> list[dict[str, Any]]:
    values = (redis.get(key) for key in redis.scan_iter(f"tidegate:node:{provider}:*", count=1000))
    return [json.loads(value) for value in values if isinstance(value, bytes)]


def _cost_of_waiting(broker: Redis, provider: str) -> float:
    """Units that the queued messages will take: the mean of a sample, times their number."""
    total, costs = 0, []
    for key in lists_of(provider):
        total += broker.llen(key)
        costs += [_cost(message) for message in broker.lrange(key, -SAMPLE, -1)]
    return total * sum(costs) / len(costs) if costs else 0.0


def _cost(message: bytes | str) -> int:
    """What one message costs; 0 where it will be refused."""
    try:
        payload = json.loads(message)
        kwargs = json.loads(base64.b64decode(payload["body"]))[1]
        provider, _, name = payload["headers"]["task"].partition(".")
        operation = PROVIDERS[provider].operations[name]
        claim = operation.claim(operation.request_model.model_validate(kwargs), {})
    except (ValueError, KeyError, TypeError, IndexError):
        return 0
    return max(claim.costs.values()) if claim else 0


def text(row: dict[str, Any]) -> str:
    """The same for people."""
    lines = [f"{row['account']}: gate {row['gate']}{_reasons(row)}"]
    for name, limit in row["limits"].items():
        left = "unknown" if limit["left"] is None else f"{max(0.0, limit['left']):.0f}"
        of = "" if limit["capacity"] is None else f" of {limit['capacity']:.0f}"
        refill = f", {limit['refill_per_s'] * 60:g} a minute" if limit["refill_per_s"] else ""
        reset = f", resets in {duration(limit['reset_in_s'])}" if limit["reset_in_s"] is not None else ""
        lines.append(f"  {name:8} {left}{of} left{refill}{reset}")
    queued = ", ".join(f"{count} in {queue!r}" for queue, count in row["queued"].items())
    lines.append(f"  waiting  {queued}, {row['deferred']} deferred, {row['in_flight']} in flight, {row['nodes']} nodes")
    if row["queued"] and row["backlog_units"]:
        lines.append(f"  done in  {duration(row['drained_in_s'])} (about {row['backlog_units']:.0f} units)")
    return "\n".join(lines)


def _reasons(row: dict[str, Any]) -> str:
    if row["paused"]:
        return f" ({row['paused']})"
    return f" ({', '.join(row['gate_reasons'])})" if row["gate_reasons"] else ""


def duration(seconds: float | None) -> str:
    """``1 h 02 min``, ``3 min 05 s``, ``12 s``."""
    if seconds is None:
        return "unknown"
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 60} min {whole % 60:02} s" if whole >= 60 else f"{whole} s"
