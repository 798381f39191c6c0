"""What is fuzzed: functions of bytes, as hostile clients would write them, that fail where something is wrong.

Each says in a word how far its input came, so that one can see that its seeds come everywhere; what it finds wrong, it
raises. `tests.hard.fuzzing` runs them under a fuzzer that is guided by coverage.
"""

from collections.abc import Mapping
from typing import Final

from tests.hard.targets.documents import JSON, TOKEN
from tests.hard.targets.forms import FORM
from tests.hard.targets.names import KEY, PATTERN
from tests.hard.targets.policies import POLICY
from tests.hard.targets.reading import CONDITION, CURSOR
from tests.hard.targets.services import REQUEST
from tests.hard.targets.signatures import SIGNATURE
from tests.hard.targets.target import Target

TARGETS: Final[Mapping[str, Target]] = {
    "form": FORM,
    "key": KEY,
    "pattern": PATTERN,
    "policy": POLICY,
    "signature": SIGNATURE,
    "json": JSON,
    "token": TOKEN,
    "condition": CONDITION,
    "cursor": CURSOR,
    "request": REQUEST,
}
