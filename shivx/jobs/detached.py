"""Runs a module in a process that nobody waits for: ``python -m shivx.jobs.detached MODULE WORDS``.

Its parent ends at once, so that whoever asked can wait for that, and the rest is nobody's child.
"""

from __future__ import annotations

import os
import runpy
import sys

if __name__ == "__main__":
    if os.fork():
        os._exit(0)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
