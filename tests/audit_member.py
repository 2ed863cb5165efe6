"""A process that writes to the audit of a folder as fast as it can: `python -m tests.audit_member`.

Arguments: the folder, the database's URL, how many rows. It waits for a line on standard input to begin.
"""

from __future__ import annotations

import sys
from pathlib import Path

from shivx.audit.events import Outcome
from tests.audit_stage import ADMIN, HERE, STRANGER, open_books


def main() -> None:
    """Write rows and denials."""
    folder, url, rows = sys.argv[1:]
    with open_books(Path(folder), url=url) as books:
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(int(rows)):
            books.audit.record(ADMIN, "member.row", str(number), Outcome.DONE, *HERE)
            books.audit.record(STRANGER, "member.denied", "x", Outcome.DENIED, *HERE)
            if number % 5 == 0:
                books.audit.flush()


if __name__ == "__main__":
    main()
