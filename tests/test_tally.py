"""What is counted without a lock reaches Prometheus: all of it, once, whoever looks and after a fork too."""

from __future__ import annotations

import os

import pytest
from prometheus_client import CollectorRegistry

from cache_ext import metrics
from cache_ext.metrics import Tallied, tell_all
from cache_ext.tally import Tally
from shivx.gate import requests
from tests.caches import all_at_once


@pytest.fixture
def counter() -> Tallied:
    """A counter of this test alone."""
    return Tallied("tests", "Counted in a test.", ("kind", "how"), registry=CollectorRegistry())


def told(counter: Tallied, *labels: str) -> float:
    """Return what Prometheus has been told."""
    value: float = counter.labels(*labels)._value.get()
    return value


def test_what_is_counted_is_told_when_all_is(counter: Tallied) -> None:
    """Not before, and not twice."""
    tally = Tally(counter)
    for _ in range(3):
        tally.count("a", "x")
    tally.counting("b", "y")()
    assert told(counter, "a", "x") == 0
    for _ in range(2):
        tell_all()
    assert (told(counter, "a", "x"), told(counter, "b", "y")) == (3, 1)


def test_who_looks_is_told_by_all_tallies(counter: Tallied) -> None:
    """Those of several parts of the process are one number."""
    tallies = Tally(counter), Tally(counter)
    for tally in tallies:
        tally.count("a", "x")
    (family,) = counter.collect()
    assert [each.value for each in family.samples if each.name == "tests_total"] == [2.0]


def test_counting_at_once_loses_nothing(counter: Tallied) -> None:
    """Threads that count while others tell."""
    tally = Tally(counter)

    def work(number: int) -> None:
        for _ in range(2000):
            tally.count("a", str(number % 2))
            if number == 0:
                tally.tell()

    all_at_once(4, work)
    tally.tell()
    assert told(counter, "a", "0") == told(counter, "a", "1") == 4000


def test_a_child_tells_nothing_of_its_parents(counter: Tallied) -> None:
    """What the parent had not told when it forked, the parent tells; the child only what it counts itself."""
    tally = Tally(counter)
    tally.count("a", "x")
    if (child := os.fork()) == 0:
        tell_all()
        mine = told(counter, "a", "x")
        tally.count("a", "x")
        tell_all()
        os._exit(0 if (mine, told(counter, "a", "x")) == (0, 1) else 1)
    assert os.waitpid(child, 0)[1] == 0
    tell_all()
    assert told(counter, "a", "x") == 1


def test_reads_and_limits_are_counted_so() -> None:
    """They are what a service does thousands of times a second."""
    assert {metrics.requests, requests} <= set(metrics._tallied)
