"""What can go wrong for a client, as exceptions whose text is for a person.

    ClientError
    ├── BadSources          what is to be sent can't be; `problems` lists every one, and nothing was sent
    ├── WrongArguments      URL, token, owner or dataset can't be what they are; nothing was sent
    ├── NothingThere        a dataset to fetch doesn't exist
    ├── Unreachable         no useful answer; the same again, later, may help
    ├── ServiceRefused      the service refused a request: its stable `code`, and `details` by path
    ├── StoreRefused        the store refused one signed request
    ├── TooLate             a signed request is too old to be sent
    ├── NotUnderstood       an answer is none of BitStore's
    ├── FileTrouble         a file of this machine can't be read or written, or changes while it is sent
    └── Stopped             somebody wants this to end

Neither a token nor a signed URL ever appears in a message.
"""

from collections.abc import Mapping, Sequence

from attrs import frozen


class ClientError(Exception):
    """The root of every error that the client raises on purpose."""


@frozen
class Problem:
    """Why one file can't be sent: `path` is as it was found, `reason` the rest of the sentence."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class BadSources(ClientError):
    """Something of what is to be sent can't be. Nothing was sent."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class WrongArguments(ClientError):
    """A URL, token, owner or dataset that can't be, or a dataset without a name."""


class NothingThere(ClientError):
    """A dataset that is to be fetched isn't there."""


class Unreachable(ClientError):
    """A server gave no answer, or says that it can't now. `retry_after` is in seconds, None if nothing was said."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ServiceRefused(ClientError):
    """The service refused a request. `details` are the messages for each bad file, by its path.

    `omitted` counts further bad files, which the answer had no room for.
    """

    def __init__(
        self, status: int, code: str, message: str, details: Mapping[str, str] | None = None, omitted: int = 0
    ) -> None:
        super().__init__(f"{message} ({code})")
        self.status = status
        self.code = code
        self.message = message
        self.details = details or {}
        self.omitted = omitted


class StoreRefused(ClientError):
    """The store refused a signed request. `code` is the store's own name of the reason; empty if it gave none."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"the store refused it: {status} {code}".rstrip())
        self.status = status
        self.code = code


class TooLate(ClientError):
    """A request was signed too long ago to be sent now."""

    def __init__(self) -> None:
        super().__init__("its request was signed too long ago")


class NotUnderstood(ClientError):
    """An answer can't be read: perhaps the URL isn't that of a BitStore."""


class FileTrouble(ClientError):
    """A file of this machine can't be read or written as it must be."""


class FileChanged(FileTrouble):
    """A file isn't what it was when it was hashed: by its length and modification, or by what the store received."""


class Stopped(ClientError):
    """The transfer is to end: what was under way is cut off."""

    def __init__(self) -> None:
        super().__init__("stopped")


def words_of(error: OSError) -> str:
    """Say what the system says, in the middle of a sentence."""
    return (error.strerror or "unknown reason").lower()
