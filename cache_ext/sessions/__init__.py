"""Server-side sessions: sealed, revocable, safe from lost updates; see docs/sessions.md."""
