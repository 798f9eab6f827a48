"""The command line: ``tidegate``. Data goes to standard output, everything else to standard error.

Exit status: 0 done, 1 the work failed, 2 wrong use or configuration.
"""

from __future__ import annotations

import sys

import click

from workers.cli.accounts import accounts
from workers.cli.deadletter import deadletter
from workers.cli.demo import demo
from workers.cli.enqueue import enqueue
from workers.cli.results import results
from workers.cli.sandbox import sandbox
from workers.cli.status import status
from workers.cli.up import up
from workers.cli.worker import worker
from workers.embedded import NoRedisServer
from workers.settings import SettingsError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tidegate")
def tidegate() -> None:
    """Calls to paid, rate-limited APIs: messages wait for tokens, are never lost and never answered twice."""


for command in (up, demo, worker, enqueue, results, status, accounts, deadletter, sandbox):
    tidegate.add_command(command)


def main() -> None:
    """Entry point of the ``tidegate`` command."""
    from redis.exceptions import ConnectionError as NoConnection

    try:
        tidegate()
    except (SettingsError, NoRedisServer) as error:
        click.echo(f"tidegate: {error}", err=True)
        sys.exit(2)
    except NoConnection as error:
        click.echo(f"tidegate: Redis does not answer: {error}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has gone
        sys.exit(0)
