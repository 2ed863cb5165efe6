"""What is wrong with settings, in words: each by itself, and one with another."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from shivx.environment import PREFIX

MAX_SHOWN_CHARACTERS = 80


def conflicts(texts: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong between settings, judged by their text, since others of them may be malformed."""
    production = texts.get("SHIVX_ENV", "").strip().lower() == "production"
    sources = [item.strip() for item in texts.get("SHIVX_MARKET_SOURCE", "simulated").split(",")]
    if production and "simulated" in sources:
        yield "SHIVX_MARKET_SOURCE: production refuses the simulated source; give ccxt:EXCHANGE"
    if production and "SHIVX_REDIS_URL" not in texts:
        yield "SHIVX_REDIS_URL: required; production refuses the embedded Redis"
    if "SHIVX_SECRET_KEYS" not in texts and (production or "SHIVX_REDIS_URL" in texts):
        yield "SHIVX_SECRET_KEYS: required; keys are generated for the embedded Redis only"
    if "SHIVX_MARKET_SOURCE_URL" in texts and not any(source.startswith("ccxt:") for source in sources):
        yield "SHIVX_MARKET_SOURCE_URL: needs a ccxt:EXCHANGE in SHIVX_MARKET_SOURCE"
    if texts.get("SHIVX_CDN", "").strip().lower() in {"varnish", "fastly"}:
        for name in ("SHIVX_CDN_PURGE_URL", "SHIVX_CDN_PURGE_TOKEN"):
            if not texts.get(name):
                yield f"{name}: required with SHIVX_CDN"
    for name in ("SHIVX_REDIS_STATE_URL", "SHIVX_REDIS_USERNAME", "SHIVX_REDIS_PASSWORD"):
        if name in texts and "SHIVX_REDIS_URL" not in texts:
            yield f"{name}: needs SHIVX_REDIS_URL"


def explain(error: ValidationError, texts: Mapping[str, str], secrets: Collection[str]) -> Iterator[str]:
    """Yield a line for each setting that is wrong by itself; of *secrets* the text is not shown."""
    for each in error.errors():
        name = PREFIX + str(each["loc"][0]).upper()
        if name in texts:  # else a default could not be derived from another setting, which is told itself
            shown = "" if name in secrets else f", not {_shown(texts[name])}"
            yield f"{name}: must be {_allowed(each)}{shown}"


def _allowed(details: ErrorDetails) -> str:
    if details["type"] == "value_error":
        return str(details["ctx"]["error"])
    return details["msg"].removeprefix("Input should be ")


def _shown(text: str) -> str:
    return repr(text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[:MAX_SHOWN_CHARACTERS]}…")
