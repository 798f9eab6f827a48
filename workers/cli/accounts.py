"""``tidegate accounts``: do the keys work?"""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from providers.errors import AccountError, ProviderError
from providers.http import HttpClient
from workers.embedded import load_or_find
from workers.settings import Account, SettingsError


@click.group()
def accounts() -> None:
    """The providers' accounts."""


@accounts.command()
@click.option("--json", "as_json", is_flag=True, help="one JSON object a line")
def check(as_json: bool) -> None:
    """Ask each provider's free endpoint whether key and subscription work. Spends nothing."""
    settings = load_or_find()
    if not settings.accounts:
        raise SettingsError("no provider is configured: set, for example, ASINSCOPE_API_KEY")
    rows = [_check(account) for account in settings.accounts]
    for row in rows:
        click.echo(json.dumps(row) if as_json else _line(row))
    sys.exit(0 if all(row["works"] for row in rows) else 1)


def _check(account: Account) -> dict[str, Any]:
    row: dict[str, Any] = {"account": account.id, "key": account.key.fingerprint, "base_url": account.base_url}
    call = account.provider.probe()
    if call is None:
        return row | {"works": None, "said": "this provider cannot be asked for free"}
    try:
        with HttpClient(account.base_url, account.provider.credential, account.key) as http:
            seen = account.provider.read_probe(http.send(call))
    except AccountError as error:
        return row | {"works": False, "said": error.message}
    except ProviderError as error:
        return row | {"works": False, "said": f"no usable answer: {error.message}"}
    left = {item.limit: {"left": item.left, "capacity": item.capacity, "reset_in_s": item.reset_in_s} for item in seen}
    return row | {"works": True, "said": "works", "limits": left}


def _line(row: dict[str, Any]) -> str:
    limits = ", ".join(
        f"{name} {limit['left']} of {limit['capacity']}" for name, limit in row.get("limits", {}).items()
    )
    return f"{row['account']} (key {row['key']}): {row['said']}{'; left: ' + limits if limits else ''}"
