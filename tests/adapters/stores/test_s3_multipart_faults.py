"""Files in parts on an S3 store that fails, is slow or talks nonsense: SeaweedFS behind a proxy that does it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import parse_qs

import pytest
from attrs import evolve

from adapters.stores import s3_multipart
from adapters.stores.contract import CONTENT, make_folder, make_upload
from adapters.stores.contract_client import md5_of, utc_now
from adapters.stores.s3_multipart import CONCURRENCY
from application.ports import ObjectExists, PartsChanged
from domain.errors import ErrorCode, Unavailable
from domain.keys import ObjectKey
from domain.multipart import ArrivedPart
from domain.uploads import MultipartUpload
from tests.adapters.stores.s3_site import OK, Site, make_site, started
from tests.stores.processes import free_port
from tests.stores.proxy import Asked, Reply, StoreProxy, store_proxy
from tests.stores.servers import RunningStore
from tests.stores.trouble import End, Trouble, troubled_store

CREATE, LIST_PARTS, COMPLETE = "CreateMultipartUpload", "ListParts", "CompleteMultipartUpload"
ABORT, LIST_UPLOADS, HEAD = "AbortMultipartUpload", "ListMultipartUploads", "HeadObject"
PARTS = [ArrivedPart(1, len(CONTENT), f'"{md5_of(CONTENT).hex}"')]

# What makes the service call each operation. "HeadObject" follows where an upload is not found.
CALLS: Mapping[str, Callable[[Site, MultipartUpload], object]] = {
    CREATE: lambda site, begun: site.begin(begun.upload),
    LIST_PARTS: lambda site, begun: site.progress(begun),
    COMPLETE: lambda site, begun: site.complete(begun, PARTS),
    ABORT: lambda site, begun: site.abort(begun),
    LIST_UPLOADS: lambda site, _: site.pending(""),
    HEAD: lambda site, begun: site.progress(evolve(begun, upload=make_upload())),
}

CONSTANTS = {
    CREATE: "_CREATE",
    LIST_PARTS: "_LIST_PARTS",
    COMPLETE: "_COMPLETE",
    ABORT: "_ABORT",
    LIST_UPLOADS: "_LIST_UPLOADS",
    HEAD: "_HEAD",
}


def error(code: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>x</Message></Error>'.encode()


def operation(asked: Asked) -> str:
    if asked.method in ("HEAD", "DELETE"):
        return HEAD if asked.method == "HEAD" else ABORT
    names = parse_qs(asked.query, keep_blank_values=True)
    if "uploads" in names:
        return CREATE if asked.method == "POST" else LIST_UPLOADS
    return COMPLETE if asked.method == "POST" else LIST_PARTS


def answering(name: str, reply: Reply) -> Callable[[Asked], Awaitable[Reply | None]]:
    """Answer one operation, and let the store answer the others."""

    async def instead(asked: Asked) -> Reply | None:
        return reply if operation(asked) == name else None

    return instead


@pytest.fixture(scope="module")
def running_proxy(seaweedfs: RunningStore) -> Iterator[StoreProxy]:
    with store_proxy(seaweedfs.endpoint_url) as proxy:
        yield proxy


@pytest.fixture
def proxy(running_proxy: StoreProxy) -> StoreProxy:
    running_proxy.reset()
    return running_proxy


@pytest.fixture
def site(seaweedfs: RunningStore, proxy: StoreProxy) -> Iterator[Site]:
    """The service reaches the store by the proxy."""
    with asyncio.Runner() as runner, started(make_site(seaweedfs, runner, origin=proxy.origin)) as site:
        yield site


@pytest.fixture
def begun(site: Site) -> MultipartUpload:
    """An upload whose only part has arrived."""
    begun = site.begin()
    assert site.send(begun, CONTENT) in OK
    return begun


def failure(call: Callable[[], object]) -> str:
    with pytest.raises(Unavailable) as caught:
        call()
    assert caught.value.code is ErrorCode.STORE_UNAVAILABLE
    return caught.value.message


# What no operation can do with

UNEXPECTED = {
    **{str(status): Reply(status) for status in (206, 301, 307, 400, 401, 429, 500, 501, 502, 503)},
    "an error": Reply(503, error("SlowDown")),
    "half an answer": Reply(200, b"<a/>", {"Content-Length": "100000"}),
}
NO_DOCUMENT = {
    "nothing": Reply(200),
    "no XML": Reply(200, b"It works!"),
    "half a document": Reply(200, b"<ListPartsResult><Part>"),
    "another document": Reply(200, b"<html><body>Log in</body></html>"),
    "an error with status 200": Reply(200, b"\n\n   " + error("InternalError")),
    "an unknown encoding": Reply(200, b'<?xml version="1.0" encoding="martian"?><a/>'),
    "another page": Reply(404, b"<html><body>Not here</body></html>"),
    "no such bucket": Reply(404, error("NoSuchBucket")),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("reply", [pytest.param(reply, id=name) for name, reply in UNEXPECTED.items()])
def test_an_answer_that_is_none_is_a_failure(
    site: Site, proxy: StoreProxy, begun: MultipartUpload, name: str, reply: Reply
) -> None:
    if name == HEAD:
        reply = Reply(reply.status if reply.status != 200 else 204)
    proxy.instead = answering(name, reply)
    assert f" {name}: " in failure(partial(CALLS[name], site, begun))


@pytest.mark.parametrize("name", [CREATE, LIST_PARTS, COMPLETE, LIST_UPLOADS])
@pytest.mark.parametrize("reply", [pytest.param(reply, id=name) for name, reply in NO_DOCUMENT.items()])
def test_another_document_is_a_failure(
    site: Site, proxy: StoreProxy, begun: MultipartUpload, name: str, reply: Reply
) -> None:
    proxy.instead = answering(name, reply)
    assert f" {name}: " in failure(partial(CALLS[name], site, begun))
    proxy.instead = None
    assert len(site.arrived(begun)) == 1


@pytest.mark.parametrize(
    ("name", "permission"),
    [
        (CREATE, "s3:PutObject"),
        (LIST_PARTS, "s3:ListMultipartUploadParts"),
        (COMPLETE, "s3:PutObject"),
        (ABORT, "s3:AbortMultipartUpload"),
        (LIST_UPLOADS, "s3:ListBucketMultipartUploads"),
        (HEAD, "s3:GetObject"),
    ],
)
def test_the_permission_that_may_be_missing_is_named(
    site: Site, proxy: StoreProxy, begun: MultipartUpload, name: str, permission: str
) -> None:
    proxy.instead = answering(name, Reply(403, b"" if name == HEAD else error("AccessDenied")))
    message = failure(partial(CALLS[name], site, begun))
    assert permission in message
    assert "403" in message
    assert ("AccessDenied" in message) == (name != HEAD)


def test_what_the_store_calls_an_error_is_only_told_if_it_is_a_code(
    site: Site, proxy: StoreProxy, begun: MultipartUpload
) -> None:
    proxy.instead = answering(ABORT, Reply(400, error("X-Amz-Signature=0123 and more")))
    assert failure(lambda: site.abort(begun)).endswith("it answered 400")


@pytest.mark.parametrize("name", CALLS)
def test_redirects_are_not_followed(
    site: Site, proxy: StoreProxy, begun: MultipartUpload, name: str, seaweedfs: RunningStore
) -> None:
    with store_proxy(seaweedfs.endpoint_url) as elsewhere:

        async def redirect(asked: Asked) -> Reply | None:
            location = f"{elsewhere.origin}{asked.path}?{asked.query}"
            return Reply(307, headers={"Location": location}) if operation(asked) == name else None

        proxy.instead = redirect
        failure(partial(CALLS[name], site, begun))
        assert elsewhere.asked == {}


@pytest.mark.parametrize("name", CALLS)
def test_a_slow_store_is_not_waited_for(
    site: Site, proxy: StoreProxy, begun: MultipartUpload, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stall(asked: Asked) -> Reply | None:
        if operation(asked) == name:
            await asked.stall()
            return Reply(500)
        return None

    proxy.instead = stall
    constant = CONSTANTS[name]
    monkeypatch.setattr(s3_multipart, constant, evolve(getattr(s3_multipart, constant), seconds=0.3))
    assert "too long" in failure(partial(CALLS[name], site, begun))


def test_all_of_begin_and_progress_take_a_bounded_time(
    site: Site, proxy: StoreProxy, begun: MultipartUpload, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stall(asked: Asked) -> Reply:
        await asked.stall()
        return Reply(500)

    proxy.instead = stall
    for seconds in ("_BEGIN_SECONDS", "_PROGRESS_SECONDS", "_CLEAR_SECONDS"):
        monkeypatch.setattr(s3_multipart, seconds, 0.3)
    for name in (CREATE, LIST_PARTS):
        assert "too long" in failure(partial(CALLS[name], site, begun))


def test_a_store_that_is_not_there_is_a_failure(seaweedfs: RunningStore, begun: MultipartUpload) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with asyncio.Runner() as runner, started(make_site(seaweedfs, runner, origin=nowhere)) as lost:
        for call in CALLS.values():
            failure(partial(call, lost, begun))


def test_one_that_was_not_started_or_was_stopped_is_a_failure(seaweedfs: RunningStore, begun: MultipartUpload) -> None:
    with asyncio.Runner() as runner:
        site = make_site(seaweedfs, runner)
        for _ in range(2):
            for call in CALLS.values():
                assert "started" in failure(partial(call, site, begun))
            with started(site):
                assert len(site.arrived(begun)) == 1


@pytest.mark.parametrize("name", CALLS)
def test_connections_that_have_ended_fail_nothing_that_may_be_asked_twice(seaweedfs: RunningStore, name: str) -> None:
    """Two of those that the service has kept end as a request comes; it asks at the second, and then at a new one."""
    with (
        troubled_store(seaweedfs.endpoint_url) as relay,
        asyncio.Runner() as runner,
        started(make_site(seaweedfs, runner, origin=relay.origin)) as site,
    ):
        begun, *_ = site.begin_all([make_upload(content=CONTENT) for _ in range(4)])
        assert site.send(begun, CONTENT) in OK
        ends = [Trouble.saying(end=End.RESET)] * 2
        relay.choose = lambda _method, _target: ends.pop() if ends else None
        if name in (CREATE, COMPLETE):
            failure(partial(CALLS[name], site, begun))
            assert len(ends) == 1
        else:
            CALLS[name](site, begun)
            assert not ends


# To begin


@pytest.mark.parametrize("broken", ["one fails", "one has no id", "one has an id that can't be passed on"])
def test_all_are_begun_or_none(site: Site, proxy: StoreProxy, broken: str) -> None:
    folder = make_folder()
    uploads = [make_upload(f"{number:03}.csv", folder=folder) for number in range(100)]
    name = "InitiateMultipartUploadResult"
    given = "" if broken == "one has no id" else f"<UploadId>{'x' * 1_024}</UploadId>"
    reply = Reply(503) if broken == "one fails" else Reply(200, f"<{name}>{given}</{name}>".encode())

    async def fail_in_the_middle(asked: Asked) -> Reply | None:
        return reply if asked.path.endswith("050.csv") else None

    proxy.instead = fail_in_the_middle
    assert CREATE in failure(lambda: site.begin_all(uploads))
    assert proxy.asked["DELETE"] == proxy.asked["POST"] - 1
    assert site.pending(folder) == []


def test_after_a_failure_no_more_is_begun_and_what_is_under_way_ends() -> None:
    begun, ended = list[int](), list[int]()

    async def work(number: int) -> None:
        begun.append(number)
        if number == 3:
            raise ValueError
        await asyncio.sleep(0)
        ended.append(number)

    with pytest.raises(ValueError):  # noqa: PT011 - it has no message
        asyncio.run(s3_multipart._for_all(range(2 * CONCURRENCY), work))
    assert (begun, ended) == ([0, 1, 2, 3], [0, 1, 2])


def test_who_gives_up_leaves_nothing_begun(site: Site, proxy: StoreProxy) -> None:
    """Half of the uploads are begun: each of those that work at it does so for the second time."""
    folder = make_folder()
    uploads = [make_upload(f"{number:03}.csv", folder=folder) for number in range(2 * CONCURRENCY)]
    stalling: list[Asked] = []

    async def give_up() -> None:
        all_stall = asyncio.Event()

        async def stall(asked: Asked) -> Reply | None:
            if operation(asked) != CREATE or int(asked.path[-7:-4]) < CONCURRENCY:
                return None
            stalling.append(asked)
            if len(stalling) == CONCURRENCY:
                loop.call_soon_threadsafe(all_stall.set)
            await asked.stall()
            return Reply(500)

        loop, proxy.instead = asyncio.get_running_loop(), stall
        begin = asyncio.create_task(site.multipart.begin(uploads, utc_now()))
        await all_stall.wait()
        begin.cancel()
        with pytest.raises(asyncio.CancelledError):
            await begin

    site.runner.run(give_up())
    assert proxy.asked["DELETE"] == CONCURRENCY
    assert site.pending(folder) == []


def test_what_can_not_be_aborted_hides_no_failure(site: Site, proxy: StoreProxy) -> None:
    async def fail(asked: Asked) -> Reply | None:
        return Reply(501) if operation(asked) == ABORT else Reply(503) if asked.path.endswith("2.csv") else None

    proxy.instead = fail
    assert "503" in failure(lambda: site.begin_all([make_upload(f"{number}.csv") for number in range(3)]))
    assert proxy.asked["DELETE"] == 2


def test_no_more_than_so_many_are_begun_at_once(site: Site, proxy: StoreProxy) -> None:
    async def slow(_: Asked) -> None:
        await asyncio.sleep(0.02)

    proxy.instead = slow
    begun = site.begin_all([make_upload() for _ in range(100)])
    assert len({one.upload_id for one in begun}) == 100
    assert 1 < proxy.most_at_once <= CONCURRENCY


# To complete


def completed_with(site: Site, proxy: StoreProxy, begun: MultipartUpload, reply: Reply) -> None:
    proxy.instead = answering(COMPLETE, reply)
    site.complete(begun, site.arrived(begun), overwrite=False)


DONE = b"<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>"


@pytest.mark.parametrize("before", [b"", b"   \n\n ", b'<?xml version="1.0"?>  \n\n ', b' \n<?xml version="1.0"?>'])
def test_blanks_may_come_before_the_answer(
    site: Site, proxy: StoreProxy, begun: MultipartUpload, before: bytes
) -> None:
    completed_with(site, proxy, begun, Reply(200, before + DONE))


@pytest.mark.parametrize("status", [200, None])
@pytest.mark.parametrize(
    ("code", "usual", "expected"),
    [
        ("NoSuchUpload", 404, PartsChanged),
        ("InvalidPart", 400, PartsChanged),
        ("InvalidPartOrder", 400, PartsChanged),
        ("ConditionalRequestConflict", 409, PartsChanged),
        ("PreconditionFailed", 412, ObjectExists),
        ("EntityTooSmall", 400, Unavailable),
        ("InternalError", 500, Unavailable),
        ("NoSuchBucket", 404, Unavailable),
    ],
)
def test_an_error_means_the_same_with_whatever_status_it_comes(
    site: Site,
    proxy: StoreProxy,
    begun: MultipartUpload,
    code: str,
    usual: int,
    expected: type[Exception],
    status: int | None,
) -> None:
    with pytest.raises(expected):
        completed_with(site, proxy, begun, Reply(status or usual, b"\n " + error(code)))
    proxy.instead = None
    assert len(site.arrived(begun)) == 1


def test_where_the_answer_was_lost_asking_again_tells(site: Site, proxy: StoreProxy, begun: MultipartUpload) -> None:
    parts = site.arrived(begun)
    proxy.amend = lambda asked, reply: (
        evolve(reply, body=b"", headers={"Content-Length": "9"}) if operation(asked) == COMPLETE else reply
    )
    failure(lambda: site.complete(begun, parts))
    assert site.is_complete(begun)
    assert site.read(begun.upload.key) == CONTENT


def test_where_the_upload_has_ended_a_failure_of_the_store_is_none(
    site: Site, proxy: StoreProxy, begun: MultipartUpload
) -> None:
    parts = site.arrived(begun)
    proxy.amend = lambda asked, reply: Reply(500, error("InternalError")) if operation(asked) == COMPLETE else reply
    with pytest.raises(PartsChanged):
        site.complete(begun, parts)
    assert site.is_complete(begun)


def test_only_who_may_not_replace_says_so(site: Site, proxy: StoreProxy, begun: MultipartUpload) -> None:
    said: list[str | None] = []

    async def listen(asked: Asked) -> None:
        if operation(asked) == COMPLETE:
            said.append(asked.headers.get("if-none-match"))

    proxy.instead = listen
    site.complete(begun, site.arrived(begun), overwrite=False)
    site.completed()
    assert said == ["*", None]


# Listings


@pytest.mark.parametrize("marker", ["", "0", "1", "many"])
def test_a_listing_of_parts_that_goes_round_in_circles_is_left(
    site: Site, proxy: StoreProxy, begun: MultipartUpload, marker: str
) -> None:
    following = f"<NextPartNumberMarker>{marker}</NextPartNumberMarker>" if marker else ""
    page = f"<ListPartsResult><IsTruncated>true</IsTruncated>{following}</ListPartsResult>"
    proxy.instead = answering(LIST_PARTS, Reply(200, page.encode()))
    failure(lambda: site.progress(begun))
    assert proxy.asked["GET"] <= 2


@pytest.mark.parametrize("markers", ["", "<NextKeyMarker>a</NextKeyMarker><NextUploadIdMarker>b</NextUploadIdMarker>"])
def test_a_listing_of_uploads_that_goes_round_in_circles_is_left(site: Site, proxy: StoreProxy, markers: str) -> None:
    name = "ListMultipartUploadsResult"
    page = f"<{name}><IsTruncated>true</IsTruncated>{markers}</{name}>"
    proxy.instead = answering(LIST_UPLOADS, Reply(200, page.encode()))
    failure(lambda: site.pending(""))
    assert proxy.asked["GET"] <= 2


def test_what_became_known_before_a_failure_is_given(site: Site, proxy: StoreProxy) -> None:
    name = "ListMultipartUploadsResult"
    upload = "<Upload><Key>a/b</Key><UploadId>c</UploadId><Initiated>2026-11-22T21:45:30</Initiated></Upload>"
    page = f"<{name}>{upload}<IsTruncated>true</IsTruncated><NextKeyMarker>é &amp; +</NextKeyMarker></{name}>"

    async def fail_in_the_middle(asked: Asked) -> Reply:
        asked_for = parse_qs(asked.query).get("key-marker")
        assert asked_for in (None, ["é & +"])
        return Reply(503) if asked_for else Reply(200, page.encode())

    told: list[ObjectKey] = []

    async def read() -> None:
        async for one in site.multipart.pending(utc_now()):
            told.append(one.key)  # noqa: PERF401 - it fails in the middle

    proxy.instead = fail_in_the_middle
    failure(lambda: site.runner.run(read()))
    assert told == ["a/b"]


def test_who_reads_slowly_is_not_refused(site: Site, proxy: StoreProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 takes a signature that is 15 minutes old for one that somebody has kept."""
    name, signed_at = "ListMultipartUploadsResult", list[datetime]()
    page = f"<{name}><IsTruncated>true</IsTruncated><NextKeyMarker>a</NextKeyMarker></{name}>"
    clock = iter([1_000.0, 1_000.0, 2_200.0])
    monkeypatch.setattr(s3_multipart, "monotonic", lambda: next(clock))

    async def note(asked: Asked) -> Reply:
        signed_at.append(datetime.fromisoformat(asked.headers["x-amz-date"]))
        return Reply(200, (page if len(signed_at) == 1 else f"<{name}/>").encode())

    proxy.instead = note
    assert site.pending("") == []
    assert signed_at[1] - signed_at[0] == timedelta(minutes=20)
