"""What is left of hostile requests: nothing but a line in the log for each. To be run after the others here."""

import pytest

from tests.hard.hostile.cases_of_tokens import INVALID
from tests.hard.hostile.service import KINDS, Request, Target, Uploads, good_token, in_header, in_query


@pytest.mark.parametrize("kind", KINDS)
def test_good_requests_are_granted_as_before(target: Target, uploads: Uploads, kind: str) -> None:
    target.grants(uploads.requests[kind])


def test_the_service_is_well(target: Target) -> None:
    target.refuses(Request("GET", "/info"), 401, "token_missing")
    target.is_well()


def test_the_log_has_a_line_for_each_request_and_nothing_secret(target: Target) -> None:
    token = INVALID["signed by another key"](good_token())
    target.refuses(in_header(Request("GET", "/x\u2028\x85%1b[2J%0d%0a"), token), 404, "not_found", secret=token)
    target.refuses(in_query(Request("GET", "/info"), token), 401, "token_invalid", secret=token)
    target.has_clean_log()
