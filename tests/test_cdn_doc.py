"""docs/cdn.md says what is so, and the VCL fits the program."""

from __future__ import annotations

import re
from pathlib import Path

from cache_ext.cdn import debts, ledger, names, purgers, purging, worker
from cache_ext.coherence.backplane import BOUND
from cache_ext.limits.decision import Answer, decide
from cache_ext.metrics import cdn_purges
from shivx import cdn
from shivx.config import Settings
from shivx.gate import limit_headers
from shivx.identity import Tier
from tests.varnish import VCL

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs/cdn.md").read_text()
RULES = VCL.read_text()


def seconds(name: str) -> float:
    """Return a timeout of the backend in the VCL."""
    (value,) = re.findall(rf"^    \.{name} = (\d+)s;$", RULES, re.MULTILINE)
    return float(value)


def test_each_file_and_setting_that_is_named_exists():
    """Tests, modules, deploy/, settings."""
    for file in re.findall(r"`(test_[a-z_]+\.py)`", TEXT):
        assert (ROOT / "tests" / file).exists(), file
    for file in re.findall(r"`((?:cache_ext|deploy)/[a-z_/.]+)`", TEXT):
        assert (ROOT / file).exists(), file
    for name in re.findall(r"SHIVX_([A-Z_]+)", TEXT):
        assert name.removesuffix("_FILE").lower() in Settings.model_fields, name


def test_the_second_purge_comes_after_the_longest_fetch():
    """The timeouts of the VCL, and the time until every process has heard, add up to less."""
    assert seconds("first_byte_timeout") == cdn.LONGEST_FETCH
    longest = sum(map(seconds, ("connect_timeout", "first_byte_timeout", "between_bytes_timeout"))) + BOUND
    assert longest < cdn.LONGEST_FETCH + cdn.ON_THE_WAY
    assert f"again after {cdn.LONGEST_FETCH + cdn.ON_THE_WAY:.0f} seconds" in TEXT
    assert f"{cdn.LONGEST_FETCH + cdn.ON_THE_WAY + ledger.GRAIN} s, until the second purge" in TEXT


def test_the_figures_are_those_of_the_program():
    """Bounds, pauses, batches."""
    assert f"at most {names.FASTLY_BYTES} bytes (for Varnish {names.VARNISH_BYTES}" in TEXT
    assert f"one of {names.GROUPS}" in TEXT
    assert f"up to {purgers.BATCH} names" in TEXT
    *first, last = worker.PAUSES
    assert f"after {', '.join(f'{pause:g}' for pause in first)} seconds and then every {last:g}" in TEXT
    assert f"More than {ledger.MAX_NAMES} names" in TEXT
    assert f"After {worker.GIVE_UP_AFTER:.0f} seconds a name is given up" in TEXT
    assert f"for up to {purging.CLOSE_PATIENCE:.0f} seconds" in TEXT


def test_the_figures_of_debts_are_those_of_the_program():
    """What a purge costs whoever was killed: the patience, a grain, a look and the way."""
    look, way = 1.0, 0.5
    again = cdn.LONGEST_FETCH + cdn.ON_THE_WAY
    late = debts.PATIENCE + ledger.GRAIN + look + way
    assert f"{late:.0f} s for the first, {again + late:.0f} s for the second" in TEXT
    assert f"{debts.LEASE + look:.0f} s more for each" in TEXT
    assert f"nothing for {debts.PATIENCE:.0f} seconds after" in TEXT
    assert f"has {debts.LEASE:.0f} seconds" in TEXT
    assert f"More than {debts.MAX_DEBTS} owed" in TEXT


def test_the_outcomes_of_the_metric_are_listed():
    """Here as in its own description."""
    (listed,) = re.findall(r"`cdn_purges_total\{outcome\}` counts names: (.*)\.", TEXT)
    (described,) = re.findall(r"\((.*)\)", cdn_purges._documentation)
    assert re.findall(r"`([a-z_]+)`", listed) == [
        part.split(":")[0].split()[0] for part in re.split(r", |; ", described)
    ]


def test_the_vcl_strips_every_header_of_a_limit():
    """Those that the gate adds, one for one."""
    for name, _ in limit_headers(Tier.ANONYMOUS, decide(Answer(1_000, 0, 13_000, 13_000), 60, 60.0)):
        assert f"unset beresp.http.{name};" in RULES, name
