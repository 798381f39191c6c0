"""Where objects will be found, for those that aren't signed for at the moment."""

from collections.abc import Callable
from urllib.parse import quote

from application.ports import UploadSigner
from domain.keys import ObjectKey


def object_urls(signer: UploadSigner) -> Callable[[ObjectKey], str]:
    """Give what makes the `object_url` of a key, as `UploadSigner.sign_uploads` promises it."""
    start = signer.url_prefixes("")[0]
    return lambda key: f"{start}/{quote(key)}"
