"""The API's description: it is valid, it is of this service, and it says what is so."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_spec_validator import validate
from starlette.routing import Route

from domain.batches import DatasetMetadata
from domain.errors import ErrorCode, InvalidInput
from domain.files import DeclaredFile, DeclaredParts, FileName, FileRules, Md5, MediaType, Sha256
from domain.keys import Dataset, Owner, RelativePath
from domain.multipart import UploadId
from domain.values import CheckedText
from entrypoints.http import wire_types
from entrypoints.http.app import create_app
from entrypoints.http.description.document import ERROR_CODES
from entrypoints.http.description.examples import FILE
from entrypoints.http.description.routes import describe_service
from entrypoints.http.error_codes import ANSWERS
from entrypoints.settings import Settings
from entrypoints.wiring import Service, wire
from tests import strategies as bits
from tests.entrypoints.http.conformance import Conformance
from tests.entrypoints.http.example_exchanges import all_exchanges
from tests.entrypoints.http.live_service import AZURE, GCS, MEMORY, S3, LiveService, live_service


def service_of(base: Mapping[str, str] = MEMORY, **changes: str) -> Service:
    return wire(Settings.from_environment({"PUBLIC_URL": "https://data.example.org", **base, **changes}))


def document_of(base: Mapping[str, str] = MEMORY, **changes: str) -> dict[str, Any]:
    return describe_service(service_of(base, **changes))


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return document_of()


@pytest.fixture(scope="module")
def conformance(document: dict[str, Any]) -> Conformance:
    return Conformance.to(document)


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    with live_service() as service:
        yield service


def operations(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for methods in document["paths"].values():
        yield from methods.values()


class TestDocument:
    @pytest.mark.parametrize(
        ("base", "changes"),
        [
            (MEMORY, {}),
            (S3, {"SERVICE_NAME": "another.name"}),
            (AZURE, {}),
            (GCS, {"REQUIRE_DIGEST": "false"}),
            (MEMORY, {"STORAGE_PATH_PATTERN": "{sha256_hex}{extension}"}),
            (MEMORY, {"STORAGE_PATH_PATTERN": "{owner}/{md5_hex}", "MAX_FILES": "7"}),
        ],
    )
    def test_is_valid(self, base: Mapping[str, str], changes: Mapping[str, str]) -> None:
        validate(document_of(base, **changes))

    @pytest.mark.parametrize("name", ["rawstore", "another.name"])
    def test_has_the_routes_of_the_service_and_no_others(self, name: str) -> None:
        service = service_of(SERVICE_NAME=name)
        page = f"/{name}/upload"  # for people, as the embedded store is S3's
        routes = [
            route
            for route in create_app(service).routes
            if isinstance(route, Route) and not f"{route.path}/".startswith(f"{page}/")
        ]
        served = {(route.path, method) for route in routes for method in route.methods or () if method != "HEAD"}
        described = {
            (path, method.upper()) for path, methods in describe_service(service)["paths"].items() for method in methods
        }

        assert described == served

    def test_names_are_unique(self, document: dict[str, Any]) -> None:
        names = [operation["operationId"] for operation in operations(document)]

        assert len(set(names)) == len(names)

    def test_every_type_is_there_and_of_use(self, document: dict[str, Any]) -> None:
        referred = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))

        assert referred == document["components"]["schemas"].keys()

    def test_each_error_is_under_its_status(self, document: dict[str, Any]) -> None:
        for operation in operations(document):
            for status, answer in operation["responses"].items():
                codes = answer.get(ERROR_CODES, ())
                assert {ANSWERS[ErrorCode(code)].status for code in codes} <= {int(status)}

    def test_every_error_of_a_request_is_told_somewhere(self, document: dict[str, Any]) -> None:
        text = json.dumps([*operations(document), document["info"]["description"]])
        told = {code for code in ErrorCode if f"`{code.value}`" in text}

        assert told == set(ErrorCode) - {ErrorCode.MISCONFIGURED}  # with which no service starts

    def test_only_what_is_for_everybody_needs_no_token(self, document: dict[str, Any]) -> None:
        free = {operation["operationId"] for operation in operations(document) if not operation["security"]}

        assert free == {"healthz", "readyz", "metrics", "openapi", "docs"}


class TestWhatIsAccepted:
    def test_methods_are_those_of_the_store(self) -> None:
        schemas = document_of(AZURE)["components"]["schemas"]

        assert schemas["AuthorizedFile"]["discriminator"]["mapping"].keys() == {"PUT", "MULTIPART"}
        assert "FormUpload" not in schemas

    def test_examples_are_those_that_the_store_could_give(self) -> None:
        authorize = document_of(AZURE)["paths"]["/rawstore/authorize"]["post"]

        assert authorize["requestBody"]["content"]["application/json"]["examples"].keys() == {"put", "parts"}
        assert authorize["responses"]["200"]["content"]["application/json"]["examples"].keys() == {"put", "parts"}

    def test_a_store_without_parts_says_so(self) -> None:
        paths = document_of(GCS)["paths"]

        assert "no files in parts" in paths["/rawstore/multipart/resume"]["post"]["description"]
        assert "no files in parts" not in paths["/rawstore/authorize"]["post"]["description"]

    @pytest.mark.parametrize(
        ("changes", "declared", "is_accepted"),
        [
            ({}, {"length": 5 * 1024**4 - 5}, False),
            ({"REQUIRE_DIGEST": "false"}, {"length": 5}, True),
            ({}, {"length": 5, "md5": None, "sha256": None}, False),
            ({}, {"length": 5, "sha256": "tX4aiUqmKhLdrQpo9MqjZKn1sRFjHxDhRuKN8viKcGg="}, True),
            ({"STORAGE_PATH_PATTERN": "{owner}/{md5_hex}"}, {"length": 5}, False),
            (
                {"STORAGE_PATH_PATTERN": "{owner}/{md5_hex}"},
                {"length": 5, "sha256": "tX4aiUqmKhLdrQpo9MqjZKn1sRFjHxDhRuKN8viKcGg="},
                False,
            ),
            ({"STORAGE_PATH_PATTERN": "{owner}/{md5_hex}"}, {"length": 5, "md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}, True),
            ({}, {"length": 10 * 1024**4, "md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}, False),
            ({}, {"length": -1, "md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}, False),
            ({}, {"md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}, False),
        ],
    )
    def test_a_declaration_is_described_as_it_is_judged(
        self, changes: Mapping[str, str], declared: Mapping[str, object], is_accepted: bool
    ) -> None:
        with live_service(MEMORY, changes) as service:
            body = {"metadata": {"owner": "alice", "name": "x"}, "filedata": {"a": declared}}
            wishes = {"accept": ["MULTIPART", "POST"]}
            assert (service.authorize({**body, **wishes}).status == 200) is is_accepted
            assert fits("UploadBody", body, service.described) is is_accepted

    @pytest.mark.parametrize(
        ("pattern", "metadata", "is_accepted"),
        [
            ("{owner}/{name}/{path}", {"owner": "alice"}, False),
            ("{owner}/{name}/{path}", {"owner": "alice", "name": None, "dataset": None}, False),
            ("{owner}/{name}/{path}", {"owner": "alice", "dataset": "x"}, True),
            ("{owner}/{path}", {"owner": "alice"}, True),
            ("{owner}/{path}", {"owner": "alice", "findability": "hidden"}, False),
            ("{owner}/{path}", {}, False),
        ],
    )
    def test_metadata_are_described_as_they_are_judged(
        self, pattern: str, metadata: Mapping[str, object], is_accepted: bool
    ) -> None:
        with live_service(MEMORY, STORAGE_PATH_PATTERN=pattern) as service:
            body = {"metadata": metadata, "filedata": {"a": {"length": 0, "md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}}}
            assert (service.authorize(body).status == 200) is is_accepted
            assert fits("UploadBody", body, service.described) is is_accepted

    @pytest.mark.parametrize(
        ("pattern", "files", "is_accepted"),
        [
            ("{owner}/{name}/{path}", {"paths": ["a"]}, True),
            ("{owner}/{name}/{path}", {"paths": ["a"], "urls": None}, True),
            ("{owner}/{name}/{path}", {"paths": [], "urls": None}, False),
            ("{owner}/{name}/{path}", {"paths": ["a"] * 4}, False),
            ("{owner}/{name}/{path}", {"paths": ["a"], "metadata": {"owner": "alice"}}, False),
            ("{owner}/{name}/{path}", {"urls": ["PREFIX/x/a"], "metadata": {"owner": "alice"}}, True),
            ("{owner}/{path}", {"paths": ["a"], "metadata": {"owner": "alice"}}, True),
            ("{owner}/{name}/{path}", {"paths": ["a"], "urls": ["b"]}, False),
            ("{owner}/{name}/{path}", {}, False),
            ("{owner}/{md5_hex}", {"paths": ["a"]}, False),
        ],
    )
    def test_downloads_are_described_as_they_are_judged(
        self, pattern: str, files: Mapping[str, object], is_accepted: bool
    ) -> None:
        with live_service(MEMORY, STORAGE_PATH_PATTERN=pattern, MAX_FILES="3") as service:
            text = json.dumps({"metadata": {"owner": "alice", "name": "x"}, **files})
            text = text.replace("PREFIX", service.info()["prefixes"][0])
            answer = service.send("POST", "/rawstore/presign", token=service.token(), body=text.encode())
            assert (answer.status == 200) is is_accepted
            assert fits("PresignBody", json.loads(text), service.described) is is_accepted


def fits(name: str, value: object, described: Conformance | None) -> bool:
    assert described is not None
    return described.validator({"$ref": f"#/components/schemas/{name}"}).is_valid(value)


class Asked(dict[str, object]):
    """A mapping that notes what it was asked for."""

    def __init__(self, members: Mapping[str, object]) -> None:
        super().__init__(members)
        self.names: set[str] = set()

    def get(self, name: str, default: object = None) -> Any:
        self.names.add(name)
        return super().get(name, default)


class TestWhatTheDomainReads:
    """The domain parses metadata and declarations itself: that it reads what is described, must be looked at."""

    def test_metadata_have_the_members_that_are_read(self) -> None:
        asked = Asked({"owner": "ada"})
        DatasetMetadata.parse(asked)

        assert asked.names == get_type_hints(wire_types.Metadata).keys()

    def test_declarations_have_the_members_that_are_read(self) -> None:
        asked = Asked({"length": 5})
        DeclaredFile.parse("a", asked, FileRules(10, require_digest=False))

        assert asked.names == get_type_hints(wire_types.FileDeclaration).keys()

    def test_parts_have_the_members_that_are_read(self) -> None:
        asked = Asked({"size": 5})
        DeclaredParts.parse(asked, 10)

        assert asked.names == get_type_hints(wire_types.PartsDeclaration).keys()

    # Texts of each kind, and near misses of them.
    TEXTS: Mapping[type[CheckedText], st.SearchStrategy[str]] = {
        Owner: bits.any_text | st.text("ab/. \\\t", max_size=6) | st.text("x", min_size=250, max_size=260),
        Dataset: bits.any_text | st.text("ab/. \\\t", max_size=6),
        RelativePath: bits.any_text | st.text("ab/. \\\t", max_size=8) | st.text("x/", min_size=1020, max_size=1030),
        Md5: st.from_regex(r"[A-Za-z0-9+/]{20,22}[=AQgwab]={1,2}", fullmatch=True),
        Sha256: st.from_regex(r"[A-Za-z0-9+/]{41,43}[=AEIMQb]={0,1}", fullmatch=True),
        MediaType: st.from_regex(r'[a-z/+.]{1,9}/[a-z]{1,3}(;[ \t]?[a-z]=([a-z]|"[ -~é]")){0,2}', fullmatch=True),
        FileName: bits.any_text | st.text("x\x00\x85é", min_size=1020, max_size=1030),
        UploadId: st.text("ab \x7fé~!", max_size=6) | st.text("x", min_size=1020, max_size=1030),
    }

    @pytest.mark.parametrize("kind", TEXTS)
    @given(data=st.data())
    def test_texts_that_the_domain_accepts_fit_their_schema_and_others_mostly_do_not(
        self, conformance: Conformance, kind: type[CheckedText], data: st.DataObject
    ) -> None:
        text = data.draw(self.TEXTS[kind].filter(is_text))
        is_fit = fits(kind.__name__, text, conformance)

        assert is_fit == is_accepted(kind, text) or (is_fit and is_beyond_schemas(kind, text))


def is_text(text: str) -> bool:
    """Whether it can be sent: a lone surrogate can't."""
    return text.encode("utf-8", "ignore").decode() == text


def is_accepted(kind: type[CheckedText], text: str) -> bool:
    try:
        kind(text)
    except InvalidInput:
        return False
    return True


_BEYOND_SCHEMAS = re.compile(r"(longer|more) than \d+ bytes|segment that is blank|normalisation|\$\{filename\}")


def is_beyond_schemas(kind: type[CheckedText], text: str) -> bool:
    """Whether it breaks a rule that a schema can't have, and that the words beside it have."""
    return _BEYOND_SCHEMAS.search(kind.fault(text) or "") is not None


class TestExamples:
    def test_are_what_the_service_answers(self) -> None:
        assert json.loads(FILE.read_text("utf-8")) == all_exchanges()

    def test_fit_their_schemas(self, document: dict[str, Any], conformance: Conformance) -> None:
        seen = 0
        for operation in operations(document):
            contents = [operation.get("requestBody", {}), *operation["responses"].values()]
            for content in (one for holder in contents for one in holder.get("content", {}).values()):
                for example in content.get("examples", {}).values():
                    conformance.validator(content["schema"]).validate(example["value"])
                    seen += 1
            for parameter in operation.get("parameters", ()):
                if "example" in parameter:
                    conformance.validator(parameter["schema"]).validate(parameter["example"])
                    seen += 1

        assert seen > 30

    def test_every_body_and_every_answer_has_one(self, document: dict[str, Any]) -> None:
        for operation in operations(document):
            contents = [operation.get("requestBody", {}), operation["responses"]["200"]]
            for content in (
                holder["content"]["application/json"]
                for holder in contents
                if "content" in holder and "application/json" in holder["content"]
            ):
                assert content.get("examples") or operation["operationId"] == "openapi"


class TestServing:
    @pytest.mark.parametrize(
        ("path", "media_type"), [("openapi.json", "application/json"), ("docs", "text/html; charset=utf-8")]
    )
    def test_needs_no_token_and_is_kept_for_a_while(self, service: LiveService, path: str, media_type: str) -> None:
        answer = service.send("GET", f"/rawstore/{path}")
        again = {"If-None-Match": f'"x", W/{answer.headers["ETag"]}'}

        assert (answer.status, answer.headers["Content-Type"]) == (200, media_type)
        assert answer.headers["Cache-Control"] == "public, max-age=300"
        assert service.send("GET", f"/rawstore/{path}", headers=again).status == 304
        assert service.send("GET", f"/rawstore/{path}", headers={"If-None-Match": '"x"'}).body == answer.body

    def test_the_document_is_that_of_the_service(self, service: LiveService) -> None:
        assert service.described is not None
        assert service.send("GET", "/rawstore/openapi.json").json == service.described.document
