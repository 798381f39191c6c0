"""Whether files get in and come out again, and who may read them."""

from attrs import evolve

from adapters.stores.flavours import FLAVOURS, Flavour
from adapters.stores.signing import S3Signing
from domain.errors import Unavailable
from domain.inspection import Status, compare
from domain.uploads import Access, Guarantee, SignedUpload, UploadMethod
from entrypoints.cli.doctor.case import CONTENT, LIFETIME, PATIENCE, Case, accepted, why
from entrypoints.cli.doctor.findings import Finding, note, ok, skipped, wrong
from entrypoints.cli.explain.causes import Topic


async def check_acl(case: Case) -> Finding:
    """Send a file that everybody may read, and read it as everybody."""
    sent = await _send_public(case)
    if isinstance(sent, Finding):
        return sent
    readable = accepted(await case.client.send("GET", sent.object_url))
    if not _signs_acl(case):
        how = "everybody can read" if readable else "only a signed URL (/presign) gives"
        return ok(f"no acl is signed, and {how} published files")
    if readable:
        return ok("an acl is accepted, and everybody can read published files")
    return note(
        "an acl is accepted, but strangers can't read published files",
        "if they should: is STORAGE_ACL another than public-read, or does the bucket block public access?",
    )


async def _send_public(case: Case) -> SignedUpload | Finding:
    """Send a public file in any way that is accepted; or say what its acl has to do with its being refused."""
    for method in case.methods:
        signed, answer = await case.store_one(method, Access.PUBLIC)
        if accepted(answer):
            return signed
        sentence, diagnosis = why(answer)
        if diagnosis.topic is Topic.ACL:
            _sign_no_acl(case)
            advice = f"{diagnosis.remedy}. What follows was tried without an acl"
            return wrong(sentence, advice, "export STORAGE_ACL=none")
        _, private = await case.store_one(method, Access.PRIVATE)
        if accepted(private):
            return wrong(
                f"private files get in, and public ones don't: {sentence}",
                "the bucket blocks public ACLs (Block Public Access), or s3:PutObjectAcl isn't allowed; to sign none:",
                "export STORAGE_ACL=none",
            )
    return skipped("no file was accepted, be it public or private: see POST and PUT")


def _signs_acl(case: Case) -> bool:
    return any(Guarantee.ACCESS in enforced for enforced in case.signer.capabilities.methods.values())


def _sign_no_acl(case: Case) -> None:
    if isinstance(case.signer, S3Signing):
        case.signer = evolve(case.signer, public_acl=lambda: None)


async def check_method(case: Case, method: UploadMethod) -> Finding:
    """Send a private file as an honest client would."""
    signed, answer = await case.store_one(method)
    if accepted(answer):
        case.stored[method] = signed
        return ok(f"a file got in ({answer.status})")
    sentence, diagnosis = why(answer)
    better = await _flavour_that_works(case, method)
    if better is not None:
        return wrong(
            f"{sentence}. As STORAGE_FLAVOUR={better} has it, a file got in",
            f"the flavour is wrong: set STORAGE_FLAVOUR={better}",
            f"export STORAGE_FLAVOUR={better}",
        )
    return wrong(sentence, diagnosis.remedy)


async def _flavour_that_works(case: Case, method: UploadMethod) -> str | None:
    """Try what other flavours would have signed; name the first that the store understands."""
    seen = case.server.flavour if case.server is not None else None
    for name in filter(None, (seen, "generic")):
        flavour = FLAVOURS[name]
        if name != case.flavour and method in flavour.methods and isinstance(case.signer, S3Signing):
            _, answer = await case.store_one(method, signer=_as(flavour, case.signer))
            if accepted(answer):
                return name
    return None


def _as(flavour: Flavour, signing: S3Signing) -> S3Signing:
    acl = signing.public_acl() if flavour.has_acl else None
    return evolve(signing, flavour=flavour, public_acl=lambda: acl)


async def check_privacy(case: Case) -> Finding:
    """Read a private file as a stranger."""
    if case.access is Access.PUBLIC:
        return note("everybody may read this bucket, so private files are refused by the service")
    signed = next(iter(case.stored.values()))
    answer = await case.client.send("GET", signed.object_url)
    if accepted(answer):
        return wrong(
            "everybody can read private files",
            "take the permission to read away from everybody: in the bucket's policy, or its access level",
        )
    return ok(f"strangers can't read private files ({answer.status})")


async def check_download(case: Case) -> Finding:
    """Fetch a file by a signed URL."""
    signed = next(iter(case.stored.values()))
    url = case.service.store.downloads.sign_download(signed.upload.key, LIFETIME, case.clock()).url
    answer = await case.client.send("GET", url)
    if answer.status == 200 and answer.body == CONTENT.decode():
        return ok("a signed URL gives a file back as it was sent")
    sentence, diagnosis = why(answer)
    if answer.status == 200:
        return wrong(
            "a file came back otherwise than it was sent", "does something between change what passes through?"
        )
    return wrong(sentence, diagnosis.remedy)


async def check_inspection(case: Case) -> Finding:
    """Ask the store what it holds, as the service does for `exists` and /verify: by its internal address."""
    upload = next(iter(case.stored.values())).upload
    inspection = await case.service.store.inspector.inspect([upload], case.clock(), PATIENCE)
    if inspection.failure is not None:
        return wrong(
            f"{inspection.failure.message}, so `exists` is null and /verify a 503",
            "the service must reach its store: look at STORAGE_HOSTNAME, and at what its credentials may do",
        )
    if upload.key not in inspection.found:
        return note(
            "the store doesn't tell what it holds, so `exists` is null and /verify says unknown",
            "allow s3:GetObject and s3:ListBucket, or their like",
        )
    found = inspection.found[upload.key]
    status = compare(upload.file, found)
    if status is Status.STORED:
        return ok("the service sees a file with the length and digest that were declared")
    if status is Status.UNKNOWN:
        return note("the store tells no digest of a file that could be compared: /verify says unknown")
    return wrong(
        f"clients store files that the service doesn't see: /verify says {status}",
        "are STORAGE_HOSTNAME and STORAGE_PUBLIC_URL one store, or does another service answer at PUBLIC_URL?",
    )


async def check_readiness(case: Case) -> Finding:
    """Ask what /readyz asks of the store."""
    for probe in case.service.store.probes:
        try:
            await probe.check()
        except Unavailable as error:
            return wrong(
                f"/readyz will say: {error.message}",
                "the service must be allowed to ask for the bucket itself (s3:ListBucket, or its like)",
            )
    return ok("the store answers as /readyz asks")
