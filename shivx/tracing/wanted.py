"""Whether traces are asked for, as the variables of OpenTelemetry say it, without importing any of it.

Source: OpenTelemetry specification, "Environment Variable Specification", 1.40.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec

from shivx.errors import ConfigurationError

EXPORTER = "OTEL_TRACES_EXPORTER"
DISABLED = "OTEL_SDK_DISABLED"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"
NEEDED = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")
REQUIREMENTS = "deploy/requirements-otel.txt"


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even what it lies in
        return False


def traces_wanted(environ: Mapping[str, str], is_there: Callable[[str], bool] = _is_there) -> bool:
    """Tell whether *environ* asks for traces.

    Args:
        is_there: tells whether a module could be imported.
    Raises:
        ConfigurationError: it asks for what there is not, or for what cannot be.
    """
    if environ.get(DISABLED, "").strip().lower() == "true":
        return False
    exporter = environ.get(EXPORTER, "").strip()
    asked = exporter == "otlp" or (not exporter and any(environ.get(name) for name in ENDPOINTS))
    if exporter not in ("", "otlp", "none"):
        raise ConfigurationError(f"{EXPORTER}: otlp or none, not {exporter!r}")
    if not asked:
        return False
    for name in PROTOCOLS:
        if environ.get(name, PROTOCOL) not in ("", PROTOCOL):
            raise ConfigurationError(f"{name}: {PROTOCOL} is the only one here, not {environ[name]!r}")
    if not all(map(is_there, NEEDED)):
        asking = EXPORTER if exporter else next(name for name in ENDPOINTS if environ.get(name))
        raise ConfigurationError(
            f"{asking}: it asks for traces, which need packages: pip install -r {REQUIREMENTS}"
        )
    return True
