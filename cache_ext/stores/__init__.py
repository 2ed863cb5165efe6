"""Where entries lie: the shared store behind one protocol (`base.Store`), and this process' own memory."""
