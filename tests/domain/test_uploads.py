"""How uploads are sent: the choice of a method, and the shapes of signed requests."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import ErrorCode, InvalidInput
from domain.files import DeclaredFile
from domain.keys import ObjectKey
from domain.uploads import (
    SINGLE_REQUEST,
    Access,
    Capabilities,
    Guarantee,
    PostForm,
    PutRequest,
    SignedDownload,
    SignedUpload,
    Upload,
    UploadMethod,
    UploadWishes,
)
from tests import strategies as bits
from tests.domain.refusals import assert_fit_to_be_shown, attempt

POST, PUT = UploadMethod.POST, UploadMethod.PUT
MD5, SHA256, LENGTH, NO_OVERWRITE = Guarantee.MD5, Guarantee.SHA256, Guarantee.LENGTH, Guarantee.NO_OVERWRITE
NOBODY_MINDS = UploadWishes()


def store(methods: Mapping[UploadMethod, set[Guarantee]]) -> Capabilities:
    return Capabilities({method: frozenset(enforced) for method, enforced in methods.items()}, bits.MAX_BYTES)


# A form at Amazon binds all but overwriting; at some other stores only a PUT has its digest checked.
AMAZON = store({POST: {LENGTH, MD5, SHA256}, PUT: {LENGTH, MD5, SHA256, NO_OVERWRITE}})
LAX_FORMS = store({POST: {LENGTH}, PUT: {LENGTH, MD5}})
LAX_PUTS = store({POST: {LENGTH, MD5}, PUT: {LENGTH}})
EQUAL = store({POST: {LENGTH, MD5}, PUT: {LENGTH, MD5}})
FORMS_ONLY = store({POST: {LENGTH, MD5}})
PUTS_ONLY = store({PUT: {LENGTH, MD5}})

EITHER = frozenset({POST, PUT})
ONLY_POST, ONLY_PUT, NEITHER = frozenset({POST}), frozenset({PUT}), frozenset[UploadMethod]()


@pytest.mark.parametrize(
    ("capabilities", "accept", "preferred", "chosen"),
    [
        # A client that says nothing can do what deployed clients can: a form, unless the operator knows better.
        (AMAZON, None, None, POST),
        (LAX_FORMS, None, None, POST),
        (PUTS_ONLY, None, None, PUT),
        (AMAZON, None, PUT, PUT),
        (AMAZON, None, POST, POST),
        (FORMS_ONLY, None, PUT, POST),
        (PUTS_ONLY, None, POST, PUT),
        # What a client accepts wins over what the operator prefers; among several, what enforces most.
        (AMAZON, EITHER, None, PUT),
        (LAX_FORMS, EITHER, None, PUT),
        (LAX_PUTS, EITHER, None, POST),
        (LAX_PUTS, EITHER, PUT, POST),
        (EQUAL, EITHER, None, POST),
        (AMAZON, ONLY_POST, PUT, POST),
        (AMAZON, ONLY_PUT, POST, PUT),
        (FORMS_ONLY, EITHER, PUT, POST),
        (PUTS_ONLY, EITHER, POST, PUT),
        (FORMS_ONLY, ONLY_PUT, None, None),
        (PUTS_ONLY, ONLY_POST, None, None),
        (AMAZON, NEITHER, POST, None),
    ],
)
def test_the_method_that_is_chosen(
    capabilities: Capabilities,
    accept: frozenset[UploadMethod] | None,
    preferred: UploadMethod | None,
    chosen: UploadMethod | None,
) -> None:
    found = attempt(UploadWishes(accept).choose_method, capabilities, preferred)
    if chosen is None:
        assert isinstance(found, InvalidInput)
        assert found.code is ErrorCode.UNSUPPORTED_BY_STORE
    else:
        assert found is chosen


@pytest.mark.parametrize(
    ("capabilities", "wishes", "chosen"),
    [
        (AMAZON, UploadWishes(overwrite=False), None),
        (AMAZON, UploadWishes(EITHER, overwrite=False), PUT),
        (AMAZON, UploadWishes(ONLY_PUT, overwrite=False), PUT),
        (LAX_FORMS, UploadWishes(EITHER, overwrite=False), None),
        (LAX_FORMS, UploadWishes(require=frozenset({LENGTH})), POST),
        (LAX_FORMS, UploadWishes(require=frozenset({MD5})), None),
        (LAX_FORMS, UploadWishes(EITHER, require=frozenset({MD5})), PUT),
        (LAX_FORMS, UploadWishes(EITHER, require=frozenset({SHA256})), None),
        (store({POST: {MD5}, PUT: {LENGTH, SHA256}}), UploadWishes(EITHER, require=frozenset({MD5})), POST),
        (store({POST: {MD5}, PUT: {SHA256}}), UploadWishes(EITHER, require=frozenset({MD5, SHA256})), None),
    ],
)
def test_what_is_required_is_enforced_or_refused(
    capabilities: Capabilities, wishes: UploadWishes, chosen: UploadMethod | None
) -> None:
    found = attempt(wishes.choose_method, capabilities, None)
    assert (found if isinstance(found, UploadMethod) else None) is chosen


guarantees = st.frozensets(st.sampled_from(Guarantee))
method_sets = st.frozensets(st.sampled_from(UploadMethod))
stores = st.builds(
    Capabilities, st.dictionaries(st.sampled_from(UploadMethod), guarantees), max_request_bytes=st.just(bits.MAX_BYTES)
)
all_wishes = st.builds(
    UploadWishes,
    accept=st.none() | method_sets,
    overwrite=st.booleans(),
    require=st.frozensets(st.sampled_from(Guarantee), max_size=2),
)


@given(capabilities=stores, wishes=all_wishes, preferred=st.none() | st.sampled_from(SINGLE_REQUEST))
def test_a_choice_keeps_every_wish_and_a_refusal_means_that_none_could(
    capabilities: Capabilities, wishes: UploadWishes, preferred: UploadMethod | None
) -> None:
    def is_good(method: UploadMethod) -> bool:
        enforced = capabilities.methods.get(method)
        if enforced is None or not wishes.require <= enforced:
            return False
        return wishes.overwrite or NO_OVERWRITE in enforced

    if wishes.accept is not None:
        candidates = [method for method in (POST, PUT) if method in wishes.accept]
    elif preferred is not None and preferred in capabilities.methods:
        candidates = [preferred]
    else:
        candidates = [method for method in (POST, PUT) if method in capabilities.methods][:1]
    good = [method for method in candidates if is_good(method)]

    chosen = attempt(wishes.choose_method, capabilities, preferred)
    if good:
        assert isinstance(chosen, UploadMethod)
        assert chosen in good
        strengths = {method: len(capabilities.methods[method]) for method in good}
        assert strengths[chosen] == max(strengths.values())
        assert chosen is POST or POST not in good or strengths[PUT] > strengths[POST]
    else:
        assert isinstance(chosen, InvalidInput)
        assert chosen.code is ErrorCode.UNSUPPORTED_BY_STORE
        assert_fit_to_be_shown(chosen)


@given(capabilities=stores, wishes=all_wishes, preferred=st.none() | st.sampled_from(SINGLE_REQUEST))
def test_the_hint_of_a_refusal_works(
    capabilities: Capabilities, wishes: UploadWishes, preferred: UploadMethod | None
) -> None:
    refusal = attempt(wishes.choose_method, capabilities, preferred)
    if isinstance(refusal, InvalidInput) and "send" in refusal.message:
        (hinted,) = [method for method in SINGLE_REQUEST if f'"accept": ["{method}"]' in refusal.message]
        following = UploadWishes(frozenset({hinted}), wishes.overwrite, wishes.require)
        assert following.choose_method(capabilities, preferred) is hinted


def test_a_refusal_says_what_the_store_can_not_enforce() -> None:
    refusal = attempt(UploadWishes(require=frozenset({MD5, SHA256})).choose_method, FORMS_ONLY, None)
    assert isinstance(refusal, InvalidInput)
    assert "sha256" in refusal.message
    assert "md5" not in refusal.message


# --- Signed requests ---

SECRET = "a signature that must not be shown"
UPLOAD = Upload(
    ObjectKey("alice/data/a.csv"),
    DeclaredFile.parse("a.csv", {"length": 5, "md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}, bits.RULES),
    Access.PRIVATE,
)


@pytest.mark.parametrize(
    ("request_", "method"),
    [(PostForm("https://s", {"policy": SECRET}), POST), (PutRequest(f"https://s?{SECRET}", {}), PUT)],
)
def test_a_signed_upload_knows_its_method_and_keeps_its_secrets(
    request_: PostForm | PutRequest, method: UploadMethod
) -> None:
    signed = SignedUpload(UPLOAD, request_, "https://s/b/alice/data/a.csv", bits.NOW)
    assert signed.method is method
    assert SECRET not in repr(signed)
    assert SECRET not in str(signed)


def test_a_signed_download_keeps_its_secrets() -> None:
    assert SECRET not in repr(SignedDownload(f"https://s?{SECRET}", bits.NOW))
