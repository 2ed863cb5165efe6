"""The exchanges that the loopback server can play, by their id in ccxt."""

from __future__ import annotations

from tests.exchange_binance import Binance
from tests.exchange_coinbase import Coinbase
from tests.exchange_kraken import Kraken

DIALECTS = {dialect.id: dialect for dialect in (Kraken(), Coinbase(), Binance())}
