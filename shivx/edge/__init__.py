"""The edge: what goes with every answer, whoever gives it: its id, headers that protect, CORS."""
