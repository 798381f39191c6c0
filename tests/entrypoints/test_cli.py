"""The command `bitstore`, as a process of its own where that matters."""

import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
import urllib3
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from adapters.tokens.jwt import JwtVerifier, KeyRing, load_key
from domain.identity import TokenRules
from entrypoints.cli.main import main
from tests.serve import bitstore_serve
from tests.tokens import ed25519_key, private_key, private_pem, public_pem, rsa_key

REPOSITORY = Path(__file__).parents[2]
SECRET = "a-secret-of-the-store"


def bitstore(
    *arguments: str, folder: Path, settings: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, in `folder`, with nothing but `settings` in its environment."""
    environment = {"PATH": os.defpath, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(folder), **(settings or {})}
    command = [sys.executable, "-m", "entrypoints.cli.main", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must refuse to start, in this process, and give what it says of that."""
    try:
        code = main(arguments)
    except SystemExit as exit_of_argparse:
        code = int(exit_of_argparse.code or 0)
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    assert "Traceback" not in said.err
    return said.err


class TestToken:
    @pytest.fixture
    def key_file(self, tmp_path: Path) -> Path:
        path = tmp_path / "key.pem"
        path.write_text(private_pem(rsa_key()))
        return path

    def test_prints_a_token_and_nothing_else(self, key_file: Path) -> None:
        answer = bitstore("token", "--owner", "alice", "--private-key", str(key_file), folder=key_file.parent)
        assert (answer.returncode, answer.stderr, answer.stdout.count("\n")) == (0, "", 1)
        assert self.userid(answer.stdout, "RS256") == "alice"

    def userid(self, output: str, algorithm: str, service: str = "rawstore") -> str:
        ring = KeyRing((load_key(public_pem(private_key(algorithm)), [algorithm]),))
        principal = JwtVerifier(lambda: ring, TokenRules(service)).verify(output.removesuffix("\n"), datetime.now(UTC))
        assert principal.may_upload
        return principal.userid

    @pytest.mark.parametrize(
        ("algorithm", "options"),
        [("RS256", []), ("PS256", ["--algorithm", "PS256"]), ("ES256", []), ("EdDSA", ["--algorithm", "EdDSA"])],
    )
    def test_is_accepted_by_our_own_verifier(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path, algorithm: str, options: list[str]
    ) -> None:
        path = tmp_path / "key.pem"
        path.write_text(private_pem(private_key(algorithm)))
        arguments = ["token", "--owner", "ä b", "--private-key", str(path), "--service", "bits", "--expires-in", "60"]
        assert main([*arguments, *options]) == 0
        assert self.userid(capsys.readouterr().out, algorithm, "bits") == "ä b"

    @pytest.mark.parametrize(
        ("options", "why"),
        [
            (["--owner", "../bob"], "--owner: the owner contains '/'"),
            (["--owner", ""], "--owner: the owner is empty"),
            (["--owner", "\udcff"], "--owner: the owner contains the forbidden character"),
            (["--algorithm", "HS256"], "--algorithm must be one of RS256, PS256, ES256, EdDSA"),
            (["--algorithm", "none"], "--algorithm must be one of"),
            (["--algorithm", "ES256"], "--private-key: .*fits none of the algorithms ES256"),
            (["--private-key", "/nowhere"], "--private-key can't be read: No such file"),
            (["--private-key", "/"], "--private-key can't be read: Is a directory"),
            (["--expires-in", "0"], "'0' is not a whole number from 1 to"),
            (["--expires-in", "9" * 20], "is not a whole number"),
            (["--expires-in", "soon"], "'soon' is not a whole number"),
        ],
    )
    def test_wrong_options_are_refused(
        self, capsys: pytest.CaptureFixture[str], key_file: Path, options: list[str], why: str
    ) -> None:
        said = refused(capsys, "token", "--owner", "alice", "--private-key", str(key_file), *options)
        assert re.search(why, said)

    @pytest.mark.parametrize(
        ("pem", "why"),
        [
            ("", "not an unencrypted private key"),
            ("a shared secret", "not an unencrypted private key"),
            (public_pem(rsa_key()), "not an unencrypted private key"),
            (
                rsa_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")).decode(),
                "not an unencrypted private key",
            ),
            (private_pem(rsa_key(1024)), "1024 bits"),
            (private_pem(generate_ec_key(SECP384R1())), "P-256"),
        ],
        ids=["empty", "a secret", "public", "encrypted", "short", "P-384"],
    )
    def test_keys_of_no_use_are_refused(
        self, capsys: pytest.CaptureFixture[str], key_file: Path, pem: str, why: str
    ) -> None:
        key_file.write_text(pem)
        assert why in refused(capsys, "token", "--owner", "alice", "--private-key", str(key_file))


class TestServe:
    def disk(self, folder: Path) -> dict[str, str]:
        return {
            "DATAHUB_PUBLIC_KEY": public_pem(ed25519_key()),
            "TOKEN_ALGORITHMS": "EdDSA",
            "STORAGE_BACKEND": "disk",
            "STORAGE_DISK_ROOT": str(folder / "objects"),
            "STORAGE_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "STORAGE_SECRET_ACCESS_KEY": SECRET,
            "STORAGE_BUCKET_NAME": "datasets",
        }

    def test_says_what_its_settings_are_and_answers_until_it_is_stopped(self, tmp_path: Path) -> None:
        with bitstore_serve(tmp_path, self.disk(tmp_path)) as origin:
            assert urllib3.request("GET", f"{origin}/healthz", retries=False).json() == {"status": "ok"}
            assert urllib3.request("GET", f"{origin}/readyz", retries=False).json() == {"status": "ready"}
        (log,) = tmp_path.glob("bitstore-*.log")
        said = log.read_text()
        assert SECRET not in said
        assert self.disk(tmp_path)["DATAHUB_PUBLIC_KEY"].splitlines()[1] not in said
        lines = [" ".join(line.split()) for line in said.splitlines()]
        assert {
            "STORAGE_SECRET_ACCESS_KEY = ********",
            "DATAHUB_PUBLIC_KEY = a public key for EdDSA",
            "SERVICE_NAME = rawstore (default)",
            f"authorize POST {origin}/rawstore/authorize",
            f"info GET {origin}/rawstore/info",
            f"presign GET {origin}/rawstore/presign",
            f"health GET {origin}/healthz and {origin}/readyz",
            f"metrics GET {origin}/metrics",
            f"uploads go to {origin}/store/datasets",
        } <= set(lines)
        assert "Traceback" not in said

    def test_lists_all_that_is_wrong_and_does_not_start(self, tmp_path: Path) -> None:
        wrong = {
            **self.disk(tmp_path),
            "DATAHUB_PUBLIC_KEY": private_pem(ed25519_key()),
            "STORAGE_BUCKET": "x",
            "MAX_FILES": "many",
            "STORAGE_PATH_PATTERN": "{path}",
        }
        answer = bitstore("serve", folder=tmp_path, settings=wrong)
        assert (answer.returncode, answer.stdout) == (2, "")
        heading, *problems = answer.stderr.splitlines()
        assert heading == "bitstore can't start:"
        assert len(problems) == 4
        assert all(line.startswith("  - ") for line in problems)
        for name in ("DATAHUB_PUBLIC_KEY", "STORAGE_BUCKET ", "MAX_FILES", "STORAGE_PATH_PATTERN"):
            assert sum(name in line for line in problems) == 1
        assert SECRET not in answer.stderr

    def test_one_memory_is_not_shared_by_several_processes(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for name, value in {**self.disk(tmp_path), "STORAGE_BACKEND": "memory", "PUBLIC_URL": "http://x"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("STORAGE_DISK_ROOT")
        assert "--workers 1" in refused(capsys, "serve", "--workers", "2")

    @pytest.mark.parametrize("port", ["0", "-1", "65536", "http", "9" * 5_000, "²"])
    def test_a_port_is_a_port(self, capsys: pytest.CaptureFixture[str], port: str) -> None:
        assert "is not a whole number from 1 to 65535" in refused(capsys, "serve", f"--port={port}")


class TestDemo:
    def test_sends_a_dataset_there_and_back(self, tmp_path: Path) -> None:
        answer = bitstore("demo", "--once", "--port", "0", folder=tmp_path)
        assert (answer.returncode, answer.stderr) == (0, "")
        assert "6 of 6 files came back byte for byte" in answer.stdout
        assert "another process asks: 1 arrived, 2 and 3 not" in answer.stdout
        assert list(tmp_path.iterdir()) == []

    def test_keeps_what_it_made_in_a_folder_that_was_named(self, tmp_path: Path) -> None:
        folder = tmp_path / "kept"
        arguments = ("demo", "--once", "--port", "0", "--folder", str(folder))
        assert bitstore(*arguments, folder=tmp_path).returncode == 0
        secrets = [folder / "demo-private-key.pem", folder / "storage-secret"]
        made = [path.read_bytes() for path in secrets]
        assert [stat.S_IMODE(path.stat().st_mode) for path in secrets] == [0o600, 0o600]
        again = bitstore(*arguments, folder=tmp_path)
        assert again.returncode == 0
        assert "it is there already" in again.stdout
        assert [path.read_bytes() for path in secrets] == made

    def test_a_port_that_is_taken_is_named(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            answer = bitstore("demo", "--once", "--port", str(port), folder=tmp_path)
        assert answer.returncode == 2
        assert f"port {port} can't be listened on: Address already in use" in answer.stderr
        assert "--port" in answer.stderr
        assert "Traceback" not in answer.stderr


class TestArguments:
    @pytest.mark.parametrize("arguments", [[], ["frobnicate"], ["token"], ["serve", "--frobnicate"]])
    def test_wrong_ones_are_explained(self, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
        assert "usage: bitstore" in refused(capsys, *arguments)

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--help"],
            ["serve", "--help"],
            ["token", "--help"],
            ["demo", "--help"],
            ["stores", "--help"],
            ["doctor", "--help"],
            ["explain", "--help"],
        ],
    )
    def test_help_is_given(self, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
        assert "usage: bitstore" in capsys.readouterr().out

    def test_an_interrupt_is_no_fault(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def interrupt(*_: object, **__: object) -> int:
            raise KeyboardInterrupt

        monkeypatch.setattr("entrypoints.cli.demo.demo", interrupt)
        assert main(["demo"]) == 130
        assert capsys.readouterr().err == ""
