"""``tidegate sandbox``: the sandboxed providers alone."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from typing import Any

import click

from providers.sandbox import SandboxOptions, registry
from providers.sandbox.server import SandboxServer
from providers.sandbox.vendor import Latency


def sandbox_key(provider: str) -> str:
    """The key that a sandbox accepts."""
    return f"sandbox-key-{provider}"


def make(
    provider: str,
    plan: Any = None,
    *,
    day_s: float | None = None,
    day_left_s: float | None = None,
    latency: Latency | None = None,
) -> Any:
    """A sandboxed vendor, not served yet."""
    options = SandboxOptions(
        keys=(sandbox_key(provider),),
        plan=plan,
        day_s=day_s,
        day_left_s=day_left_s,
        latency=latency or Latency(mean_s=0.05, jitter_s=0.02),
    )
    return registry[provider](options)


def environment(provider: str, url: str) -> dict[str, str]:
    """The settings that send a provider's traffic to its sandbox."""
    prefix = provider.upper()
    return {f"{prefix}_BASE_URL": url, f"{prefix}_API_KEY": sandbox_key(provider)}


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="address to listen on")
@click.option("--allow-remote", is_flag=True, help="accept a host that other machines can reach")
@click.option("--port", type=int, default=8800, show_default=True, help="port of the first; the next ones follow")
@click.option("--plan", help="a plan's name, or its fields as a JSON object")
@click.option("--json", "as_json", is_flag=True, help="print one JSON line per provider")
def sandbox(host: str, allow_remote: bool, port: int, plan: str | None, as_json: bool) -> None:
    """Run the sandboxed providers alone, until Ctrl-C. Each has a control API under /_sandbox/."""
    parsed = json.loads(plan) if plan and plan.lstrip().startswith("{") else plan
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with contextlib.ExitStack() as stack:
        for offset, provider in enumerate(sorted(registry)):
            served = SandboxServer(make(provider, parsed), host, port + offset, allow_remote=allow_remote)
            try:
                url = stack.enter_context(served).url
            except OSError as error:
                raise click.ClickException(f"port {port + offset}: {error}; choose another with --port") from None
            settings = environment(provider, url)
            if as_json:
                click.echo(json.dumps({"provider": provider, "url": url, "key": sandbox_key(provider)}))
            else:
                for name, value in settings.items():
                    click.echo(f"export {name}={value}")
        stop.wait()
