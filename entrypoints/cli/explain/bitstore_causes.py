"""What the service itself refuses: every code of `domain.errors.ErrorCode`, and what `/readyz` says."""

from domain.errors import ErrorCode
from entrypoints.cli.explain.causes import Table, Topic, rule

BITSTORE = Table(
    "BitStore, domain/errors.py",
    (
        rule(
            f"{ErrorCode.INVALID_JSON} {ErrorCode.INVALID_REQUEST} {ErrorCode.UNSUPPORTED_MEDIA_TYPE}",
            Topic.REQUEST,
            "the body isn't a JSON object as the service expects it",
            'send {"metadata": {"owner": …, "name": …}, "filedata": {path: {"length": …, "md5": …}}}, not compressed',
        ),
        rule(
            f"{ErrorCode.INVALID_METADATA} {ErrorCode.INVALID_OWNER} {ErrorCode.INVALID_DATASET}",
            Topic.REQUEST,
            "a member of `metadata` is missing or can't be used",
            "`owner` is the user of the token; `name` is one segment of a path; `findability` is published, unlisted "
            "or private",
        ),
        rule(ErrorCode.EMPTY_BATCH, Topic.REQUEST, "`filedata` has no files", "declare at least one"),
        rule(
            ErrorCode.TOO_MANY_FILES, Topic.REQUEST, "too many files in one request", "split them, or raise MAX_FILES"
        ),
        rule(
            ErrorCode.INVALID_BATCH,
            Topic.REQUEST,
            "some of the files can't be accepted, so nothing was signed; each is listed",
            "correct those, and send the request again",
        ),
        rule(
            ErrorCode.UNSUPPORTED_BY_STORE,
            Topic.REQUEST,
            "this store doesn't take the methods in `accept`, or can't enforce what is required",
            "send what the message says in `accept`, or leave it out of `require`; /info says what the store enforces",
        ),
        rule(
            f"{ErrorCode.INVALID_PATH} {ErrorCode.INVALID_KEY} {ErrorCode.INVALID_NAME} {ErrorCode.KEY_CONFLICT}",
            Topic.REQUEST,
            "a path can't become a key of the store, or two of them become one",
            "no empty, `.` or `..` segments, backslashes or control characters; normalise names to NFC",
        ),
        rule(
            f"{ErrorCode.INVALID_FILE} {ErrorCode.INVALID_LENGTH} {ErrorCode.INVALID_TYPE}",
            Topic.REQUEST,
            "the declaration of a file can't be used",
            "`length` is a whole number of bytes, `type` a media type such as text/csv",
        ),
        rule(
            ErrorCode.FILE_TOO_LARGE,
            Topic.LENGTH,
            "the file is longer than one request may be, or all its parts together",
            "send it in parts: MULTIPART in `accept`; or raise MAX_FILE_BYTES if the store takes more at once",
        ),
        rule(
            ErrorCode.INVALID_PARTS,
            Topic.LENGTH,
            "the file can't be cut like this",
            "`parts` has `size`, within what /info says in store.parts, and perhaps `md5`: one digest for each part",
        ),
        rule(
            f"{ErrorCode.UPLOAD_NOT_FOUND} {ErrorCode.INVALID_UPLOAD_ID}",
            Topic.MISSING,
            "there is no such upload in parts: it was aborted or swept, or it is of another file",
            "was it completed? /verify says; if not, begin again with /authorize",
        ),
        rule(
            ErrorCode.UPLOAD_INCOMPLETE,
            Topic.REQUEST,
            "parts of the upload are missing, or aren't as long as they must be",
            "ask /multipart/resume what is missing, send it, and complete again",
        ),
        rule(
            ErrorCode.OBJECT_EXISTS,
            Topic.REQUEST,
            'there is an object already, and the upload said `"overwrite": false`',
            "take another path; or complete without that",
        ),
        rule(
            ErrorCode.DIGEST_MISMATCH,
            Topic.DIGEST,
            "the parts that arrived make other bytes than those that were declared",
            "send the parts again; has the file changed meanwhile?",
        ),
        rule(
            f"{ErrorCode.INVALID_MD5} {ErrorCode.INVALID_SHA256} {ErrorCode.DIGEST_REQUIRED}",
            Topic.DIGEST,
            "a digest is missing, or isn't base64 of the raw digest",
            "openssl md5 -binary FILE | base64",
        ),
        rule(
            ErrorCode.UNSUPPORTED_BY_PATTERN,
            Topic.REQUEST,
            "the service makes keys of other things than owner, dataset and path, so this can't be told by them",
            "name objects by their object_url; the key pattern is in /info",
        ),
        rule(
            ErrorCode.INVALID_CURSOR,
            Topic.REQUEST,
            "`after` isn't what the page before gave as `next`",
            "pass it on as it was, with the same owner and name; or begin with the first page",
        ),
        rule(
            ErrorCode.INVALID_URL,
            Topic.REQUEST,
            "the URL isn't that of an object in this store",
            "use object_url as it was given; percent-encode it in the query",
        ),
        rule(
            ErrorCode.INVALID_EXPIRY,
            Topic.REQUEST,
            "`expires_in` can't be used",
            "give whole seconds, within the limit",
        ),
        rule(
            ErrorCode.TOKEN_MISSING,
            Topic.TOKEN,
            "the request has no token",
            "send it in `Auth-Token`, `Authorization: Bearer` or `?jwt=`",
        ),
        rule(
            ErrorCode.TOKEN_EXPIRED,
            Topic.TOKEN,
            "the token has expired",
            "get a new one from the auth service; if it was new, compare the clocks of both services",
        ),
        rule(
            ErrorCode.TOKEN_INVALID,
            Topic.TOKEN,
            "the token proves nothing to this service; the message says why",
            "if its signature doesn't match, the key (DATAHUB_PUBLIC_KEY, AUTH_SERVER, AUTH_JWKS_URL) isn't that of "
            "who issued it; if it is for another service, look at SERVICE_NAME; `bitstore doctor --token-file FILE` "
            "tells more",
        ),
        rule(
            ErrorCode.PERMISSION_MISSING,
            Topic.TOKEN,
            "the token is valid, and doesn't allow uploads",
            "its permissions must have datapackage-upload: true",
        ),
        rule(
            ErrorCode.NOT_OWNER, Topic.TOKEN, "the owner isn't the user of the token", "use the token's userid as owner"
        ),
        rule(
            ErrorCode.OVER_QUOTA,
            Topic.TOKEN,
            "the files are larger than what the token allows its user",
            "the auth service sets max_public_storage_mb and max_private_storage_mb",
        ),
        rule(
            f"{ErrorCode.BODY_TOO_LARGE} {ErrorCode.BODY_TIMEOUT}",
            Topic.REQUEST,
            "the body of the request is too long, or came too slowly",
            "declare fewer files at once, or raise MAX_BODY_BYTES",
        ),
        rule(
            f"{ErrorCode.MALFORMED_HTTP} {ErrorCode.HEAD_TOO_LARGE}",
            Topic.REQUEST,
            "the request isn't HTTP/1.1 as it should be, or its URL and headers are too long",
            "look at what a proxy in front of the service makes of it: it needs exactly one Host, one way to tell the "
            "length of the body, and at most 64 KiB before it",
        ),
        rule(
            f"{ErrorCode.NOT_FOUND} {ErrorCode.METHOD_NOT_ALLOWED}",
            Topic.REQUEST,
            "the service has nothing at this URL, or not for this method",
            "routes are below /SERVICE_NAME (rawstore): POST /authorize, POST /verify, GET /info, GET /presign",
        ),
        rule(
            f"{ErrorCode.STORE_UNAVAILABLE} {ErrorCode.CREDENTIALS_UNAVAILABLE} not_ready",
            Topic.SERVICE,
            "the service can't reach its store, or has no credentials for it, or no keys for tokens",
            "run `bitstore doctor` where the service runs, with the same environment",
        ),
        rule(
            ErrorCode.KEYS_UNAVAILABLE,
            Topic.SERVICE,
            "the service has not been able to fetch the keys of the auth service",
            "look at AUTH_SERVER or AUTH_JWKS_URL: `bitstore doctor` says why",
        ),
        rule(
            ErrorCode.OVERLOADED,
            Topic.OVERLOAD,
            "the service works on too many requests",
            "send it again after Retry-After seconds; run more of it",
        ),
        rule(
            f"{ErrorCode.INTERNAL_ERROR} {ErrorCode.MISCONFIGURED}",
            Topic.SERVICE,
            "something is wrong within the service",
            "its log says what",
        ),
    ),
)
