"""Things that happen and are logged with figures of their own, besides a message."""

import logging
import time
from collections.abc import Mapping
from typing import Final

# What formatters may ask of any record, and none of ours says.
_UNSAID: Final[Mapping[str, object]] = vars(logging.LogRecord("", logging.NOTSET, "", 0, "", (), None))


class Event(logging.LogRecord):
    """A record with `fields`, made in a fifth of the time: nobody looks for its caller, its thread and its process.

    There is one for every authorization, and that takes little more than a tenth of a millisecond.
    """

    def __init__(self, logger: str, level: int, message: str, fields: Mapping[str, object]) -> None:
        now = time.time()
        self.__dict__.update(_UNSAID)
        self.name, self.levelno, self.levelname = logger, level, logging.getLevelName(level)
        self.msg, self.fields = message, fields
        self.created, self.msecs = now, now % 1 * 1000


def log_event(logger: logging.Logger, message: str, fields: Mapping[str, object], level: int = logging.INFO) -> None:
    """Log an event whose `message` is its name; what is None of its fields is left out."""
    if logger.isEnabledFor(level):
        said = {name: value for name, value in fields.items() if value is not None}
        logger.handle(Event(logger.name, level, message, said))
