"""A client of BitStore: sends folders into datasets, and fetches them again.

    from entrypoints.client import Client, PushOptions

    with Client("https://data.example.org/rawstore", token) as client:
        report = client.push(PushOptions("tides", owner="ada", dataset="tides-2024"))
    print(report.counts, report.is_complete)

It needs urllib3 and attrs, and nothing of the service but the domain. `bitstore push` and `bitstore pull` are thin
above it.
"""

from entrypoints.client.answers import StoredObject, StoreInfo
from entrypoints.client.cache import default_cache
from entrypoints.client.client import JOBS, Client
from entrypoints.client.errors import (
    BadSources,
    ClientError,
    FileChanged,
    FileTrouble,
    NothingThere,
    NotUnderstood,
    Problem,
    ServiceRefused,
    Stopped,
    StoreRefused,
    Unreachable,
    WrongArguments,
)
from entrypoints.client.pull import Pull, PullOptions
from entrypoints.client.push import Push, PushOptions
from entrypoints.client.retrying import Retries
from entrypoints.client.watching import FileResult, Outcome, Phase, Report, Watcher

__all__ = [
    "JOBS",
    "BadSources",
    "Client",
    "ClientError",
    "FileChanged",
    "FileResult",
    "FileTrouble",
    "NotUnderstood",
    "NothingThere",
    "Outcome",
    "Phase",
    "Problem",
    "Pull",
    "PullOptions",
    "Push",
    "PushOptions",
    "Report",
    "Retries",
    "ServiceRefused",
    "Stopped",
    "StoreInfo",
    "StoreRefused",
    "StoredObject",
    "Unreachable",
    "Watcher",
    "WrongArguments",
    "default_cache",
]
