"""What must not be repeated of somebody's answer: signatures, policies, tokens, credentials."""

import re
from typing import Final

MASK: Final = "********"

# A value that could be a secret: none of the words of a sentence, such as "Policy: Policy expired".
_VALUE = r"[A-Za-z0-9+/%=_.~-]{16,}"
_NAMED = re.compile(
    rf"""\b(
        x-(?:amz|goog)-(?:signature|credential|security-token) | awsaccesskeyid | googleaccessid
        | signature(?:provided)? | policy | sig | jwt | (?:auth-|access_?)?token | secret\w* | account_?key
    )(["']?\s*[=:,>]\s*["']?){_VALUE}""",
    re.IGNORECASE | re.VERBOSE,
)
_HEADER = re.compile(r"\b(authorization|auth-token|cookie|set-cookie)(\s*[:=]\s*)[^\r\n]+", re.IGNORECASE)
_SHAPES = re.compile(
    r"""eyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?  # a JSON Web Token
    | \b(?:AKIA|ASIA)[A-Z0-9]{12,}      # an access key id of AWS
    | [A-Za-z0-9+=_-]{40,}              # a signature, or a policy; what is longer than any word, and no path
    """,
    re.VERBOSE,
)
# Azure quotes what was to be signed ("AuthenticationErrorDetail").
_STRING_TO_SIGN = re.compile(r"(string to sign (?:used )?(?:was|is))\b.*", re.IGNORECASE | re.DOTALL)


def redact(text: str) -> str:
    """Mask whatever could be a secret in a text of others."""
    text = _STRING_TO_SIGN.sub(rf"\1 {MASK}", text)
    text = _HEADER.sub(rf"\1\2{MASK}", text)
    return _SHAPES.sub(MASK, redact_named(text))


def redact_named(text: str) -> str:
    """Mask only what is named as a secret: for keys and digests, which may be as long as a signature."""
    return _NAMED.sub(rf"\1\2{MASK}", text)
