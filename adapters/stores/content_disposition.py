"""The header that has a browser save a download under a name."""

from urllib.parse import quote


def attachment(filename: str) -> str:
    """Write a Content-Disposition that saves under `filename` (RFC 6266, appendix D): for old readers in ASCII too."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
