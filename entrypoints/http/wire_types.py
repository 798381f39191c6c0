"""The types of the wire format: what bodies, queries and answers look like.

Requests are decoded by these types, the functions that write answers are checked against them, and the description of
the API is made of them: so none of the three can say anything else than the others.

What the domain reads by itself (`Metadata`, `FileDeclaration`), so that it can name every bad file of a batch, comes as
a raw object; its type is there to describe it, out of the domain's own types.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal, NotRequired, TypedDict

from attrs import frozen
from msgspec import Meta, Struct

from application.list_objects import MAX_OBJECTS
from domain.batches import Findability
from domain.errors import ErrorCode
from domain.files import FileName, Md5, MediaType, Sha256
from domain.inspection import Status
from domain.keys import Dataset, ObjectKey, Owner, RelativePath
from domain.multipart import UploadId
from domain.uploads import Guarantee, UploadMethod

REF_TEMPLATE: Final = "#/components/schemas/{name}"
"""Where the description of the API has the type of that name."""

MAX_NUMBER: Final = 2**53 - 1
"""The greatest integer that every reader of JSON understands (RFC 7493, section 2.2)."""
MAX_SECONDS: Final = 999_999_999


@frozen
class Fault:
    """What is said of a value that isn't of its type: what it must be; or what a function finds wrong with it."""

    must: str | Callable[[object], str]
    code: ErrorCode = ErrorCode.INVALID_REQUEST

    def sentence(self, value: object) -> str:
        """Give the end of a sentence whose subject is the member."""
        return f"must {self.must}" if isinstance(self.must, str) else self.must(value)


FAULT: Final = "fault"
"""Where the extra information of a decoded member has its `Fault`."""


def _decoded(description: str, must: str | Callable[[object], str], schema: dict[str, object] | None = None) -> Meta:
    """Describe a member that is decoded here, and say what it must be."""
    return Meta(description=description, extra={FAULT: Fault(must)}, extra_json_schema=schema)


def _raw(described_by: type) -> dict[str, object]:
    """Describe a raw value by a type that the domain reads."""
    return {"$ref": REF_TEMPLATE.format(name=described_by.__name__)}


def _fault_in_guarantees(value: object) -> str:
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        unknown = sorted(set(value) - set(Guarantee))
        return f"has the unknown {unknown[0]!r}; it knows {', '.join(Guarantee)}"
    return "must be a list of strings"


# What the domain reads


class Metadata(TypedDict):
    """The dataset of the files: whose it is, what it is called, and who may read it. Other members are ignored."""

    owner: Annotated[Owner, Meta(description="The user id of the token, byte for byte.")]
    name: NotRequired[Annotated[Dataset | None, Meta(description="The dataset's name. Needed if keys have it.")]]
    dataset: NotRequired[Annotated[Dataset | None, Meta(description="The same as `name`. Both may be given if equal.")]]
    findability: NotRequired[
        Annotated[Findability | None, Meta(description="Files of a `private` dataset are private, others public.")]
    ]


class PartsDeclaration(TypedDict):
    """How the client cuts a file that comes in parts."""

    size: Annotated[int, Meta(description="Bytes of each part but the last, within `store.parts` of /info.", ge=1)]
    md5: NotRequired[
        Annotated[
            list[Md5] | None,
            Meta(description="The MD5 of each part, in order. The request for a part then binds its own."),
        ]
    ]


class FileDeclaration(TypedDict):
    """What a client says of a file. A member that is null counts as absent; other members are ignored."""

    length: Annotated[
        int,
        Meta(description="The size in bytes. Over `store.max_file_bytes` of /info a file comes in parts alone.", ge=0),
    ]
    md5: NotRequired[Annotated[Md5 | None, Meta(description="The MD5 of the bytes.")]]
    sha256: NotRequired[Annotated[Sha256 | None, Meta(description="The SHA-256 of the bytes.")]]
    type: NotRequired[
        Annotated[MediaType | None, Meta(description="The media type. Absent: guessed from the path's extension.")]
    ]
    name: NotRequired[
        Annotated[FileName | None, Meta(description="A name for people. Absent: the last segment of the path.")]
    ]
    parts: NotRequired[
        Annotated[PartsDeclaration | None, Meta(description="How the file is cut. Absent: as the service sees fit.")]
    ]


# Requests

_MetadataMember = Annotated[dict[str, Any], _decoded("The dataset of the files.", "be an object", _raw(Metadata))]
_OverwriteMember = Annotated[
    bool,
    _decoded("With `false` an object that exists stays as it is. A form can't bind that.", "be true or false"),
]


class UploadBody(Struct, frozen=True):
    """Declared files of one dataset, and how the client can send them. Other members are ignored."""

    metadata: _MetadataMember
    filedata: Annotated[
        dict[str, Any],
        _decoded(
            "The files, by their paths in the dataset.",
            "be an object",
            {
                "propertyNames": _raw(RelativePath),
                "additionalProperties": _raw(FileDeclaration),
                "minProperties": 1,
            },
        ),
    ]
    accept: Annotated[
        list[str] | None,
        _decoded(
            "What the client can send: `POST` (a form), `PUT`, `MULTIPART` (in parts); anything else is ignored. Of the"
            " ways that both have, the one is chosen by which the store enforces most. Absent: a form, if the store"
            " takes forms.",
            "be a list of strings",
            {"examples": [["POST", "PUT"], ["MULTIPART", "PUT", "POST"]]},
        ),
    ] = None
    overwrite: _OverwriteMember = True
    require: Annotated[
        list[Guarantee] | None,
        _decoded("What the store must enforce: the request is refused where it can't.", _fault_in_guarantees),
    ] = None


class MultipartBody(Struct, frozen=True):
    """A file that is coming in parts: what was declared of it, once more, and the upload's id."""

    metadata: _MetadataMember
    path: Annotated[str, _decoded("The file's path in the dataset.", "be a string", _raw(RelativePath))]
    file: Annotated[dict[str, Any], _decoded("What was declared of the file.", "be an object", _raw(FileDeclaration))]
    upload_id: Annotated[UploadId, Meta(description="As /authorize gave it.")]
    after: Annotated[
        Annotated[int, Meta(ge=0, le=MAX_NUMBER)],
        _decoded("The number of a part: only those behind it are asked for.", "be the number of a part"),
    ] = 0
    overwrite: _OverwriteMember = True


_Lifetime = Annotated[
    Annotated[int, Meta(ge=1, le=MAX_SECONDS)] | None,
    Meta(
        description="For how many seconds a URL is to be valid, at most as long as the service allows.",
        extra={FAULT: Fault("be a whole number of seconds, 1 or more", ErrorCode.INVALID_EXPIRY)},
    ),
]


class PresignQuery(Struct, frozen=True):
    """Which object is to be read, and how."""

    url: Annotated[str, Meta(description="The `object_url` of an object.")]
    ownerid: Annotated[Owner, Meta(description="The user id of the token.")]
    filename: Annotated[
        FileName | None, Meta(description="The name under which a browser is to store the download.")
    ] = None
    expires_in: _Lifetime = None


class PresignBody(Struct, frozen=True):
    """Files of one owner, by `paths` or by `urls`; one that is named twice is one. Other members are ignored."""

    metadata: _MetadataMember
    paths: Annotated[
        list[Annotated[str, Meta(extra_json_schema=_raw(RelativePath))]] | None,
        _decoded("Paths in the dataset. Not where keys are made of the content.", "be a list of strings"),
    ] = None
    urls: Annotated[list[str] | None, _decoded("An `object_url` each.", "be a list of strings")] = None
    expires_in: _Lifetime = None


class ListQuery(Struct, frozen=True):
    """Whose objects, and which page of them."""

    owner: Annotated[Owner, Meta(description="The user id of the token.")]
    name: Annotated[Dataset | None, Meta(description="The dataset's name. Needed if keys have it.")] = None
    after: Annotated[str | None, Meta(description="The `next` of the page before.")] = None
    limit: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_OBJECTS)],
        _decoded("How many objects a page has at most.", f"be a whole number from 1 to {MAX_OBJECTS}"),
    ] = MAX_OBJECTS


# Answers

_Url = Annotated[str, Meta(extra_json_schema={"format": "uri"})]
_Moment = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
_Bytes = Annotated[int, Meta(ge=0)]
_Headers = Annotated[Mapping[str, str], Meta(description="Headers that must be sent, exactly these.")]
_METHOD: dict[str, object] = {"enum": list(UploadMethod)}
_ExpiresAt = Annotated[_Moment, Meta(description="Until when the store takes it, in UTC.")]

_DeclaredDigests = TypedDict(
    "_DeclaredDigests",
    {
        "md5-hash": NotRequired[Annotated[Md5, Meta(description="The MD5, as it was declared.")]],
        "sha256-hash": NotRequired[Annotated[Sha256, Meta(description="The SHA-256, as it was declared.")]],
    },
)


class AuthorizedFile(_DeclaredDigests):
    """What was decided of a file, however it is sent."""

    name: Annotated[FileName, Meta(description="The name, as it was declared, or that of the path.")]
    type: Annotated[MediaType, Meta(description="The media type, as it was declared or guessed.")]
    length: Annotated[_Bytes, Meta(description="The size in bytes, as it was declared.")]
    object_url: Annotated[_Url, Meta(description="Where the object will be found; begins with a prefix of /info.")]
    exists: Annotated[
        bool | None,
        Meta(
            description="Whether the store has exactly this object already, so that the upload can be skipped; null if"
            " it couldn't tell, or not in time."
        ),
    ]
    expires_at: _ExpiresAt


class FormUpload(AuthorizedFile):
    """A file that is sent as a form: a POST of multipart/form-data, with the bytes as its last part, named `file`."""

    upload_method: Literal["POST"]
    upload_url: Annotated[_Url, Meta(description="Where the form is sent to.")]
    upload_query: Annotated[Mapping[str, str], Meta(description="The form's fields, in the order to send them.")]


class PutUpload(AuthorizedFile):
    """A file that is sent by one PUT of its bytes."""

    upload_method: Literal["PUT"]
    upload_url: Annotated[_Url, Meta(description="The whole signed URL.")]
    upload_headers: _Headers


class PartRequest(TypedDict):
    """One part of a file: a PUT of its bytes."""

    number: Annotated[int, Meta(description="The part's number, from 1.", ge=1)]
    length: Annotated[int, Meta(description="The part's size in bytes.", ge=1)]
    url: Annotated[_Url, Meta(description="The whole signed URL.")]
    headers: _Headers


class NextSteps(TypedDict):
    """What can be done with an upload in parts: URLs, relative to that of /authorize."""

    resume: str
    complete: str
    abort: str


class Parts(TypedDict):
    """How a file is cut, and requests for its parts, or some of them."""

    upload_method: Literal["MULTIPART"]
    upload_id: Annotated[UploadId | None, Meta(description="The upload's name; null if there is nothing to send.")]
    part_size: Annotated[int, Meta(description="Bytes of each part but the last.", ge=1)]
    part_count: Annotated[int, Meta(ge=1)]
    parts: Annotated[list[PartRequest], Meta(description="At most 1,000 of a file, and 10,000 in all.")]
    next_part: Annotated[int | None, Meta(description="The first of those that must follow; null if none must.")]
    then: NextSteps


class PartsUpload(AuthorizedFile, Parts):
    """A file that is sent in parts, and then completed."""


class AuthorizeAnswer(TypedDict):
    """One signed request, or several for its parts, per declared file."""

    fileData: Annotated[Mapping[str, AuthorizedFile], Meta(description="The files, by their declared paths.")]
    filedata: Annotated[Mapping[str, AuthorizedFile], Meta(description="The same once more: some clients read this.")]


class FoundObject(TypedDict):
    """What the store says of an object. A digest that it doesn't know is absent."""

    length: _Bytes
    md5: NotRequired[Md5]
    sha256: NotRequired[Sha256]
    md5_of_parts: NotRequired[
        Annotated[
            str,
            Meta(description="What S3 makes of the MD5s of the parts: the MD5 of all of them, `-`, and their number."),
        ]
    ]


class FileVerdict(TypedDict):
    """How a file compares with what the store has at its key."""

    status: Annotated[
        Status,
        Meta(
            description="`stored`: length and digest are as declared. `different`: one of them isn't. `missing`: there"
            " is no object. `unknown`: the store can't tell a digest that was declared."
        ),
    ]
    found: NotRequired[Annotated[FoundObject, Meta(description="What the store has, if it has something.")]]


class VerifyAnswer(TypedDict):
    """Whether each file has arrived whole."""

    files: Annotated[Mapping[str, FileVerdict], Meta(description="The files, by their declared paths.")]


class ArrivedPart(TypedDict):
    """A part that the store holds, as it must be."""

    number: Annotated[int, Meta(ge=1)]
    length: _Bytes


class ResumeAnswer(Parts):
    """How far an upload has come, and the requests for what is missing."""

    complete: Annotated[bool, Meta(description="Whether the object has been made; nothing else is told of it then.")]
    arrived: list[ArrivedPart]
    expires_at: _ExpiresAt


class AbortAnswer(TypedDict):
    """The upload is gone, or was gone before."""

    aborted: Annotated[bool, Meta(extra_json_schema={"const": True})]


class PresignAnswer(TypedDict):
    """A URL that gives the object to whoever has it."""

    url: _Url
    expires_at: Annotated[_Moment, Meta(description="Until when, in UTC.")]


class PresignManyAnswer(TypedDict):
    """A URL for each file, under the name by which it was asked for."""

    urls: Mapping[str, PresignAnswer]


class StoredObject(FoundObject):
    """An object of a dataset, as the store's listing has it."""

    key: Annotated[ObjectKey, Meta(description="Where it is in the bucket.")]
    path: NotRequired[Annotated[RelativePath, Meta(description="Its path in the dataset, if its key tells that.")]]
    object_url: _Url


class ListAnswer(TypedDict):
    """A page of a dataset, in the store's order."""

    objects: list[StoredObject]
    next: Annotated[str | None, Meta(description="Where the next page begins: its `after`. Null after the last page.")]


class MethodInfo(TypedDict):
    """What the store really enforces of a request that is signed for this method."""

    enforced: list[Guarantee]


class PartsInfo(TypedDict):
    """The limits of files in parts. The least size is for all parts but the last."""

    min_bytes: _Bytes
    max_bytes: _Bytes
    max_count: Annotated[int, Meta(ge=1)]
    max_file_bytes: _Bytes
    threshold_bytes: Annotated[_Bytes, Meta(description="Longer files come in parts, if the client accepts that.")]


class StoreInfo(TypedDict):
    """The store, and what is accepted for it."""

    methods: Annotated[
        Mapping[str, MethodInfo],
        Meta(description="What it enforces, by how files are sent.", extra_json_schema={"propertyNames": _METHOD}),
    ]
    key_pattern: Annotated[str, Meta(description="How keys are made.")]
    max_files: Annotated[int, Meta(description="Files of one request.", ge=1)]
    max_file_bytes: Annotated[_Bytes, Meta(description="The longest file that is sent in one request.")]
    digest_required: Annotated[bool, Meta(description="Whether each file must declare a digest.")]
    upload_expires_seconds: Annotated[int, Meta(description="For how long signed requests are valid.", ge=1)]
    parts: NotRequired[Annotated[PartsInfo, Meta(description="Absent where the store takes no files in parts.")]]


class InfoAnswer(TypedDict):
    """Where this user's files are found, and what the store can do."""

    prefixes: Annotated[list[str], Meta(description="Each `object_url` of this user's files begins with one of them.")]
    service: Annotated[str, Meta(description="The service's name, as tokens have it.")]
    store: StoreInfo


class Alive(TypedDict):
    """The process answers."""

    status: Literal["ok"]


class Ready(TypedDict):
    """Keys have been loaded, and the store answers."""

    status: Literal["ready"]


class NotReady(TypedDict):
    """What is missing, for the operator."""

    status: Literal["not ready"]
    problems: list[str]


class Problem(TypedDict):
    """What is wrong. Programs go by the code, people by the message."""

    code: ErrorCode
    message: Annotated[str, Meta(description="A sentence for people; it may change.")]
    path: NotRequired[Annotated[str, Meta(description="The file that is at fault, if it is one.")]]
    field: NotRequired[Annotated[str, Meta(description="The member, parameter or header that is at fault.")]]


class Refusal(Problem):
    """Why a request was refused."""

    details: Annotated[list[Problem], Meta(description="With `invalid_batch`, what is wrong with each bad file.")]
    details_omitted: NotRequired[
        Annotated[int, Meta(description="How many more there are: an answer is of 64 KiB at most.", ge=1)]
    ]


class ErrorAnswer(TypedDict):
    """Every error has this shape."""

    error: Refusal
