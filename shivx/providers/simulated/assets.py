"""What the simulated exchange knows of each currency: reference price, volatility, ties to the market."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

MARKET = "market"  # the stream that all currencies share
MINUTES_PER_DAY = 1440


@dataclass(frozen=True)
class Asset:
    """One currency.

    `price` is what it costs in US dollars on average over the years. `daily_volatility` is the standard
    deviation of its dollar price's logarithm over a day; `market_share` is its correlation with the market as
    a whole, 0 to 1.
    """

    symbol: str
    name: str
    precision: int
    price: Decimal
    daily_volatility: float
    market_share: float

    def loadings(self) -> dict[str, float]:
        """Return how far a step of 1 of each stream moves the logarithm of the dollar price, per minute."""
        volatility = self.daily_volatility / math.sqrt(MINUTES_PER_DAY)
        own = math.sqrt(1.0 - self.market_share * self.market_share)
        return {MARKET: volatility * self.market_share, self.symbol: volatility * own}


# symbol, name, decimal places, dollars, volatility a day, correlation with the market
_TABLE = """
BTC    Bitcoin            8  68000      0.026  0.86
ETH    Ether             18  2600       0.034  0.84
SOL    Solana             9  150        0.042  0.78
XRP    XRP                6  0.55       0.040  0.70
BNB    BNB               18  580        0.028  0.76
ADA    Cardano            6  0.40       0.042  0.76
DOGE   Dogecoin           8  0.12       0.050  0.70
AVAX   Avalanche         18  28         0.045  0.76
DOT    Polkadot          10  4.5        0.042  0.77
LINK   Chainlink         18  12         0.043  0.76
LTC    Litecoin           8  70         0.036  0.74
BCH    Bitcoin_Cash       8  350        0.040  0.72
TRX    TRON               6  0.15       0.028  0.55
UNI    Uniswap           18  7.5        0.047  0.72
ATOM   Cosmos_Hub         6  4.6        0.043  0.74
NEAR   NEAR_Protocol     24  4.2        0.050  0.74
APT    Aptos              8  8.0        0.050  0.72
ARB    Arbitrum          18  0.55       0.050  0.74
OP     Optimism          18  1.6        0.052  0.74
SUI    Sui                9  1.8        0.052  0.70
INJ    Injective         18  20         0.053  0.70
TIA    Celestia           6  5.0        0.055  0.66
FIL    Filecoin          18  3.7        0.046  0.72
AAVE   Aave              18  140        0.048  0.70
ETC    Ethereum_Classic  18  19         0.043  0.74
XLM    Stellar            7  0.095      0.040  0.66
ALGO   Algorand           6  0.12       0.045  0.71
HBAR   Hedera             8  0.055      0.045  0.66
ICP    Internet_Computer  8  8.1        0.048  0.70
POL    Polygon           18  0.38       0.045  0.72
GRT    The_Graph         18  0.16       0.050  0.70
RENDER Render             8  5.4        0.055  0.66
JUP    Jupiter            6  0.85       0.058  0.60
WIF    dogwifhat          6  2.4        0.070  0.58
SHIB   Shiba_Inu         18  0.0000175  0.050  0.66
PEPE   Pepe              18  0.0000095  0.065  0.60
BONK   Bonk               5  0.0000215  0.065  0.58
EUR    Euro               2  1.08       0.004  0.10
USDC   USD_Coin           6  1          0      0
USDT   Tether             6  1          0.0004 0.05
"""


def _parse(line: str) -> Asset:
    symbol, name, precision, price, volatility, share = line.split()
    return Asset(
        symbol, name.replace("_", " "), int(precision), Decimal(price), float(volatility), float(share)
    )


ASSETS: Mapping[str, Asset] = MappingProxyType(
    {asset.symbol: asset for asset in map(_parse, _TABLE.strip().splitlines())}
)
"""All currencies by symbol."""
