"""``flask accounts create | list | disable | passwd | tier | logout``."""

from __future__ import annotations

import json
import sys

import click
from flask.cli import AppGroup

from shivx.accounts.commands.keys import key_commands
from shivx.accounts.commands.opening import moment, opened_access
from shivx.accounts.facts import Account
from shivx.audit.command import audit
from shivx.identity import Tier

TIERS = click.Choice([str(tier) for tier in Tier if tier is not Tier.ANONYMOUS])
MAX_INPUT = 8192
"""Characters of standard input that may be a password and the end of its line."""
_from_stdin = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")


def account_commands() -> AppGroup:
    """Return the commands about accounts, for ``app.cli.add_command``."""
    group = AppGroup("accounts", help="Look after accounts and their API keys.")
    for name, command in (
        ("create", create),
        ("list", show),
        ("disable", disable),
        ("passwd", passwd),
        ("tier", tier),
        ("logout", logout),
        ("audit", audit),
    ):
        group.command(name)(command)
    group.add_command(key_commands())
    return group


@click.argument("name")
@click.option("--tier", "tier_name", type=TIERS, required=True, help="What it may do, and how often.")
@_from_stdin
def create(name: str, tier_name: str, password_stdin: bool) -> None:
    """Make the account NAME. One of tier service needs no password: it comes with API keys."""
    tier = Tier(tier_name)
    needed = password_stdin or tier is not Tier.SERVICE
    password = _password(password_stdin) if needed else None
    with opened_access() as access:
        made = access.accounts.create(name, tier, password)
    click.echo(f"made account {made.id}, {made.name}")


@click.option("--json", "as_json", is_flag=True, help="Answer in JSON, a line an account.")
def show(as_json: bool) -> None:
    """Show all accounts."""
    with opened_access() as access:
        after = 0
        while page := access.accounts.list(after):
            for account in page:
                click.echo(_line(account, as_json))
            after = page[-1].id


@click.argument("name")
@click.option("--undo", is_flag=True, help="Let it in again.")
def disable(name: str, undo: bool) -> None:
    """Let the account NAME in no more, by password, session or API key."""
    with opened_access(tells=True) as access:
        access.accounts.disable(access.accounts.named(name).account.id, not undo)
    click.echo("enabled" if undo else "disabled")


@click.argument("name")
@_from_stdin
def passwd(name: str, password_stdin: bool) -> None:
    """Give the account NAME another password; its sessions end, its API keys stay."""
    password = _password(password_stdin)
    with opened_access(tells=True) as access:
        access.accounts.set_password(access.accounts.named(name).account.id, password)
    click.echo("changed")


@click.argument("name")
@click.argument("tier_name", metavar="TIER", type=TIERS)
def tier(name: str, tier_name: str) -> None:
    """Give the account NAME other rights; its sessions end."""
    with opened_access(tells=True) as access:
        access.accounts.set_tier(access.accounts.named(name).account.id, Tier(tier_name))
    click.echo("changed")


@click.argument("name")
def logout(name: str) -> None:
    """End all sessions of the account NAME."""
    with opened_access(tells=True) as access:
        access.accounts.bump_epoch(access.accounts.named(name).account.id)
    click.echo("its sessions are over")


def _password(from_stdin: bool) -> str:
    """Return a password that is typed twice or, for programs, one line of standard input."""
    if from_stdin:
        return sys.stdin.read(MAX_INPUT).removesuffix("\n").removesuffix("\r")
    if not sys.stdin.isatty():
        raise click.UsageError("no terminal to ask for the password: give --password-stdin")
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return password


def _line(account: Account, as_json: bool) -> str:
    state = "disabled" if account.disabled else "enabled"
    made = moment(account.created_at)
    if as_json:
        shown = {"id": account.id, "name": account.name, "tier": account.tier, "state": state}
        return json.dumps(shown | {"created_at": made})
    return f"{account.id:6}  {account.tier:13}  {state:8}  {made}  {account.name}"
