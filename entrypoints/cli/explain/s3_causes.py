"""What S3 and its relatives refuse, and why. Cloud Storage has most of these codes too."""

from entrypoints.cli.explain.causes import Table, Topic, rule

_SEND_AS_SIGNED = "send exactly what /authorize answered, and ask for a new signed request if the file has changed"
_SET_THE_CLOCK = "set the clock of the machine that runs the service (chrony, systemd-timesyncd)"

S3 = Table(
    'Amazon S3 API reference, "Error responses"',
    (
        # AccessDenied says a dozen different things, in its message.
        rule(
            "AccessDenied",
            Topic.EXPIRED,
            "the signed request came too late: it has expired",
            "ask the service for a new one; UPLOAD_EXPIRES_SECONDS says how long they live. If it was new, compare "
            "the clocks of the service and the store",
            says="has expired|policy expired",
        ),
        rule(
            "AccessDenied",
            Topic.CLOCK,
            "the request isn't valid yet: the clock of the machine that signed it is ahead of the store's",
            _SET_THE_CLOCK,
            says="request is not (?:yet )?valid|not valid yet",
        ),
        rule(
            "AccessDenied",
            Topic.HEADERS,
            "the client sent a header that the signature doesn't cover",
            "send exactly upload_headers: nothing else that begins with x-amz- may come with a signed URL",
            says="headers present in the request which were not signed|HeadersNotSigned",
        ),
        rule(
            "AccessDenied",
            Topic.POLICY,
            "the store doesn't know a condition of the form's policy: the flavour says that it understands more than "
            "it does",
            "set STORAGE_FLAVOUR to what the store is (seaweedfs, ceph, minio …; generic where nothing fits); "
            "`bitstore doctor` finds out which",
            says="unknown condition",
        ),
        rule(
            "AccessDenied",
            Topic.POLICY,
            "the form has a field that its policy doesn't name",
            "send the fields of upload_query and no others, then the part `file` as the last one",
            says="extra input fields|policy missing condition",
        ),
        rule(
            "AccessDenied",
            Topic.POLICY,
            "a field of the form isn't what its policy says, such as another key or media type",
            "send the fields of upload_query unchanged, in their order, then the part `file`; a field that the client "
            "adds or a type that a browser guesses breaks the policy",
            says="according to policy|policy condition failed|policy check failed|not met condition",
        ),
        rule(
            "AccessForbidden",
            Topic.CORS,
            "the bucket has no CORS rule that allows this origin, method and headers",
            "give the bucket a rule; `bitstore doctor --origin https://your.portal` prints one to paste",
        ),
        rule(
            "AccessDenied AllAccessDisabled AccountProblem NotSignedUp",
            Topic.PERMISSION,
            "the credentials that signed may not do this, or the request had no signature (Ceph also says so of "
            "requests that came too late, and of forms with a wrong signature)",
            "allow them s3:PutObject, s3:GetObject and s3:ListBucket, and s3:PutObjectAcl where an acl is signed; "
            "look for a bucket policy or a Block Public Access setting that denies it",
        ),
        rule(
            "AccessControlListNotSupported",
            Topic.ACL,
            'the request has an acl, and the bucket takes none (object ownership "bucket owner enforced")',
            "set STORAGE_ACL=none; or leave it `auto` and allow s3:GetBucketOwnershipControls, so that the bucket is "
            "asked",
        ),
        rule(
            "InvalidAccessKeyId UserKeyMustBeSpecified InvalidSecurity",
            Topic.CREDENTIALS,
            "the store doesn't know the access key id that signed",
            "look at STORAGE_ACCESS_KEY_ID: is it of this store, and still active?",
        ),
        rule(
            "SignatureDoesNotMatch",
            Topic.CREDENTIALS,
            "the signature isn't the one that the store computes: the secret key is wrong, or the request isn't what "
            "was signed (another host, path, header, type or length)",
            "if it happens to every request, look at STORAGE_SECRET_ACCESS_KEY, and whether STORAGE_PUBLIC_URL is "
            f"exactly the host that clients reach, proxies included; if to some, {_SEND_AS_SIGNED}",
        ),
        rule(
            "ExpiredToken InvalidToken TokenRefreshRequired",
            Topic.CREDENTIALS,
            "the session token of the temporary credentials that signed has expired, or isn't theirs",
            "look at where the service gets its credentials (role, STS): they must be refreshed while it runs",
        ),
        rule(
            "RequestTimeTooSkewed",
            Topic.CLOCK,
            "the clocks of the machine that signed and of the store differ by more than 15 minutes",
            _SET_THE_CLOCK,
        ),
        rule(
            "AuthorizationHeaderMalformed AuthorizationQueryParametersError",
            Topic.REGION,
            "the signature names another region than the bucket's",
            "set STORAGE_REGION to the region that the answer names",
            says="region",
        ),
        rule(
            "AuthorizationQueryParametersError",
            Topic.EXPIRED,
            "the signed URL lives too long, or its times can't be read",
            "a URL lives for a week at most: look at UPLOAD_EXPIRES_SECONDS and DOWNLOAD_EXPIRES_SECONDS",
            says="expires|week|date",
        ),
        rule(
            "AuthorizationHeaderMalformed AuthorizationQueryParametersError MissingSecurityHeader "
            "CredentialsNotSupported MissingAuthenticationToken",
            Topic.REQUEST,
            "what signs the request can't be read: a parameter or header of the signature is missing or changed",
            f"{_SEND_AS_SIGNED}; nothing between client and store may rewrite the query",
        ),
        rule(
            "PermanentRedirect TemporaryRedirect Redirect IllegalLocationConstraintException",
            Topic.REGION,
            "the bucket is in another region, or has to be addressed at another host",
            "set STORAGE_REGION (the header x-amz-bucket-region names it) and STORAGE_HOSTNAME to the bucket's own; "
            "if they are, try STORAGE_ADDRESSING=virtual",
        ),
        rule(
            "NoSuchBucket InvalidBucketName",
            Topic.BUCKET,
            "there is no bucket of that name at this host",
            "look at STORAGE_BUCKET_NAME and STORAGE_HOSTNAME; and at STORAGE_ADDRESSING, since a store that doesn't "
            "know virtual hosts takes the start of the path for the bucket",
        ),
        rule(
            "NoSuchUpload",
            Topic.MISSING,
            "the upload in parts was completed, aborted or swept, or was never begun at this key",
            "was it completed? /verify says; if not, begin again with /authorize",
        ),
        rule(
            "NoSuchKey NoSuchVersion",
            Topic.MISSING,
            "there is no object at this key",
            "was it uploaded? /verify says; and compare the key letter by letter, after one percent-decoding",
        ),
        rule(
            "BadDigest XAmzContentSHA256Mismatch XAmzContentChecksumMismatch",
            Topic.DIGEST,
            "the bytes that arrived don't have the digest that was declared",
            "declare the file as it is now, and ask for a new signed request; if it hasn't changed, it was damaged on "
            "the way: send it again",
        ),
        rule(
            "InvalidDigest InvalidChecksum",
            Topic.DIGEST,
            "a digest in the request is none: it must be base64 of the raw digest, not hexadecimal",
            "send Content-MD5 exactly as it was given",
        ),
        rule(
            "EntityTooLarge",
            Topic.LENGTH,
            "the file is longer than was declared, or than one request may be",
            "declare the length as it is now; a single request takes 5 GiB at most",
        ),
        rule(
            "EntityTooSmall",
            Topic.LENGTH,
            "the file is shorter than was declared",
            "declare the length as it is now, and send the whole file",
        ),
        rule(
            "MissingContentLength IncompleteBody RequestTimeout",
            Topic.LENGTH,
            "the body came without its length, or not to its end",
            "send Content-Length and no chunks (a file or bytes as the body, not a stream); look for a proxy that "
            "cuts requests short",
        ),
        rule(
            "MalformedPOSTRequest RequestIsNotMultiPartContent IncorrectNumberOfFilesInPostRequest MissingAttachment "
            "MaxPostPreDataLengthExceededError",
            Topic.REQUEST,
            "the form can't be read: it must be multipart/form-data with the fields first and one part `file` last",
            "send the fields of upload_query in their order, then `file`; what comes behind it is ignored",
        ),
        rule(
            "InvalidPolicyDocument",
            Topic.POLICY,
            "the form's policy can't be read: it was changed on the way, or the store wants it otherwise",
            "send the field `policy` unchanged; if it was, set STORAGE_FLAVOUR to what the store is",
        ),
        rule(
            "InvalidArgument",
            Topic.REGION,
            "the form's credential names a region or a service that isn't the bucket's",
            "set STORAGE_REGION to the bucket's region",
            says="credential|region",
        ),
        rule(
            "InvalidArgument InvalidRequest UnexpectedContent MissingRequestBodyError MalformedXML InvalidTag "
            "MetadataTooLarge MaxMessageLengthExceeded",
            Topic.REQUEST,
            "the store can't accept the request as it is: it has something that is missing, doubled or not understood",
            f"{_SEND_AS_SIGNED}; if it was, STORAGE_FLAVOUR may not be what the store is: run `bitstore doctor`",
        ),
        rule(
            "InvalidURI KeyTooLongError KeyTooLong",
            Topic.REQUEST,
            "the path of the request can't be an object's: it is too long, or wrongly encoded",
            "use the URL exactly as it was given; a key has 1,024 bytes at most",
        ),
        rule(
            "PreconditionFailed ConditionalRequestConflict ObjectAlreadyExists",
            Topic.OVERWRITE,
            "there is an object at this key already, and the request says that it must not be replaced",
            "nothing, if it is the same file: /verify says. To replace it ask without `overwrite: false`",
        ),
        rule(
            "MethodNotAllowed",
            Topic.REQUEST,
            "this URL doesn't take this method",
            "POST the form to upload_url (the bucket), PUT to the whole signed URL",
        ),
        rule(
            "NotImplemented",
            Topic.REQUEST,
            "the store doesn't know something that the request asks for",
            "set STORAGE_FLAVOUR to what the store is; a store without forms (R2) takes PUT only: "
            "STORAGE_UPLOAD_METHOD=PUT",
        ),
        rule(
            "SlowDown ServiceUnavailable TooManyRequests Throttling",
            Topic.OVERLOAD,
            "the store is busy, or asks for fewer requests at a time",
            "send it again after a while, each time a longer one; the signed request can be used again until it "
            "expires",
        ),
        rule(
            "InternalError OperationAborted",
            Topic.STORE,
            "something went wrong within the store",
            "send it again; if it stays so, the store's own log says why",
        ),
        rule(
            "InsufficientStorage XMinioStorageFull QuotaExceeded EntityTooLargeForBucketQuota",
            Topic.STORE,
            "the store, or the quota of the bucket, is full",
            "make room; the object that was there before is intact",
        ),
        rule(
            "InvalidObjectState ObjectLockConfigurationNotFoundError InvalidStorageClass InvalidRetentionPeriod",
            Topic.STORE,
            "the object, or the bucket, is in a state that doesn't allow this (archived, locked)",
            "look at the bucket's storage class, object lock and lifecycle rules",
        ),
        rule(
            "KMS.DisabledException KMS.NotFoundException KMS.AccessDeniedException KMSInvalidStateException",
            Topic.PERMISSION,
            "the bucket's encryption key can't be used with these credentials",
            "allow them kms:GenerateDataKey and kms:Decrypt on that key, and see that it is enabled",
        ),
        rule(
            "InvalidRange",
            Topic.REQUEST,
            "the part of the object that was asked for is behind its end",
            "ask for its length first",
        ),
    ),
)
