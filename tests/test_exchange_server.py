"""The loopback exchange also serves other processes."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request

import pytest

from shivx.errors import OriginUnavailable
from shivx.providers.ccxt_exchange import CcxtExchange
from tests.ccxt_stage import RecordingPacer


def _post(url, value):
    request = urllib.request.Request(url, json.dumps(value).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=5) as answer:
        answer.read()


def test_it_runs_alone_takes_faults_and_counts():
    """``python -m tests.exchange_server`` prints its address, is told what to break, and tells its counts."""
    command = [sys.executable, "-m", "tests.exchange_server", "--exchange", "kraken", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().strip()
            provider = CcxtExchange("kraken", base_url=url, pacer=RecordingPacer())
            catalogue = provider.catalogue()
            assert provider.ticker(catalogue, "BTC-USD").price
            _post(url + "/__faults", {"pattern": "*/Ticker", "kind": "limit"})
            with pytest.raises(OriginUnavailable):
                provider.ticker(catalogue, "BTC-USD")
            _post(url + "/__faults", {})
            assert provider.ticker(catalogue, "BTC-USD").price
            with urllib.request.urlopen(url + "/__counts", timeout=5) as answer:
                assert json.load(answer)["/0/public/Ticker"] == 3
            provider.close()
        finally:
            process.terminate()
        assert process.wait(timeout=10) == 0
