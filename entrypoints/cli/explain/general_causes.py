"""What can be said without a code: of words of browsers and tools, of pages, and of a status alone."""

from entrypoints.cli.explain.causes import Rule, Table, Topic, rule

_LOOK_AT_THE_HOST = "look at STORAGE_PUBLIC_URL (else STORAGE_HOSTNAME): clients must reach it; `bitstore doctor` tries"
_NO_ANSWER = (0, None)
_TRUST = "give the store a certificate that clients trust and that has its name, with the chain"

WORDS = Table(
    "what browsers, curl and Node.js say",
    (
        rule(
            "",
            Topic.CORS,
            "the browser may not read the answer: the store has no CORS rule that allows this page's origin",
            "give it one; `bitstore doctor --origin https://your.portal` prints it to paste. A refusal without CORS "
            "headers looks alike: send the same request by curl to see it",
            says=r"CORS|Access-Control-Allow-Origin|Cross-Origin Request Blocked",
            statuses=_NO_ANSWER,
        ),
        rule(
            "",
            Topic.HOST,
            "the name of the host doesn't resolve",
            _LOOK_AT_THE_HOST,
            says=r"could not resolve|NAME_NOT_RESOLVED|ENOTFOUND|EAI_AGAIN|name or service not known|getaddrinfo",
            statuses=_NO_ANSWER,
        ),
        rule(
            "",
            Topic.HOST,
            "https was spoken to something that speaks plain http, or the other way round",
            "write http:// or https:// in STORAGE_HOSTNAME and STORAGE_PUBLIC_URL; without it they are https",
            says=r"wrong version number|RECORD_TOO_LONG|SSL_PROTOCOL_ERROR"
            r"|HTTP request to an HTTPS server|plain HTTP request",
        ),
        rule(
            "",
            Topic.HOST,
            "the client doesn't trust the certificate",
            _TRUST,
            says=r"certificate|CERT_|SEC_ERROR",
            statuses=_NO_ANSWER,
        ),
        rule(
            "",
            Topic.HOST,
            "the page came by https, and the upload's address is http, which browsers refuse",
            "give the store https, and write it in STORAGE_PUBLIC_URL",
            says=r"mixed content",
            statuses=_NO_ANSWER,
        ),
        rule(
            "",
            Topic.HOST,
            "nothing listens at that address, or nothing answers there",
            _LOOK_AT_THE_HOST,
            says=r"connection refused|CONNECTION_REFUSED|ECONNREFUSED|failed to connect|timed out|TIMED_OUT|ETIMEDOUT"
            r"|no route to host|UNREACHABLE",
            statuses=_NO_ANSWER,
        ),
        rule(
            "",
            Topic.PROXY,
            "the connection was closed before there was an answer",
            "look for a limit of body size or time in what stands between (proxy, load balancer); and send "
            "Content-Length",
            says=r"connection reset|CONNECTION_RESET|ECONNRESET|EPIPE|broken pipe|empty reply|socket hang up|aborted",
            statuses=_NO_ANSWER,
        ),
        rule(
            "",
            Topic.CORS,
            "the browser got no answer that it may read: a CORS rule is missing, or the host can't be reached",
            "open upload_url's host in the same browser. If that works it is CORS: `bitstore doctor --origin "
            "https://your.portal` prints the rule to paste",
            says=r"failed to fetch|networkerror|load failed|network error",
            statuses=_NO_ANSWER,
        ),
    ),
)

PAGE = Rule(
    (),
    Topic.PROXY,
    "a web page came back: a proxy, a load balancer or a login stands before the store, and answered itself",
    "look at STORAGE_HOSTNAME and STORAGE_PUBLIC_URL; or let that proxy pass the store's requests on unchanged, with "
    "their Host header",
)

NOTHING = Rule(
    (),
    Topic.CORS,
    "no status and no body: a browser that may not read the answer (CORS) says so, and so does a client that got none",
    "send the same request by `curl -i` and paste what it prints; for CORS run `bitstore doctor --origin "
    "https://your.portal`",
)

STATUSES = Table(
    "RFC 9110, section 15",
    (
        rule(
            "",
            Topic.SUCCESS,
            "this is a success: nothing is wrong with that request",
            "ask /verify whether the file is there as it was declared",
            statuses=range(200, 300),
        ),
        rule(
            "",
            Topic.REGION,
            "the store redirects: the bucket is in another region, or at another host",
            "set STORAGE_REGION and STORAGE_HOSTNAME to the bucket's own; clients don't follow redirects of uploads",
            statuses=range(300, 400),
        ),
        rule(
            "",
            Topic.REQUEST,
            "the request can't be understood",
            "send exactly what /authorize answered; paste the body of the answer as well, which says more",
            statuses=(400,),
        ),
        rule(
            "",
            Topic.TOKEN,
            "the request shows no token or signature that counts here",
            "to the service send the token in Auth-Token; to the store use the whole signed URL, or all fields of the "
            "form",
            statuses=(401,),
        ),
        rule(
            "",
            Topic.PERMISSION,
            "refused, without a word of why: signature, clock, policy or permission",
            "paste the body of the answer as well; or run `bitstore doctor`",
            statuses=(403,),
        ),
        rule(
            "",
            Topic.MISSING,
            "there is nothing at this URL: no such bucket, object or route",
            "look at the URL, STORAGE_BUCKET_NAME and STORAGE_ADDRESSING",
            statuses=(404, 410),
        ),
        rule(
            "",
            Topic.REQUEST,
            "this URL doesn't take this method",
            "POST the form to upload_url, PUT to the whole signed URL; a proxy may allow too few methods",
            statuses=(405, 501),
        ),
        rule(
            "",
            Topic.OVERLOAD,
            "the body came too slowly",
            "send it again; look for a proxy's time limit",
            statuses=(408,),
        ),
        rule(
            "",
            Topic.OVERWRITE,
            "there is something already, which must not be replaced",
            "nothing, if it is the same file: /verify says",
            statuses=(409, 412),
        ),
        rule(
            "", Topic.LENGTH, "the body came without its length", "send Content-Length and no chunks", statuses=(411,)
        ),
        rule(
            "",
            Topic.PROXY,
            "the body is longer than what stands before the store allows",
            "raise the limit of that proxy (nginx: client_max_body_size 0)",
            statuses=(413,),
        ),
        rule(
            "",
            Topic.REQUEST,
            "the type of the body isn't accepted",
            "send JSON to the service, and a form as multipart/form-data",
            statuses=(415,),
        ),
        rule(
            "",
            Topic.HEADERS,
            "the header lines, or the URL, are longer than what stands before the store allows",
            "raise that proxy's limit (nginx: large_client_header_buffers)",
            statuses=(414, 431),
        ),
        rule(
            "",
            Topic.OVERLOAD,
            "too many requests, or the store is busy",
            "send it again after a while, each time a longer one",
            statuses=(429, 503),
        ),
        rule(
            "",
            Topic.PROXY,
            "a proxy got no answer from the store",
            "look whether the store runs, and at the proxy's time limit",
            statuses=(502, 504),
        ),
        rule(
            "",
            Topic.STORE,
            "something went wrong within the store",
            "send it again; the store's log says why",
            statuses=range(500, 600),
        ),
    ),
)

UNKNOWN = Rule(
    (),
    Topic.UNKNOWN,
    "this isn't an answer that is known here",
    "look at the store's own documentation for that code; and run `bitstore doctor` with the service's environment, "
    "which tries each thing by itself",
)
