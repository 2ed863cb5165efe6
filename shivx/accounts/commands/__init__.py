"""``flask accounts …`` and ``flask db …``: what an operator does about who may do what."""

from shivx.accounts.commands.accounts import account_commands
from shivx.accounts.commands.database import database_commands

__all__ = ["account_commands", "database_commands"]
