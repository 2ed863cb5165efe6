"""The benchmark of the engine beside its peers runs, and compares as it says. No figure is tested."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.racing import Pace, Times, race
from benchmarks.rows import Row, as_table, drift, in_words
from benchmarks.samples import FLAT_BYTES, flat
from cache_ext.codec.values import ValueCodec

ROOT = Path(__file__).parent.parent
PATIENCE = 400.0
MEASURED = (
    "L1 hit, 30 flat fields: get_or_load",
    "L1 hit, 30 flat fields: memoize",
    "L1 hit, order book: get",
    "L1 hit, 2 threads",
    "L2 hit, L1 off",
    "L2 hit, kept in L1",
    "5 keys from L2, L1 off",
    "5 keys from L2, kept in L1",
    "set",
    "miss, loader for nothing",
    "invalidate a tag of 50 entries",
    "seen in another process' L1",
    "limit check with headers, greenlets, as in the default worker: alone",
    "limit check with headers, greenlets, as in the default worker: 16 at once",
    "limit check with headers, threads: alone",
    "limit check with headers, threads: 16 at once",
    "173 indicators of 500 candles",
    "inference of one row",
    "event, gone from another process' L1",
)
SCALED = (
    "L2 hit on a cluster",
    "a read of 2 keys on 2 nodes",
    "a read of 3 keys on 3 nodes",
    "5 keys over 3 nodes",
    "500 pairs on 3 nodes",
    "an entry of 30 fields",
    "bytes on the network: L2 hit",
    "bytes on the network: set",
    "bytes on the network: invalidation",
    "Sentinel: the primary is killed",
    "Cluster: the primary is killed",
)
PROMISED = (
    *(f"1 hit rate, {count} pairs" for count in (20, 100, 500)),
    "2 cached read over HTTP",
    "3 200 requests a second",
    "3 how far it goes",
    "4 mean answer",
    "4 calls of the exchange",
    "4 processor time",
    "5 Redis killed",
    "6 ages",
    "7 64 clients",
    "8 a worker at rest",
    "8 bytes a key",
    "8 growth",
    "9 event, gone from all workers of two instances, since its answer",
    "9 event, gone from all workers of two instances, since it was sent",
    "10 a batch of 100 pairs",
    "hit, beside bare Flask",
    "hit, beside stack",
    "hit, beside raw WSGI",
    "hit, CPU beside nginx",
    "hit, CPU beside Varnish",
    "API key",
    "session",
    "304",
    "HEAD",
    "1000 requests a second, one worker",
)


def run_tiny(program, folder):
    """Return what a run at tiny sizes prints, and what it writes."""
    output = folder / "build" / "bench.json"
    command = [sys.executable, "-m", program, "--tiny", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(output.read_text())


@pytest.mark.parametrize(
    ("program", "measured"), [("benchmarks", PROMISED + MEASURED), ("benchmarks.scaling", SCALED)]
)
def test_every_row_runs(tmp_path, program, measured):
    """One command measures all rows, prints them as one table, and writes the same, the machine named."""
    printed, written = run_tiny(program, tmp_path)
    for what in measured:
        (row, *_) = [row for row in written["rows"] if row["what"].startswith(what)]
        assert f"| {row['what']} | {row['asked']} | {row['got']} |" in printed
        assert (row["met"] is None) == (row["asked"] == "")
        assert all(figure > 0 for figure in row["figures"].values())
        assert not row["got"].startswith("not run"), row
    assert {"cpu", "cores", "python", "server", "load at the start"} <= written["machine"].keys()
    assert isinstance(written["busy"], bool)


class Runner:
    """A contestant that writes down when it runs."""

    note = ""

    def __init__(self, name, track, seconds):
        self.name = name
        self._track = track
        self._seconds = seconds

    def seconds(self, calls):
        """See `Contestant`."""
        self._track.append(self.name)
        return self._seconds


def test_contestants_take_turns():
    """Each round times all of them, and begins with another one."""
    track = []
    runners = [Runner(name, track, 1.0) for name in "ABC"]
    times = race(runners, Pace(rounds=4, turn=0.1))
    assert "".join(track) == "ABC" + "ABC" + "BCA" + "CAB" + "ABC"  # the first finds out how many calls
    assert times.rounds == {name: [1.0] * 4 for name in "ABC"}


def test_ratios_are_taken_within_a_round():
    """What slows down a whole round changes no ratio."""
    times = Times({"ours": [2.0, 20.0, 2.0], "theirs": [1.0, 10.0, 1.0]})
    assert times.ratio("ours", lambda turn: turn["theirs"]) == 2.0
    assert times.median("ours") == 2.0


def test_the_flat_record_has_a_kilobyte():
    """The value of the L1 rows is what they say: 30 flat fields, 1 kB."""
    assert len(flat()) == 30
    assert abs(len(ValueCodec().encode(flat())) - FLAT_BYTES) < 50


def test_the_table_says_what_was_not_met():
    """A row that missed its mark is seen at a glance."""
    rows = [
        Row("hit", "≤ 2 µs", in_words(3e-6), "a peer", met=False),
        Row("set", "", in_words(0.0021), "", met=None),
    ]
    table = as_table(rows).splitlines()
    assert table[2] == "| hit | ≤ 2 µs | 3 µs | **no** |  | a peer |"
    assert table[3] == "| set |  | 2.1 ms |  |  |  |"


def test_an_earlier_run_shows_what_has_changed():
    """Figures that both runs have are put side by side; others are left out."""
    before = [
        {"what": "hit", "figures": {"p99, µs": 10.0, "gone": 1.0}},
        {"what": "old", "figures": {"x": 1}},
    ]
    row = Row("hit", "", "", "", figures={"p99, µs": 25.0, "new": 3.0})
    assert drift(before, [row]).splitlines()[2:] == ["| hit | p99, µs | 10 | 25 | 2.50 |"]


def test_every_row_of_what_is_felt_runs():
    """Events are posted to two workers, at rest and under load, and each line says how soon both knew."""
    command = [sys.executable, "-m", "benchmarks.felt", "--tiny"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| event over HTTP")]
    assert len(rows) == 6
    assert all("p99" in row for row in rows)
