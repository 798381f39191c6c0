"""AWS's SDK, shared: its clients are made in no time once one session has read what it knows of the services."""

from functools import cache
from typing import Any

import boto3


@cache
def sdk() -> Any:
    """Give the session that makes all clients; each of them is given credentials and a region of its own."""
    return boto3.session.Session()
