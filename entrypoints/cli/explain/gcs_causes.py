"""What Google Cloud Storage refuses in words of its own; its other codes are those of S3."""

from entrypoints.cli.explain.causes import Table, Topic, rule

_CHECK_THE_KEY = (
    "look at STORAGE_GCS_CREDENTIALS: is the key of that service account still there, and does the account exist? If "
    "it happens to some requests only, send exactly what /authorize answered"
)

GCS = Table(
    'Google Cloud Storage, "HTTP status and error codes" (JSON and XML)',
    (
        rule(
            "SignatureDoesNotMatch authError",
            Topic.CREDENTIALS,
            "the signature isn't the service account's, or the request isn't what was signed",
            _CHECK_THE_KEY,
        ),
        rule(
            "InvalidArgument AccessDenied AccessControlListNotSupported invalid",
            Topic.ACL,
            "the bucket has uniform bucket-level access, and the request has an acl",
            "set STORAGE_ACL=none; or leave it `auto` and allow storage.buckets.get, so that the bucket is asked",
            says="uniform bucket-level access|legacy ACL",
        ),
        rule(
            "InvalidArgument",
            Topic.ACL,
            "the bucket prevents public access, and the request has a public acl",
            "set STORAGE_ACL=none, and give files out by /presign",
            says="public access prevention",
        ),
        rule(
            "AccessDenied forbidden insufficientPermissions required",
            Topic.PERMISSION,
            "the service account may not do this",
            "give it storage.objects.create, .get, .list, and .delete to replace objects",
            says="does not have|permission|anonymous caller|insufficient",
        ),
        rule(
            "BucketNotFound notFound",
            Topic.MISSING,
            "there is no such bucket or object",
            "look at STORAGE_BUCKET_NAME; for an object, was it uploaded? /verify says",
        ),
        rule(
            "UserProjectMissing UserProjectInvalid UserProjectAccountProblem",
            Topic.PERMISSION,
            "who asks pays for requests to this bucket, and none says who",
            "switch requester pays off for this bucket",
        ),
        rule(
            "conditionNotMet",
            Topic.OVERWRITE,
            "there is an object already, and the request says that it must not be replaced",
            "nothing, if it is the same file: /verify says",
        ),
        rule(
            "rateLimitExceeded userRateLimitExceeded backendError",
            Topic.OVERLOAD,
            "Cloud Storage asks for fewer requests at a time",
            "send it again after a while, each time a longer one",
        ),
        rule(
            "CrcMismatch",
            Topic.DIGEST,
            "the bytes that arrived don't have the digest that was declared",
            "declare the file as it is now",
        ),
        rule(
            "ResourceIsRetained ObjectUnderActiveHold retentionPolicyNotMet objectUnderActiveHold",
            Topic.STORE,
            "the object is retained by a policy or a hold, and can't be replaced",
            "look at the bucket's retention policy",
        ),
    ),
)
