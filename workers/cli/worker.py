"""``tidegate worker``: one node for one provider."""

from __future__ import annotations

import os

import click

from workers.embedded import load_or_find


@click.command()
@click.argument("provider")
@click.option("--concurrency", "-c", type=click.IntRange(1, 256), default=8, show_default=True, help="requests at once")
@click.option(
    "--loglevel",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False),
    default="INFO",
    show_default=True,
)
def worker(provider: str, concurrency: int, loglevel: str) -> None:
    """Run one worker node for PROVIDER's queues, until SIGTERM."""
    settings = load_or_find()
    settings.account(provider)
    settings.required_redis_url  # noqa: B018 - raises where there is none
    from workers.celery import app

    app.worker_main(
        [
            "--quiet",
            "worker",
            "--queues",
            f"{provider},{provider}.free",
            "--concurrency",
            str(concurrency),
            "--hostname",
            f"{provider}-{os.getpid()}@%h",
            "--loglevel",
            loglevel,
            "--without-gossip",
        ]
    )
