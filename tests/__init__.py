"""The tests: flat, against real servers; fakes only for the clock and the origin."""
