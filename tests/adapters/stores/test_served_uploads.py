"""What the stores of bytes know of an upload in parts: its id, and which of its parts are there."""

import pytest

from adapters.stores.served_uploads import arrived_part, is_our_id, new_upload_id, require_parts
from application.ports import PartsChanged
from domain.files import Md5
from domain.multipart import ArrivedPart, UploadId

ONE, OTHER = Md5("1B2M2Y8AsgTpgAmY7PhCfg=="), Md5("XUFAKrxLKna5cZ2REBfFkg==")
FIRST, SECOND = arrived_part(1, 5, ONE), arrived_part(2, 3, OTHER)


def test_ids_are_32_hexadecimal_digits_and_never_the_same() -> None:
    ids = [new_upload_id() for _ in range(100)]
    assert len(set(ids)) == 100
    assert all(type(one) is UploadId and is_our_id(one) and len(one) == 32 for one in ids)


@pytest.mark.parametrize(
    "text", ["", "a" * 31, "a" * 33, "A" * 32, "g" * 32, "a" * 32 + "\n", "a" * 32 + "/..", "../" + "a" * 29]
)
def test_what_could_name_another_file_is_no_id_of_ours(text: str) -> None:
    assert not is_our_id(text)


def test_parts_that_are_there_satisfy() -> None:
    require_parts([FIRST, SECOND], {1: FIRST, 2: SECOND, 3: SECOND})
    require_parts([], {})


@pytest.mark.parametrize(
    "arrived",
    [{}, {1: FIRST}, {2: SECOND}, {1: FIRST, 2: arrived_part(2, 4, OTHER)}, {1: FIRST, 2: arrived_part(2, 3, ONE)}],
    ids=["none", "the first", "the second", "another length", "other bytes"],
)
def test_parts_that_are_not_there_or_not_the_same_do_not(arrived: dict[int, ArrivedPart]) -> None:
    with pytest.raises(PartsChanged):
        require_parts([FIRST, SECOND], arrived)
