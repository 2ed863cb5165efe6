"""Settings: what they default to, where they come from, and that every mistake is told by name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from shivx.config import SECRETS, Settings
from shivx.environment import PREFIX
from shivx.errors import ConfigurationError
from shivx.redis_url import check_redis_url
from shivx.settings_page import rows

ROOT = Path(__file__).parent.parent
KEY = "k" * 32
REDIS = {"SHIVX_REDIS_URL": "redis://localhost:6379/0", "SHIVX_SECRET_KEYS": KEY}
PRODUCTION = {**REDIS, "SHIVX_ENV": "production", "SHIVX_MARKET_SOURCE": "ccxt:kraken"}

CONTRACT_DEFAULTS = {
    "SHIVX_ENV": "development",
    "SHIVX_INSTANCE_DIR": Path("instance").absolute(),
    "SHIVX_BIND": "127.0.0.1:8000",
    "SHIVX_REDIS_URL": None,
    "SHIVX_REDIS_STATE_URL": None,
    "SHIVX_REDIS_USERNAME": None,
    "SHIVX_REDIS_PASSWORD": None,
    "SHIVX_REDIS_POOL_SIZE": 50,
    "SHIVX_REDIS_WAIT_REPLICAS": 0,
    "SHIVX_REDIS_TIMEOUT": 5,
    "SHIVX_REDIS_POOL_TIMEOUT": 30,
    "SHIVX_CACHE_OP_TIMEOUT": 0.1,
    "SHIVX_CACHE_BREAKER_FAILURES": 5,
    "SHIVX_CACHE_BREAKER_COOLDOWN": 0.5,
    "SHIVX_CACHE_NAMESPACE": "shivx",
    "SHIVX_CACHE_ENABLED": True,
    "SHIVX_CACHE_WARMING_ENABLED": True,
    "SHIVX_CACHE_MONITORING_ENABLED": True,
    "SHIVX_CACHE_INVALIDATION_PUBSUB": True,
    "SHIVX_CACHE_DEFAULT_TTL": 60,
    "SHIVX_CACHE_MARKET_PRICE_TTL": 5,
    "SHIVX_CACHE_MARKET_PRICE_STALE_TTL": 30,
    "SHIVX_CACHE_ORDERBOOK_TTL": 10,
    "SHIVX_CACHE_ORDERBOOK_STALE_TTL": 10,
    "SHIVX_CACHE_OHLCV_TTL": 3600,
    "SHIVX_CACHE_TRADES_TTL": 60,
    "SHIVX_CACHE_TOKEN_METADATA_TTL": 86400,
    "SHIVX_CACHE_INDICATOR_TTL": 60,
    "SHIVX_CACHE_ML_PREDICTION_TTL": 30,
    "SHIVX_CACHE_STALE_TTL": 300,
    "SHIVX_CACHE_SESSION_TTL": 86400,
    "SHIVX_CACHE_SESSION_IDLE_TTL": 86400,
    "SHIVX_CACHE_L1_MAX_BYTES": 67108864,
    "SHIVX_LIMIT_ANONYMOUS": 60,
    "SHIVX_LIMIT_AUTHENTICATED": 120,
    "SHIVX_LIMIT_PREMIUM": 300,
    "SHIVX_LIMIT_ADMIN": 1000,
    "SHIVX_LIMIT_SERVICE": 6000,
    "SHIVX_TRUSTED_PROXIES": 0,
    "SHIVX_MARKET_SOURCE": ("simulated",),
    "SHIVX_MARKET_SOURCE_URL": None,
    "SHIVX_MARKET_TIMEOUT": 10,
    "SHIVX_SIMULATED_LATENCY": 0,
    "SHIVX_SIMULATED_FAILURE_RATE": 0,
    "SHIVX_WARM_PAIRS": ("BTC-USDC", "ETH-USDC", "SOL-USDC"),
    "SHIVX_MODEL_DIR": Path("instance").absolute() / "models",
    "SHIVX_DATABASE_URL": f"sqlite:///{Path('instance').absolute()}/shivx.db",
    "SHIVX_SECRET_KEYS": (),
    "SHIVX_METRICS_TOKEN": None,
    "SHIVX_CORS_ORIGINS": (),
    "SHIVX_LOG_FORMAT": "json",
    "SHIVX_LOG_LEVEL": "info",
    "SHIVX_DRAIN_SECONDS": 5,
    "SHIVX_CDN": "off",
    "SHIVX_CDN_PURGE_URL": None,
    "SHIVX_CDN_PURGE_TOKEN": None,
}
"""The contract's table of settings, row by row."""


def read(environ, dotenv=None, **more):
    """Return the settings of *environ*."""
    return Settings.from_environment({**environ, **more}, dotenv)


def complaints(environ, dotenv=None):
    """Return the lines of the error that *environ* causes."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_environment(environ, dotenv)
    return str(caught.value).splitlines()


def plain(value):
    """Return *value* with its secrets laid open."""
    return value.get_secret_value() if hasattr(value, "get_secret_value") else value


@pytest.fixture
def instance(tmp_path):
    """An instance folder that is not there yet, as environment."""
    return {"SHIVX_INSTANCE_DIR": str(tmp_path / "instance")}


def test_defaults_are_the_contract_s():
    """Every setting of the contract exists, no other does, and each has the contract's default."""
    settings = Settings()
    actual = {PREFIX + field.upper(): plain(getattr(settings, field)) for field in Settings.model_fields}
    assert actual == CONTRACT_DEFAULTS


def test_docs_have_the_table_that_is_made_of_the_settings():
    """docs/configuration.md has what ``python -m shivx.settings_page`` prints; each setting has a meaning."""
    assert "\n".join(rows()) in (ROOT / "docs/configuration.md").read_text()
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_docs_list_every_setting_with_its_default():
    """The table in docs/configuration.md has one row a setting, in order, with default and `_FILE` mark."""
    found = re.findall(
        r"^\| `(SHIVX_\w+)` \| (.*?) \| (yes)? ?\|",
        (ROOT / "docs/configuration.md").read_text(),
        re.MULTILINE,
    )
    assert [name for name, _, _ in found] == list(CONTRACT_DEFAULTS)
    assert {name for name, _, file in found if file} == set(SECRETS)
    for name, shown, _ in found:
        if shown.startswith("`"):
            text = shown.strip("`")
            field = name.removeprefix(PREFIX).lower()
            given = Settings.model_validate({field: text})
            assert getattr(given, field) == getattr(Settings(), field), name


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("SHIVX_CACHE_DEFAULT_TTL", "0.25", 0.25),
        ("SHIVX_CACHE_STALE_TTL", "0", 0),
        ("SHIVX_CACHE_ENABLED", "FALSE", False),
        ("SHIVX_CACHE_ENABLED", "1", True),
        ("SHIVX_CACHE_NAMESPACE", "a.b:c-d_E9", "a.b:c-d_E9"),
        ("SHIVX_WARM_PAIRS", " btc-usd , ETH-usd,BTC-USD", ("BTC-USD", "ETH-USD")),
        ("SHIVX_WARM_PAIRS", "", ()),
        ("SHIVX_MARKET_SOURCE", "ccxt:kraken, simulated", ("ccxt:kraken", "simulated")),
        ("SHIVX_CORS_ORIGINS", "https://a.example, http://b:8080", ("https://a.example", "http://b:8080")),
        ("SHIVX_LOG_LEVEL", "WARNING", "warning"),
        ("SHIVX_BIND", "[::1]:80", "[::1]:80"),
        ("SHIVX_BIND", "unix:/run/shivx.sock", "unix:/run/shivx.sock"),
        ("SHIVX_CDN_PURGE_URL", "https://cdn.example/x/", "https://cdn.example/x"),
        ("SHIVX_METRICS_TOKEN", "", None),
    ],
)
def test_value_is_read(instance, name, text, value):
    """A well-formed value arrives in its type, lists stripped, empty meaning unset where that can be."""
    assert getattr(read(instance, **{name: text}), name.removeprefix(PREFIX).lower()) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SHIVX_ENV", "prod"),
        ("SHIVX_INSTANCE_DIR", ""),
        ("SHIVX_BIND", "8000"),
        ("SHIVX_BIND", "localhost:70000"),
        ("SHIVX_BIND", "localhost:0"),
        ("SHIVX_REDIS_POOL_SIZE", "0"),
        ("SHIVX_REDIS_POOL_SIZE", "1_0"),
        ("SHIVX_REDIS_POOL_SIZE", "٣"),
        ("SHIVX_REDIS_TIMEOUT", "0"),
        ("SHIVX_REDIS_TIMEOUT", ""),
        ("SHIVX_CACHE_OP_TIMEOUT", "nan"),
        ("SHIVX_CACHE_OP_TIMEOUT", "inf"),
        ("SHIVX_CACHE_OP_TIMEOUT", "1e-1"),
        ("SHIVX_CACHE_DEFAULT_TTL", "0"),
        ("SHIVX_CACHE_DEFAULT_TTL", "-1"),
        ("SHIVX_CACHE_DEFAULT_TTL", "99999999999"),
        ("SHIVX_CACHE_MARKET_PRICE_STALE_TTL", "-0.1"),
        ("SHIVX_CACHE_BREAKER_FAILURES", "0"),
        ("SHIVX_CACHE_ENABLED", "yes"),
        ("SHIVX_CACHE_ENABLED", ""),
        ("SHIVX_CACHE_NAMESPACE", "a{b}"),
        ("SHIVX_CACHE_NAMESPACE", "a" * 65),
        ("SHIVX_CACHE_NAMESPACE", "a\n"),
        ("SHIVX_LIMIT_ADMIN", "1.5"),
        ("SHIVX_TRUSTED_PROXIES", "-1"),
        ("SHIVX_MARKET_SOURCE", "kraken"),
        ("SHIVX_MARKET_SOURCE", "simulated,simulated"),
        ("SHIVX_MARKET_SOURCE", ""),
        ("SHIVX_MARKET_SOURCE_URL", "ftp://host"),
        ("SHIVX_MARKET_SOURCE_URL", "http://user:pw@host"),
        ("SHIVX_SIMULATED_FAILURE_RATE", "1.01"),
        ("SHIVX_WARM_PAIRS", "BTC-USDC,,"),
        ("SHIVX_DATABASE_URL", "/var/lib/x.db"),
        ("SHIVX_DATABASE_URL", "mysql://u:p@host/d"),
        ("SHIVX_DATABASE_URL", "sqlite://"),
        ("SHIVX_DATABASE_URL", "sqlite:///:memory:"),
        ("SHIVX_METRICS_TOKEN", "two words"),
        ("SHIVX_CORS_ORIGINS", "example.com"),
        ("SHIVX_LOG_FORMAT", "xml"),
        ("SHIVX_LOG_LEVEL", "loud"),
        ("SHIVX_CDN", "akamai"),
        ("SHIVX_CDN_PURGE_URL", "http://[::1"),
    ],
)
def test_wrong_value_is_told_by_name(instance, name, text):
    """A malformed value, or one out of range, is an error of one line that names the variable first."""
    environ = {**instance, name: text}
    if name == "SHIVX_MARKET_SOURCE_URL":
        environ["SHIVX_MARKET_SOURCE"] = "ccxt:kraken"
    (line,) = complaints(environ)
    assert line.startswith(f"{name}: must be ")


def test_all_that_is_wrong_is_told_at_once(instance):
    """Unknown names, malformed values and conflicts come in one error, a line each."""
    lines = complaints(
        {
            **instance,
            "SHIVX_CACHE_DEFAULT_TLL": "5",
            "SHIVX_CACHE_ENABLED": "maybe",
            "SHIVX_REDIS_PASSWORD": "x",
            "SHIVX_LIMIT_ADMIN": "-3",
        }
    )
    assert [line.partition(":")[0] for line in lines] == [
        "SHIVX_CACHE_DEFAULT_TLL",
        "SHIVX_REDIS_PASSWORD",
        "SHIVX_CACHE_ENABLED",
        "SHIVX_LIMIT_ADMIN",
    ]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("SHIVX_REDIS_POOLSIZE", "SHIVX_REDIS_POOL_SIZE"),
        ("shivx_env", "SHIVX_ENV"),
        ("SHIVX_SECRET_KEY_FILE", "SHIVX_SECRET_KEYS_FILE"),
        ("SHIVX_LOG_LEVEL_FILE", "SHIVX_LOG_LEVEL"),
    ],
)
def test_unknown_name_gets_a_suggestion(instance, tmp_path, name, meant):
    """A name that no setting has is an error with a suggestion, in the environment and in .env alike."""
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"{name}=1\n")
    expected = [f"{name}: there is no such setting; did you mean {meant}?"]
    assert complaints({**instance, name: "1"}) == expected
    assert complaints(instance, dotenv) == expected


def test_foreign_variables_are_left_alone(instance, tmp_path):
    """Names without the prefix are nobody's business here, in the environment and in .env."""
    dotenv = tmp_path / ".env"
    dotenv.write_text("WEB_CONCURRENCY=2\nFOO\n# SHIVX_NO=1\n")
    assert read(instance, dotenv, PATH="/bin", MYSHIVX_A="1").env == "development"


def test_environment_wins_over_dotenv(instance, tmp_path):
    """What both give is taken from the environment; what only .env gives is taken from there."""
    dotenv = tmp_path / ".env"
    dotenv.write_text(
        "export SHIVX_LIMIT_ADMIN=7\nSHIVX_CACHE_NAMESPACE='from-file' # why\nSHIVX_LOG_LEVEL=debug\n"
    )
    settings = read(instance, dotenv, SHIVX_LIMIT_ADMIN="8")
    assert (settings.limit_admin, settings.cache_namespace, settings.log_level) == (8, "from-file", "debug")


def test_dotenv_is_read_from_the_working_directory(tmp_path, monkeypatch):
    """Without arguments the process's environment and ./.env are read, the instance folder beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("SHIVX_LIMIT_ADMIN=9\n")
    monkeypatch.setenv("SHIVX_CACHE_NAMESPACE", "here")
    settings = Settings.from_environment()
    assert (settings.limit_admin, settings.cache_namespace) == (9, "here")
    assert (tmp_path / "instance/secret_keys").exists()


def test_dotenv_values_are_taken_literally(tmp_path):
    """A secret with ``${`` in it is not expanded."""
    dotenv = tmp_path / ".env"
    dotenv.write_text("SHIVX_REDIS_PASSWORD=a${HOME}b\n")
    assert plain(read(REDIS, dotenv).redis_password) == "a${HOME}b"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"SHIVX_ENV development\n", "line 1"),
        (b"A=1\nSHIVX_METRICS_TOKEN\n", "SHIVX_METRICS_TOKEN"),
        (b"SHIVX_METRICS_TOKEN=\xff\n", "not UTF-8"),
    ],
)
def test_unreadable_dotenv_is_an_error(instance, tmp_path, content, told):
    """A line that is no assignment, or bytes that are no text, stop the start."""
    dotenv = tmp_path / ".env"
    dotenv.write_bytes(content)
    (line,) = complaints(instance, dotenv)
    assert told in line


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_secret_can_come_from_a_file(tmp_path, name):
    """NAME_FILE names a file whose text, less its last line break, is the secret."""
    secrets = {
        "SHIVX_REDIS_URL": "redis://:from-file@host",
        "SHIVX_REDIS_STATE_URL": "rediss://:from-file@host",
        "SHIVX_DATABASE_URL": "postgresql+psycopg://u:from-file@host/db",
        "SHIVX_SECRET_KEYS": "from-file" * 8,
    }
    secret = secrets.get(name, "from-file")
    (tmp_path / "secret").write_text(secret + "\n")
    environ = {key: value for key, value in REDIS.items() if key != name}
    settings = read(environ, **{f"{name}_FILE": str(tmp_path / "secret")})
    value = getattr(settings, name.removeprefix(PREFIX).lower())
    assert plain(value[0] if isinstance(value, tuple) else value) == secret
    assert "from-file" not in repr(settings) + str(settings)


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_secret_and_its_file_together_are_an_error(tmp_path, name):
    """NAME and NAME_FILE in one place is an error that names both."""
    (tmp_path / "secret").write_text("x" * 40)
    lines = complaints({name: "y" * 40, f"{name}_FILE": str(tmp_path / "secret")})
    assert f"{name}: give it or {name}_FILE, not both" in lines


def test_environment_s_secret_replaces_dotenv_s_file(tmp_path):
    """NAME in the environment wins over NAME_FILE in .env: they are one setting."""
    dotenv = tmp_path / ".env"
    dotenv.write_text("SHIVX_METRICS_TOKEN_FILE=/nowhere\n")
    assert plain(read(REDIS, dotenv, SHIVX_METRICS_TOKEN="t").metrics_token) == "t"


@pytest.mark.parametrize(
    ("content", "told"), [(None, "No such file"), (b"", "empty"), (b"\xff", "not UTF-8")]
)
def test_unusable_secret_file_is_told_by_name(tmp_path, content, told):
    """A file that is absent, empty or no text is an error that names the variable and the file."""
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    (line,) = complaints({**REDIS, "SHIVX_METRICS_TOKEN_FILE": str(path)})
    assert line.startswith(f"SHIVX_METRICS_TOKEN_FILE: {path}")
    assert told in line


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SHIVX_REDIS_URL", "http://:hush-hush@host"),
        ("SHIVX_REDIS_URL", "redis://:hush-hush@[host"),
        ("SHIVX_DATABASE_URL", "hush-hush"),
        ("SHIVX_SECRET_KEYS", "hush-hush"),
        ("SHIVX_METRICS_TOKEN", "hush-hush hush"),
    ],
)
def test_error_about_a_secret_does_not_show_it(name, text):
    """What is wrong with a secret is told without any of it, in the message and down the chain of causes."""
    with pytest.raises(ConfigurationError) as caught:
        read(REDIS, **{name: text})
    assert name in str(caught.value)
    error = caught.value
    while error is not None:
        assert "hush-hush" not in repr(error)
        error = error.__cause__ or error.__context__


def test_secrets_do_not_show_in_repr():
    """The repr of settings shows no secret that was given directly."""
    names = {name.removeprefix(PREFIX).lower() for name in SECRETS}
    values = dict.fromkeys(names, "hush" * 8) | dict.fromkeys(
        ("redis_url", "redis_state_url"), "redis://:hush@host"
    )
    values["database_url"] = "postgresql://u:hush@host/d"
    assert "hush" not in repr(Settings.model_validate(values))


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "redis://u:p@h:6379?db=3",
        "rediss://[::1]:6380",
        "unix:///run/redis.sock?db=1",
        "unix://u:p@/run/redis.sock",
        "redis+sentinel://u:p@h:1,g:2/service?sentinel_password=x",
        "rediss+sentinel://h:1/service/1?ssl_ca_certs=/ca.pem",
        "redis+cluster://h:1,g:2",
        "rediss+cluster://:p@h",
    ],
)
def test_redis_url_is_accepted(url):
    """One host by TCP, TLS or socket, sentinels or a cluster; the state's is the same unless given."""
    settings = read({**REDIS, "SHIVX_REDIS_URL": url})
    assert plain(settings.redis_url) == plain(settings.redis_state_url) == url


@pytest.mark.parametrize(
    "url",
    [
        "localhost:6379",
        "redis:/h",
        "redis://",
        "redis://h:0",
        "redis://h:65536",
        "redis://h:x",
        "redis://a,b",
        "redis://h/db",
        "redis://h#x",
        "redis://h /0",
        "unix://",
        "REDIS://h",
        "redis+sentinel://h:1,g:2",
        "redis+sentinel://h:1,:2/service",
        "redis+cluster://h:1/2",
        "redis+cluster://h:1?sentinel_password=x",
    ],
)
@pytest.mark.parametrize("name", ["SHIVX_REDIS_URL", "SHIVX_REDIS_STATE_URL"])
def test_malformed_redis_url_is_told_by_name(name, url):
    """Anything else is an error that names the variable and the rule."""
    assert any(line.startswith(f"{name}: must be ") for line in complaints({**REDIS, name: url}))


def test_production_starts_with_all_it_needs():
    """With an exchange, a Redis and keys, production starts."""
    assert read(PRODUCTION).env == "production"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"SHIVX_MARKET_SOURCE": None}, ["SHIVX_MARKET_SOURCE"]),
        ({"SHIVX_MARKET_SOURCE": "ccxt:kraken, simulated"}, ["SHIVX_MARKET_SOURCE"]),
        ({"SHIVX_REDIS_URL": None}, ["SHIVX_REDIS_URL"]),
        ({"SHIVX_REDIS_URL": ""}, ["SHIVX_REDIS_URL"]),
        ({"SHIVX_SECRET_KEYS": None}, ["SHIVX_SECRET_KEYS"]),
        ({"SHIVX_ENV": " Production ", "SHIVX_SECRET_KEYS": None}, ["SHIVX_SECRET_KEYS"]),
        (
            {"SHIVX_MARKET_SOURCE": None, "SHIVX_REDIS_URL": None, "SHIVX_SECRET_KEYS": None},
            ["SHIVX_MARKET_SOURCE", "SHIVX_REDIS_URL", "SHIVX_SECRET_KEYS"],
        ),
    ],
)
def test_production_refuses_what_is_for_development(changed, told):
    """The simulated source, the embedded Redis and generated keys are refused, all at once."""
    environ = {name: text for name, text in {**PRODUCTION, **changed}.items() if text is not None}
    assert [line.partition(":")[0] for line in complaints(environ)] == told


@pytest.mark.parametrize("kind", ["varnish", "Fastly"])
def test_a_cdn_needs_to_be_reached(instance, kind):
    """Without address and token nothing it keeps could be purged."""
    lines = complaints({**instance, "SHIVX_CDN": kind})
    assert [line.split(":")[0] for line in lines] == ["SHIVX_CDN_PURGE_URL", "SHIVX_CDN_PURGE_TOKEN"]


def test_keys_are_required_with_a_redis_of_one_s_own():
    """In development too, a Redis that others may share needs keys that they can share."""
    (line,) = complaints({"SHIVX_REDIS_URL": "redis://h"})
    assert line.startswith("SHIVX_SECRET_KEYS: required")


@pytest.mark.parametrize("keys", ["k" * 31, f"{KEY},short", f"{KEY},", f"{KEY},{KEY}"])
def test_weak_keys_are_refused(keys):
    """Each key has 32 characters or more, and none comes twice."""
    (line,) = complaints({**REDIS, "SHIVX_SECRET_KEYS": keys})
    assert line.startswith("SHIVX_SECRET_KEYS: must be ")


def test_keys_keep_their_order():
    """The newest key comes first, as given."""
    keys = read({**REDIS, "SHIVX_SECRET_KEYS": f"{KEY} , {'j' * 40}"}).secret_keys
    assert [plain(key) for key in keys] == [KEY, "j" * 40]


def test_settings_are_frozen():
    """Nobody changes a setting after the start."""
    with pytest.raises(ValueError, match="frozen"):
        Settings().env = "production"


def test_generated_key_is_kept_for_its_owner_alone(instance, tmp_path):
    """The embedded Redis gets a key of 32 or more characters, 0600, and the next start reads the same."""
    (first,), (second,) = read(instance).secret_keys, read(instance).secret_keys
    path = tmp_path / "instance/secret_keys"
    assert plain(first) == plain(second) == path.read_text().strip()
    assert len(plain(first)) >= 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["secret_keys"]


def test_generated_key_is_private_from_its_first_moment(instance, tmp_path, monkeypatch):
    """The file is made 0600, not made open to all and closed afterwards."""
    monkeypatch.setattr(Path, "chmod", lambda *_: None)
    read(instance)
    assert (tmp_path / "instance/secret_keys").stat().st_mode & 0o777 == 0o600


def test_loose_mode_of_the_key_file_is_tightened(instance, tmp_path):
    """A key file that others could read is closed to them at the next start."""
    read(instance)
    path = tmp_path / "instance/secret_keys"
    path.chmod(0o644)
    read(instance)
    assert path.stat().st_mode & 0o777 == 0o600


def test_damaged_key_file_is_an_error(instance, tmp_path):
    """A key file cut short is told, not silently replaced: sessions and encrypted rows depend on it."""
    read(instance)
    (tmp_path / "instance/secret_keys").write_text("short")
    (line,) = complaints(instance)
    assert "SHIVX_SECRET_KEYS" in line


def test_unusable_instance_folder_is_told_by_name(tmp_path):
    """If the keys cannot be kept, the error names the setting that says where."""
    (tmp_path / "file").write_text("")
    (line,) = complaints({"SHIVX_INSTANCE_DIR": str(tmp_path / "file")})
    assert line.startswith("SHIVX_INSTANCE_DIR: ")


def test_processes_that_start_at_once_share_one_key(instance):
    """Eight processes that begin together, without a key, end up with the same one."""
    code = (
        "import os, sys; from shivx.config import Settings; print('ready', flush=True);"
        "sys.stdin.read();"
        "print(Settings.from_environment(os.environ, None).secret_keys[0].get_secret_value())"
    )
    starting = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=instance,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    assert [process.stdout.readline() for process in starting] == ["ready\n"] * 8
    for process in starting:
        process.stdin.close()
        process.stdin = None
    keys = [process.communicate(timeout=60)[0].strip() for process in starting]
    assert len(set(keys)) == 1
    assert len(keys[0]) >= 32


@pytest.mark.parametrize("query", ["foo=bar", "protocol=2", "socket_timeout=9", "db=1&db2=2"])
def test_redis_url_sets_no_more_than_where_redis_is(query: str) -> None:
    """Options of the client that have settings of their own, or none at all, are refused in the URL."""
    with pytest.raises(ValueError, match="after \\? come only"):
        check_redis_url(f"redis://127.0.0.1:6379/0?{query}")
    assert check_redis_url("rediss://h:1/0?ssl_cert_reqs=required&db=1")
