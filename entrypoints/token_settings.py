"""The settings of tokens: what they must say, and where the keys come from that they are verified with."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from adapters.tokens.jwt import ALGORITHMS, VerificationKey, load_key
from adapters.tokens.key_servers import DocumentKind, KeyServer
from domain.identity import TokenRules
from entrypoints.environment import EnvironmentReader, document_url, service_url

PUBLIC_KEY_PATH = "/auth/public-key"
"""Where the auth service of the DataHub stack publishes its key."""

_KEY_SOURCES = ("DATAHUB_PUBLIC_KEY", "AUTH_SERVER", "AUTH_JWKS_URL")


def token_rules(reader: EnvironmentReader, service_name: str) -> TokenRules:
    """Read what a token must say to be accepted."""
    return TokenRules(
        service=service_name,
        leeway=timedelta(seconds=reader.integer("TOKEN_LEEWAY_SECONDS", 30, low=0, high=600)),
        max_lifetime=timedelta(seconds=reader.integer("TOKEN_MAX_LIFETIME_SECONDS", 86_400, low=1, high=10**9)),
        require_expiry=reader.flag("REQUIRE_TOKEN_EXPIRY", default=True),
        audience=reader.text("TOKEN_AUDIENCE", unset="not checked"),
        issuer=reader.text("TOKEN_ISSUER", unset="not checked"),
    )


def token_keys(reader: EnvironmentReader) -> VerificationKey | KeyServer | None:
    """Read the one key, or where keys are to be fetched; exactly one of three variables says it."""
    algorithms = reader.choices("TOKEN_ALGORITHMS", ALGORITHMS, "RS256")
    refresh = reader.integer("AUTH_REFRESH_SECONDS", 300, low=10, high=86_400)
    cooldown = reader.integer("AUTH_COOLDOWN_SECONDS", 30, low=1, high=3_600)
    public_key, auth_server, jwks_url = (reader.text(name) for name in _KEY_SOURCES)
    given = [name for name in _KEY_SOURCES if reader.environ.get(name)]
    if not given:
        reader.fault(
            "DATAHUB_PUBLIC_KEY is missing: the public key of the auth service, as PEM text or a file's path; "
            "or AUTH_SERVER or AUTH_JWKS_URL, from which keys are fetched"
        )
    if len(given) > 1:
        reader.fault(f"{' and '.join(given)} exclude one another: give the one that the keys are to come from")
    if len(given) != 1:
        return None
    if public_key:
        return _fixed_key(reader, public_key, algorithms)
    server = reader.parsed("AUTH_SERVER", service_url, auth_server)
    key_set = reader.parsed("AUTH_JWKS_URL", document_url, jwks_url)
    if server:
        url = reader.effective["AUTH_SERVER"] = f"{server}{PUBLIC_KEY_PATH}"
        return KeyServer(url, DocumentKind.PEM, algorithms, refresh, cooldown)
    if key_set:
        address, asks, _ = key_set.partition("?")
        reader.effective["AUTH_JWKS_URL"] = f"{address}?********" if asks else address
        return KeyServer(key_set, DocumentKind.JWKS, algorithms, refresh, cooldown)
    return None


def _fixed_key(reader: EnvironmentReader, text: str, algorithms: Sequence[str]) -> VerificationKey | None:
    key = reader.parsed("DATAHUB_PUBLIC_KEY", lambda text: load_key(_pem(text), algorithms), text)
    if key is not None:
        reader.effective["DATAHUB_PUBLIC_KEY"] = f"a public key for {key.algorithm}"
    return key


def _pem(text: str) -> str:
    """Take PEM text, PEM text whose line ends are written as backslash and n, or the path of a file with PEM text."""
    if "-----BEGIN" in text:
        return text.replace("\\n", "\n")
    try:
        return Path(text).read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        raise ValueError("it is neither PEM text nor the path of a readable file with PEM text") from error
