"""Ids of uploads in parts: what clients see of one, and what its store does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.stores.s3_upload_ids import S3UploadId, id_of_store
from domain.errors import ErrorCode, InvalidInput
from domain.multipart import UploadId

NONCE = "0123456789abcdef" * 2
printable = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=200)


@given(nonce=st.binary(min_size=16, max_size=16), of_store=printable, has_digests=st.booleans())
def test_what_clients_see_leads_back(nonce: bytes, of_store: str, has_digests: bool) -> None:
    upload = S3UploadId(nonce.hex(), of_store, has_digests)
    assert S3UploadId.parse(upload.text) == upload
    assert id_of_store(upload.text) == of_store


def test_etags_are_digests_unless_it_is_said_otherwise() -> None:
    assert S3UploadId(NONCE, "x").has_digests
    assert S3UploadId(NONCE, "x").text == f"{NONCE}.x"


@pytest.mark.parametrize(
    "other",
    ["x", NONCE, f"{NONCE}.", f".{NONCE}", f"{NONCE[:-1]}.x", f"{NONCE}0.x", f"{NONCE.upper()}.x", f"{NONCE}kk.x"],
)
def test_another_form_is_the_stores_own(other: str) -> None:
    assert S3UploadId.parse(UploadId(other)) is None
    assert id_of_store(UploadId(other)) == other


@pytest.mark.parametrize("of_store", ["with blanks", "é", "x" * 1_000])
def test_what_clients_could_not_send_back_is_refused(of_store: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        _ = S3UploadId(NONCE, of_store).text
    assert caught.value.code is ErrorCode.INVALID_UPLOAD_ID
