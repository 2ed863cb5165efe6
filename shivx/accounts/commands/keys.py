"""``flask accounts keys create | list | revoke``."""

from __future__ import annotations

import click
from flask.cli import AppGroup

from shivx.accounts.commands.opening import moment, opened_access
from shivx.accounts.scopes import Scope
from shivx.errors import InvalidParameter
from shivx.times import parse_time


def key_commands() -> AppGroup:
    """Return the commands about API keys."""
    group = AppGroup("keys", help="Look after API keys.")
    group.command("create")(create)
    group.command("list")(show)
    group.command("revoke")(revoke)
    return group


@click.argument("name")
@click.option("--name", "label", default="made by the operator", show_default=True, help="What it is for.")
@click.option("--scope", "scopes", multiple=True, help=f"{', '.join(Scope)}; may be repeated.")
@click.option("--expires", help="When it ends, RFC 3339; never if not given.")
def create(name: str, label: str, scopes: tuple[str, ...], expires: str | None) -> None:
    """Make an API key for the account NAME and print it, this once."""
    try:
        end = None if expires is None else parse_time(expires, "--expires") / 1000
    except InvalidParameter as error:
        raise click.UsageError(str(error)) from None
    with opened_access() as access:
        account = access.accounts.named(name).account.id
        made = access.keys.create(account, label, scopes or None, end)
    click.echo(f"key {made.id}; nobody will see it again:", err=True)
    click.echo(made.text)


@click.argument("name")
def show(name: str) -> None:
    """Show the API keys of the account NAME."""
    with opened_access() as access:
        for key in access.keys.list(access.accounts.named(name).account.id):
            until, used = moment(key.expires_at), moment(key.last_used_at)
            click.echo(
                f"{key.id:6}  {key.hint}…  {','.join(key.scopes):24}  ends {until}  used {used}  {key.name}"
            )


@click.argument("key", type=int)
def revoke(key: int) -> None:
    """End the API key with the number KEY."""
    with opened_access(tells=True) as access:
        access.keys.revoke(key)
    click.echo("revoked")
