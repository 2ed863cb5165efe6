"""ShivX: market data and signals, served on `cache_ext`."""
