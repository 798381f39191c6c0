"""Who is asking: what a token's claims must say, and the principal that they prove.

Checking a token's signature is an adapter's work. What its claims mean is decided here, on plain values.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeGuard

from attrs import frozen

from domain.errors import AccessDenied, BitstoreError, ErrorCode, InvalidInput, Unauthenticated
from domain.keys import Owner

UPLOAD_PERMISSION = "datapackage-upload"

BYTES_PER_QUOTA_MB = 1_000_000


@frozen
class TokenRules:
    """What this service demands of a token's claims (RFC 7519, section 4.1)."""

    service: str
    leeway: timedelta = timedelta(seconds=30)
    max_lifetime: timedelta = timedelta(days=1)
    """How far in the future `exp` may lie."""
    require_expiry: bool = True
    audience: str | None = None
    issuer: str | None = None


@frozen
class Principal:
    """What a verified token proves, until it expires: a user, for this service, with these permissions.

    Quotas are in bytes.
    """

    userid: Owner
    service: str
    may_upload: bool
    max_public_bytes: int | None = None
    max_private_bytes: int | None = None
    expires_at: datetime | None = None

    def require_upload_permission(self) -> None:
        """Raise `AccessDenied` (`permission_missing`) unless the token says that its user may upload."""
        if not self.may_upload:
            raise AccessDenied(
                ErrorCode.PERMISSION_MISSING, f"the token doesn't carry the permission {UPLOAD_PERMISSION!r}"
            )

    def require_ownership(self, owner: Owner) -> None:
        """Raise `AccessDenied` (`not_owner`) unless `owner` is this user, byte for byte."""
        if owner != self.userid:
            raise AccessDenied(ErrorCode.NOT_OWNER, "the owner must be the user of the token", field="owner")


def principal_of(claims: Mapping[str, object], rules: TokenRules, now: datetime) -> Principal:
    """Decide whom the claims of a correctly signed token prove, at `now`.

    Raises `Unauthenticated`: `token_expired` when only the time is over, else `token_invalid`.
    """
    _check_recipient(claims, rules)
    permissions = claims.get("permissions", {})
    if not isinstance(permissions, Mapping):
        raise _invalid("permissions is not an object")
    try:
        userid = Owner(claims.get("userid"))
    except InvalidInput as error:
        raise _invalid("userid can't be an owner of files") from error
    return Principal(
        userid=userid,
        service=rules.service,
        may_upload=permissions.get(UPLOAD_PERMISSION) is True,
        max_public_bytes=_quota(permissions, "max_public_storage_mb"),
        max_private_bytes=_quota(permissions, "max_private_storage_mb"),
        expires_at=_checked_expiry(claims, rules, now),
    )


def _invalid(reason: str) -> BitstoreError:
    return Unauthenticated(ErrorCode.TOKEN_INVALID, f"the token is not acceptable: {reason}")


def _check_recipient(claims: Mapping[str, object], rules: TokenRules) -> None:
    if claims.get("service") != rules.service:
        raise _invalid("it was issued for another service")
    if rules.issuer is not None and claims.get("iss") != rules.issuer:
        raise _invalid("it was issued by somebody else")
    audience = claims.get("aud")
    if rules.audience is not None and rules.audience not in (audience if isinstance(audience, list) else [audience]):
        raise _invalid("it was issued for another audience")


def _checked_expiry(claims: Mapping[str, object], rules: TokenRules, moment: datetime) -> datetime | None:
    now, leeway = moment.timestamp(), rules.leeway.total_seconds()
    for name in ("nbf", "iat"):
        start = _time(claims, name)
        if start is not None and start > now + leeway:
            raise _invalid(f"it is not valid yet ({name})")
    expires = _time(claims, "exp")
    if expires is None and rules.require_expiry:
        raise _invalid("it has no expiry (exp)")
    if expires is not None and expires > now + rules.max_lifetime.total_seconds() + leeway:
        raise _invalid("it expires too far in the future")
    if expires is not None and expires <= now - leeway:
        raise Unauthenticated(ErrorCode.TOKEN_EXPIRED, "the token has expired")
    return None if expires is None else datetime.fromtimestamp(expires, UTC)


def _time(claims: Mapping[str, object], name: str) -> float | None:
    if name not in claims:
        return None
    value = claims[name]
    # A NumericDate is a JSON number (RFC 7519, section 2).
    if not _is_number(value):
        raise _invalid(f"{name} is not a number of seconds")
    return value


def _quota(permissions: Mapping[str, object], name: str) -> int | None:
    if name not in permissions:
        return None
    value = permissions[name]
    if not _is_number(value) or not 0 <= value * BYTES_PER_QUOTA_MB < math.inf:
        raise _invalid(f"{name} is not a size")
    return int(value * BYTES_PER_QUOTA_MB)


def _is_number(value: object) -> TypeGuard[int | float]:
    # `True` is an int to Python, but no number to JSON; and an int may be too large for `isfinite`.
    return type(value) is int or (isinstance(value, float) and math.isfinite(value))
