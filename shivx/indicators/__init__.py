"""Technical indicators: TA-Lib's functions of prices, computed with its C code, and what it leaves open."""
