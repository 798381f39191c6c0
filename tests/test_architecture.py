"""The layers keep to their import rules, and the check of that is able to fail."""

from pathlib import Path

import pytest

from tests.architecture import LAYERS, modules, violations

ROOT = Path(__file__).parents[1]


def test_every_module_keeps_to_the_rules() -> None:
    found = [violation for module, file in modules(ROOT) for violation in violations(module, file.read_text("utf-8"))]

    assert not found, "\n".join(map(str, found))


def test_every_layer_is_looked_at() -> None:
    assert {module.partition(".")[0] for module, _ in modules(ROOT)} == LAYERS


ALLOWED = [
    ("domain.keys", "import re\nfrom collections.abc import Mapping\nfrom urllib.parse import quote"),
    ("domain.keys", "from attrs import frozen\nimport attr"),
    (
        "domain.keys",
        "from domain import errors\nfrom domain.errors import BitstoreError\nfrom .errors import ErrorCode",
    ),
    ("domain.keys", "from datetime import datetime\nmoment = datetime.fromtimestamp(0)"),
    ("domain.keys", "import mimetypes\ntypes = mimetypes.MimeTypes()"),
    ("domain.keys", "LIMIT = 200\nif length > 255 or length == 400: pass"),
    ("domain.keys", "def parse(input): return self.open(input.now())"),
    ("domain.__init__", "from . import keys\nfrom .keys import ObjectKey"),
    ("application.describe_store", "from application.ports import UploadSigner\nfrom domain.keys import ObjectKey"),
    ("adapters.__init__", '"""One foreign thing each."""'),
    (
        "adapters.tokens.jwt",
        "import jwt, cryptography.hazmat, orjson, time, asyncio\nimport adapters.tokens.key_sources",
    ),
    (
        "adapters.stores.disk",
        "import os\nfrom application import ports\nfrom adapters.stores import sigv4\nfrom . import disk_tree",
    ),
    ("adapters.stores.s3", "import boto3, botocore.session\nif status == 404: pass"),
    (
        "adapters.stores.azure",
        "from adapters.stores.azure_sas import AccountKey\nfrom . import addresses",
    ),
    ("adapters.stores.gcs_v4", "from adapters.stores.sigv4 import uri_encode\nimport adapters.stores.gcs_account"),
    ("adapters.stores.contract", "import pytest, urllib3\nassert answer.status in (200, 204)"),
    (
        "entrypoints.wiring",
        "from adapters.stores import s3\nfrom adapters.tokens.jwt import JwtVerifier\nimport application",
    ),
    (
        "entrypoints.client.push",
        "from domain.keys import Owner\nfrom entrypoints.client.hashing import Moved\nimport urllib3, sqlite3, time",
    ),
    ("entrypoints.cli.progress_bars", "from rich.live import Live\nfrom entrypoints.client import Watcher"),
    (
        "entrypoints.http.app",
        "import starlette.routing, uvicorn, urllib3, time\nfrom http import HTTPStatus\nstatus = 404",
    ),
]

# fmt: off
IMPURE_MODULES = [
    "asyncio", "http", "io", "logging", "os", "os.path", "pathlib", "random", "secrets", "shutil", "socket",
    "subprocess", "sys", "tempfile", "threading", "time", "urllib", "urllib.request", "uuid",
]
# fmt: on

# A module, its source, and a word of why it is refused.
REFUSED = [
    # The direction of the arrows
    ("domain.keys", "import application.ports", "application.ports"),
    ("domain.keys", "from adapters.stores.disk import DiskStore", "adapters.stores.disk.DiskStore"),
    ("domain.keys", "from entrypoints import settings", "entrypoints.settings"),
    ("application.authorize", "from adapters.stores import s3", "adapters.stores.s3"),
    ("application.authorize", "import entrypoints.wiring as wiring", "entrypoints.wiring"),
    (
        "adapters.stores.disk",
        "from application.authorize_uploads import AuthorizeUploads",
        "application.authorize_uploads",
    ),
    ("adapters.stores.disk", "from application import authorize_uploads", "application.authorize_uploads"),
    ("adapters.stores.disk", "import application", "application"),
    ("adapters.stores.disk", "from application import *", "application.*"),
    ("adapters.stores.disk", "import application.portside", "application.portside"),
    ("adapters.stores.disk", "import entrypoints.settings", "entrypoints.settings"),
    ("adapters.stores.disk", "from tests.strategies import keys", "tests.strategies.keys"),
    ("entrypoints.wiring", "import tests.strategies", "tests.strategies"),
    # Kinds of adapters
    ("adapters.tokens.jwt", "import adapters.stores.s3", "adapters.stores.s3"),
    ("adapters.stores.s3", "from adapters.tokens.jwt import JwtVerifier", "adapters.tokens.jwt.JwtVerifier"),
    ("adapters.stores.s3", "from adapters import tokens", "adapters.tokens"),
    ("adapters.stores.s3", "import adapters", "adapters"),
    ("adapters.clocks.system", "from domain.keys import ObjectKey", "domain.keys.ObjectKey"),
    ("adapters.__init__", "from adapters.stores import s3", "adapters.stores.s3"),
    # Families of stores
    *(
        (f"adapters.stores.{module}", f"from adapters.stores.{other} import x", f"adapters.stores.{other}")
        for module, other in (
            ("azure", "gcs"),
            ("azure_signing", "signing"),
            ("gcs", "azure_signing"),
            ("gcs_inspector", "s3_inspector"),
            ("gcs_v4", "flavours"),
            ("s3", "azure"),
            ("disk", "s3"),
            ("memory", "gcs_api"),
            ("sigv4", "s3"),
            ("addresses", "disk"),
            ("discovery", "azure"),
            ("contract", "flavours"),
            ("a_new_one", "s3"),
        )
    ),
    ("adapters.stores.azure", "from adapters.stores import gcs", "adapters.stores.gcs"),
    ("adapters.stores.azure", "from . import signing", "adapters.stores.signing"),
    ("adapters.stores.azure", "import adapters.stores", "adapters.stores"),
    # The client, and what only one module may use
    ("entrypoints.client.push", "from entrypoints.settings import Settings", "entrypoints.settings.Settings"),
    ("entrypoints.client.push", "from application.ports import Turns", "application.ports.Turns"),
    ("entrypoints.client.push", "from entrypoints.cli.progress import progress", "entrypoints.cli.progress"),
    ("entrypoints.client.push", "import starlette", "starlette"),
    ("entrypoints.cli.progress", "from rich.live import Live", "rich"),
    # However it is written
    ("adapters.stores.s3", "from ..tokens import jwt", "adapters.tokens.jwt"),
    (
        "adapters.stores.s3",
        "from ...application import authorize_uploads",
        "<beyond the top>.application.authorize_uploads",
    ),
    ("adapters.stores.__init__", "from ..tokens import jwt", "adapters.tokens.jwt"),
    ("domain.keys", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import boto3", "boto3"),
    ("domain.keys", "def late():\n    import boto3", "boto3"),
    ("domain.keys", "import re, boto3", "boto3"),
    ("entrypoints.wiring", "import importlib\nimportlib.import_module('tests')", "as it runs"),
    (
        "adapters.stores.s3",
        "from importlib import import_module as load\nload('adapters.tokens')",
        "importlib.import_module",
    ),
    ("adapters.stores.s3", "__import__('adapters.tokens')", "__import__"),
    # Packages of others
    ("domain.keys", "import orjson", "orjson"),
    ("application.authorize", "from starlette.responses import Response", "starlette"),
    ("adapters.tokens.jwt", "import boto3", "boto3"),
    ("adapters.stores.disk", "import jwt", "jwt"),
    ("adapters.stores.disk", "import starlette", "starlette"),
    ("adapters.stores.s3", "import pytest", "pytest"),
    ("entrypoints.wiring", "import boto3", "boto3"),
    # I/O and clocks in what is pure
    *(("domain.keys", f"import {name}", name) for name in IMPURE_MODULES),
    *(("application.authorize", f"import {name}", name) for name in IMPURE_MODULES),
    ("domain.keys", "from urllib import request", "urllib.request"),
    ("domain.keys", "from datetime import datetime\nnow = datetime.now()", "datetime.datetime.now"),
    ("domain.keys", "from datetime import datetime as dt\nmade = field(factory=dt.utcnow)", "datetime.datetime.utcnow"),
    ("domain.keys", "import datetime\ndatetime.datetime.today()", "datetime.datetime.today"),
    ("application.authorize", "import datetime as d\nd.date.today()", "datetime.date.today"),
    ("domain.files", "from mimetypes import guess_type", "mimetypes.guess_type"),
    ("domain.files", "open('rules.json')", "open"),
    # HTTP below the edge
    ("domain.errors", "NOT_FOUND = 404", "status"),
    ("domain.errors", "status = 400", "status"),
    ("application.ports", "raise Failed(status=500)", "status"),
    ("adapters.stores.disk", "if answer.status_code == 200: pass", "status"),
    ("adapters.stores.disk", "from http import HTTPStatus", "status"),
    ("adapters.tokens.jwt", "import http\ncode = http.HTTPStatus.OK", "status"),
]


@pytest.mark.parametrize(("module", "source"), ALLOWED)
def test_accepts(module: str, source: str) -> None:
    assert violations(module, source) == []


@pytest.mark.parametrize(("module", "source", "word"), REFUSED)
def test_refuses(module: str, source: str, word: str) -> None:
    found = violations(module, source)

    assert found
    for violation in found:
        assert word in violation.reason
        assert violation.module == module.removesuffix(".__init__")
        assert 1 <= violation.line <= source.count("\n") + 1


def test_says_on_which_line() -> None:
    assert [found.line for found in violations("domain.keys", "import re\nimport os\n\nimport jwt")] == [2, 4]
