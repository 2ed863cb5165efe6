"""A wrong setting ends the start at once, by a line that names it; production refuses what is for trials."""

from __future__ import annotations

import pytest

from tests.service import GunicornService

pytestmark = pytest.mark.service

KEY = "a-key-for-nothing-but-this-test-long-enough"
PRODUCTION = {"SHIVX_ENV": "production"}
COMPLETE = {
    "SHIVX_REDIS_URL": "redis://127.0.0.1:1/0",
    "SHIVX_SECRET_KEYS": KEY,
    "SHIVX_MARKET_SOURCE": "ccxt:kraken",
}


def without(name: str) -> dict[str, str]:
    """Return the settings of a complete production service but one."""
    return PRODUCTION | {key: value for key, value in COMPLETE.items() if key != name}


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"SHIVX_CACHE_DEFAULT_TTL": "soon"}, "SHIVX_CACHE_DEFAULT_TTL: must be"),
        ({"SHIVX_CASHE_DEFAULT_TTL": "5"}, "SHIVX_CASHE_DEFAULT_TTL: there is no such setting"),
        ({"SHIVX_BIND": "8000"}, "SHIVX_BIND: must be"),
        ({"SHIVX_REDIS_URL": "redis://127.0.0.1:1/0"}, "SHIVX_SECRET_KEYS: required"),
        ({"SHIVX_INSTANCE_DIR": "/dev/null/here"}, "SHIVX_INSTANCE_DIR"),
        (without("SHIVX_REDIS_URL"), "SHIVX_REDIS_URL: required"),
        (without("SHIVX_SECRET_KEYS"), "SHIVX_SECRET_KEYS: required"),
        (without("SHIVX_MARKET_SOURCE"), "SHIVX_MARKET_SOURCE: production refuses"),
        ({"SHIVX_MARKET_SOURCE": "ccxt:no-such-exchange"}, "no-such-exchange"),
        ({"WEB_CONCURRENCY": "0"}, "WEB_CONCURRENCY"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_setting_ends_the_start(
    env: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Gunicorn ends with a failure and a line for the operator, not for the programmer."""
    with pytest.raises(RuntimeError, match=r"exit status [1-9]"), GunicornService(env=env):
        pytest.fail("it started")
    log = capsys.readouterr().out
    assert message in log
    assert "Traceback" not in log
    assert KEY not in log
