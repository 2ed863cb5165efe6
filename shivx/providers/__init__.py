"""Origins of market data behind one protocol (`base.MarketDataProvider`)."""
