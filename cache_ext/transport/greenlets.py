"""What differs where gevent has put greenlets in the place of threads."""

from __future__ import annotations

import select
import sys
import time
from typing import Any


def has_greenlets() -> bool:
    """Tell whether threads are greenlets here, which run until they wait for something."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def give_way() -> None:
    """Let those run who can."""
    time.sleep(0)


def system_poll() -> Any:
    """Return the system's poll object; gevent's lets others run while it waits, which takes far longer."""
    monkey = sys.modules.get("gevent.monkey")
    return select.poll() if monkey is None else monkey.get_original("select", "poll")()
