"""What Azure Blob Storage refuses, and why."""

from entrypoints.cli.explain.causes import Table, Topic, rule

AZURE = Table(
    'Azure Storage REST API reference, "Common REST API error codes" and "Blob service error codes"',
    (
        rule(
            "AuthenticationFailed",
            Topic.EXPIRED,
            "the signed URL (SAS) came too late, or isn't valid yet",
            "ask the service for a new one; if it was new, set the clock of the machine that runs the service",
            says="signature not valid in the specified time frame|signed expiry time|expired",
        ),
        rule(
            "AuthenticationFailed AuthorizationFailure InvalidAuthenticationInfo",
            Topic.CREDENTIALS,
            "the signature isn't the one that the service computes: the account's key is wrong or was replaced, the "
            "URL was changed, or (in Azurite) it has expired",
            "look at STORAGE_ACCESS_KEY_ID (the account) and STORAGE_SECRET_ACCESS_KEY (one of its two keys), and "
            "whether STORAGE_PUBLIC_URL names the same account; use the URL exactly as it was given",
            says="authenticat|signature",
        ),
        rule(
            "AuthorizationFailure AuthorizationSourceIPMismatch",
            Topic.PERMISSION,
            "the storage account doesn't take requests from this network",
            "look at the account's firewall and virtual networks; clients must reach it as well as the service",
        ),
        rule(
            "AuthorizationPermissionMismatch UnauthorizedBlobOverwrite",
            Topic.OVERWRITE,
            "the signed URL doesn't allow this: most often there is a blob already, and it must not be replaced",
            "nothing, if it is the same file: /verify says. Otherwise ask without `overwrite: false`; with an "
            "identity, look at its role (Storage Blob Data Contributor)",
        ),
        rule(
            "KeyBasedAuthenticationNotPermitted",
            Topic.CREDENTIALS,
            "the storage account allows no account keys",
            "leave out STORAGE_ACCESS_KEY_ID and STORAGE_SECRET_ACCESS_KEY, and sign with an identity (pip install "
            "azure-identity)",
        ),
        rule(
            "AuthorizationProtocolMismatch AccountRequiresHttps",
            Topic.HOST,
            "the request came over http, and must come over https",
            "write https in STORAGE_HOSTNAME and STORAGE_PUBLIC_URL",
        ),
        rule(
            "NoAuthenticationInformation ResourceNotFound PublicAccessNotPermitted",
            Topic.PERMISSION,
            "the request had no signature, and the container isn't public",
            "use the whole URL, its query included; for reading ask /presign",
        ),
        rule(
            "InsufficientAccountPermissions AuthorizationServiceMismatch AuthorizationResourceTypeMismatch",
            Topic.PERMISSION,
            "the identity that signed may not do this",
            "give it the roles Storage Blob Data Contributor and, at the level of the account, Storage Blob Delegator",
        ),
        rule(
            "AccountIsDisabled ContainerDisabled ContainerBeingDeleted AccountBeingCreated",
            Topic.STORE,
            "the storage account or the container is disabled, or being made or deleted",
            "look at it in the Azure portal",
        ),
        rule(
            "ContainerNotFound InvalidResourceName",
            Topic.BUCKET,
            "there is no container of that name in this account",
            "look at STORAGE_BUCKET_NAME, and at the account in STORAGE_HOSTNAME",
        ),
        rule(
            "BlobNotFound",
            Topic.MISSING,
            "there is no blob of that name",
            "was it uploaded? /verify says; and compare the name letter by letter",
        ),
        rule(
            "CorsPreflightFailure",
            Topic.CORS,
            "the storage account has no CORS rule that allows this origin, method and headers",
            "give it one; `bitstore doctor --origin https://your.portal` prints it to paste",
        ),
        rule(
            "Md5Mismatch InvalidMd5 Crc64Mismatch",
            Topic.DIGEST,
            "the bytes that arrived don't have the MD5 that was declared, or it is none",
            "declare the file as it is now, and ask for a new signed request",
        ),
        rule(
            "MissingContentLengthHeader",
            Topic.LENGTH,
            "the body came without its length",
            "send Content-Length and no chunks",
        ),
        rule(
            "RequestBodyTooLarge MaxBlobSizeConditionNotMet OutOfRangeInput",
            Topic.LENGTH,
            "the file is longer than one request may be (5,000 MiB)",
            "a longer file can't be sent in one request",
        ),
        rule(
            "MissingRequiredHeader InvalidHeaderValue UnsupportedHeader InvalidBlobType",
            Topic.HEADERS,
            "a header is missing or wrong; x-ms-blob-type: BlockBlob must be sent",
            "send exactly upload_headers",
        ),
        rule(
            "BlobAlreadyExists ConditionNotMet TargetConditionNotMet BlobOverwritten",
            Topic.OVERWRITE,
            "there is a blob already, and the request says that it must not be replaced",
            "nothing, if it is the same file: /verify says. To replace it ask without `overwrite: false`",
        ),
        rule(
            "LeaseIdMissing LeaseIdMismatchWithBlobOperation BlobArchived BlobBeingRehydrated",
            Topic.STORE,
            "the blob is locked by a lease, or archived",
            "end the lease, or bring the blob back from the archive",
        ),
        rule(
            "InvalidQueryParameterValue UnsupportedQueryParameter MissingRequiredQueryParameter InvalidUri "
            "RequestUrlFailedToParse UnsupportedHttpVerb InvalidInput",
            Topic.REQUEST,
            "the request can't be understood",
            "use the URL exactly as it was given, with PUT; nothing between may rewrite its query",
        ),
        rule(
            "ServerBusy OperationTimedOut",
            Topic.OVERLOAD,
            "the storage account is busy",
            "send it again after a while, each time a longer one",
        ),
        rule("InternalError", Topic.STORE, "something went wrong within the store", "send it again"),
    ),
)
