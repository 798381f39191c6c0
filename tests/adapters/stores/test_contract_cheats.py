"""What the conformance suite tries, whatever a store calls the parts of its requests."""

from collections.abc import Sequence

import pytest

from adapters.stores.contract_cheats import Cheat, Request, cheats, garblings, omissions, with_key
from domain.uploads import PostForm, PutRequest

PUT = PutRequest("http://store/b/a.csv?id=%2Fx&sig=aaa", {"Content-Length": "3", "Content-MD5": "mine"})
OTHER_PUT = PutRequest("http://store/b/a.csv?id=%2Fx&sig=bbb", {"Content-Length": "3", "Content-MD5": "another"})
FORM = PostForm("http://store/b", {"key": "a.csv", "acl": "private", "policy": "p1", "signature": "s1"})
OTHER_FORM = PostForm("http://store/b", {"key": "a.csv", "acl": "public", "policy": "p2", "signature": "s2"})


def tried(found: Sequence[Cheat]) -> dict[str, Request]:
    return {cheat.what: cheat.request for cheat in found}


def test_each_part_that_differs_is_left_out_and_taken_from_the_other_request() -> None:
    length = {"Content-Length": "3"}
    assert tried(cheats(PUT, OTHER_PUT)) == {
        "without the header Content-MD5": PutRequest(PUT.url, length),
        "with another header Content-MD5": PutRequest(PUT.url, OTHER_PUT.headers),
        "without the parameter sig": PutRequest("http://store/b/a.csv?id=%2Fx", PUT.headers),
        "with another parameter sig": PutRequest(OTHER_PUT.url, PUT.headers),
    }


def test_the_fields_of_a_form_stay_in_their_order() -> None:
    requests = tried(cheats(FORM, OTHER_FORM))
    assert len(requests) == 6
    changed = requests["with another field acl"]
    assert isinstance(changed, PostForm)
    assert list(changed.fields.items()) == list({**FORM.fields, "acl": "public"}.items())


def test_what_only_the_other_request_has_is_added() -> None:
    bare = PutRequest("http://store/b/a.csv", {})
    more = PutRequest("http://store/b/a.csv?overwrite=yes", {"x-acl": "public"})
    assert tried(cheats(bare, more)) == {
        "with another header x-acl": PutRequest("http://store/b/a.csv?", {"x-acl": "public"}),
        "with another parameter overwrite": PutRequest("http://store/b/a.csv?overwrite=yes", {}),
    }


def test_a_length_is_left_out_by_sending_in_chunks() -> None:
    (cheat,) = omissions(PUT, PutRequest(PUT.url, {**PUT.headers, "Content-Length": "4"}))
    assert (cheat.what, cheat.chunked) == ("without the header Content-Length", True)


def test_one_character_breaks_a_signature() -> None:
    broken = tried(garblings(PUT, PutRequest(OTHER_PUT.url, PUT.headers)))
    assert broken == {"with a broken parameter sig": PutRequest("http://store/b/a.csv?id=%2Fx&sig=0aa", PUT.headers)}


@pytest.mark.parametrize(
    ("request_", "aimed"),
    [
        (PutRequest("http://store/b/a%20b.csv?sig=x", {}), PutRequest("http://store/b/%C3%A9.csv?sig=x", {})),
        (PostForm("http://store/b", {"key": "a b.csv"}), PostForm("http://store/b", {"key": "é.csv"})),
    ],
    ids=["PUT", "POST"],
)
def test_a_request_is_aimed_at_another_key(request_: Request, aimed: Request) -> None:
    assert with_key(request_, "a b.csv", "é.csv").request == aimed
