"""Whether tokens can be verified: the keys, and a token if there is one to try."""

from adapters.tokens.key_servers import KeyServer
from adapters.tokens.key_sources import FetchedKeys
from domain.errors import BitstoreError, Unavailable
from entrypoints.cli.doctor.case import Case
from entrypoints.cli.doctor.findings import Finding, ok, wrong
from entrypoints.cli.explain.answers import Answer, Dialect
from entrypoints.cli.explain.diagnosis import diagnose


async def check_keys(case: Case) -> Finding:
    """Look whether there are keys to verify tokens with; fetch them, where they come over the network."""
    source = case.service.settings.token_keys
    if not isinstance(source, KeyServer):
        return ok(f"one public key, for tokens signed with {source.algorithm}")
    (keys,) = (one for one in case.service.startables if isinstance(one, FetchedKeys))
    case.closing.push_async_callback(keys.stop)
    await keys.start()
    variable = "AUTH_SERVER" if source.url == case.service.settings.effective.get("AUTH_SERVER") else "AUTH_JWKS_URL"
    url = case.service.settings.effective[variable]
    try:
        await keys.check()
    except Unavailable:
        return wrong(
            f"no keys can be had at {url}",
            f"is {variable} right, does this machine reach it, and is a key for TOKEN_ALGORITHMS published there?",
        )
    return ok(f"keys were fetched from {url}: {', '.join(key.algorithm for key in keys().keys)}")


async def check_token(case: Case, token: str) -> Finding:
    """Verify a token as the service would. It is never repeated."""
    try:
        principal = await case.service.authenticate(token, case.clock())
        principal.require_upload_permission()
    except BitstoreError as error:
        known = Answer(None, {}, "", error.code, error.message, dialect=Dialect.BITSTORE)
        return wrong(error.message, diagnose(known).remedy)
    until = "" if principal.expires_at is None else f", until {principal.expires_at:%Y-%m-%d %H:%M} UTC"
    return ok(f"it proves the user {principal.userid!s}, who may upload{until}")
