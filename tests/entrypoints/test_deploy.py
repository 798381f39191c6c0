"""What operators are given: the dashboard, the compose file, the Dockerfile. They agree with the service as it is."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml

from entrypoints.cli.main import main
from entrypoints.settings import S3Settings, Settings
from tests.entrypoints.http.live_service import CONTENT, LiveService, batch, live_service
from tests.scraped import scrape
from tests.serve import bitstore_serve
from tests.stores.processes import free_port
from tests.stores.servers import RunningStore, start_seaweedfs_as
from tests.tokens import public_pem, rsa_key

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "entrypoints" / "deploy"
DASHBOARD: Mapping[str, Any] = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
COMPOSE = (DEPLOY / "compose.yaml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SECRET = "a-secret-of-the-store"


def served_by(arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> tuple[str, int, int]:
    """Run a command that must serve, and give host, port and workers."""
    served: list[tuple[str, int, int]] = []

    def serve(host: str, port: int, workers: int) -> int:
        served.append((host, port, workers))
        return 0

    monkeypatch.setattr("entrypoints.cli.serve.serve", serve)
    assert main(arguments) == 0
    (once,) = served
    return once


class TestDashboard:
    def queries(self) -> Sequence[str]:
        shown = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
        return [*shown, *(one["query"]["query"] for one in DASHBOARD["templating"]["list"] if one["type"] == "query")]

    def test_every_metric_that_it_asks_for_exists(self) -> None:
        asked = {name for query in self.queries() for name in re.findall(r"\b(?:bitstore|process)_\w+", query)}
        with live_service() as service:
            service.send("GET", "/healthz")
            told = scrape(service.origin).names
        assert len(asked) > 15
        assert asked <= told

    def test_every_label_that_it_asks_for_exists(self) -> None:
        lists = [labels for query in self.queries() for labels in re.findall(r"by \(([^)]*)\)", query)]
        grouped = {label for labels in lists for label in labels.split(", ")}
        with live_service() as service:
            service.send("GET", "/healthz")
            told = {name for name in grouped if scrape(service.origin).values_of(name)}
        assert grouped == told

    def test_every_metric_of_ours_is_shown(self) -> None:
        shown = " ".join(self.queries())
        with live_service() as service:
            told = scrape(service.origin).families.values()
        names = {family.name + ("_total" if family.type == "counter" else "") for family in told}
        assert {name for name in names if name not in shown} == set()

    def test_panels_lie_side_by_side(self) -> None:
        places = [
            (column, row)
            for panel in DASHBOARD["panels"]
            for column in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
            for row in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
        ]
        assert len(places) == len(set(places))
        assert max(column for column, _ in places) < 24
        ids = [panel["id"] for panel in DASHBOARD["panels"]]
        assert len(ids) == len(set(ids))


def compose(**environ: str) -> Any:
    """Read the compose file as Docker Compose does: variables first, with their defaults; KeyError for one missing."""

    def value(variable: re.Match[str]) -> str:
        given = environ.get(variable["name"])
        return given or (variable["default"] if variable["default"] is not None else environ[variable["name"]])

    text = re.sub(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*)|:\?[^}]+)\}", value, COMPOSE)
    assert "$" not in re.sub(r"^ *#.*$", "", text, flags=re.MULTILINE)
    return yaml.safe_load(text)


@pytest.fixture
def public_key(tmp_path: Path) -> Path:
    path = tmp_path / "public.pem"
    path.write_text(public_pem(rsa_key()))
    return path


@pytest.fixture
def services(public_key: Path) -> Mapping[str, Any]:
    whole = compose(STORAGE_SECRET_ACCESS_KEY=SECRET, DATAHUB_PUBLIC_KEY_FILE=str(public_key))
    made: Mapping[str, Any] = whole["services"]
    return made


class TestCompose:
    def test_secrets_and_keys_have_no_default(self) -> None:
        for given in ({"STORAGE_SECRET_ACCESS_KEY": SECRET}, {"DATAHUB_PUBLIC_KEY_FILE": "public.pem"}):
            with pytest.raises(KeyError):
                compose(**given)

    def test_the_environment_of_bitstore_is_one_that_it_accepts(
        self, services: Mapping[str, Any], public_key: Path
    ) -> None:
        environ = self.environment(services, public_key)
        settings = Settings.from_environment(environ)
        assert isinstance(settings.store, S3Settings)
        assert settings.store.flavour.name == "seaweedfs"
        assert (settings.store.internal.url, settings.store.public.url) == (
            "http://seaweedfs:8333/files",
            "http://localhost:8333/files",
        )
        assert set(environ) <= set(settings.effective)

    def environment(self, services: Mapping[str, Any], public_key: Path) -> dict[str, str]:
        environ: dict[str, str] = dict(services["bitstore"]["environment"])
        (mounted,) = services["bitstore"]["configs"]
        assert (mounted["source"], mounted["target"]) == ("public_key", environ["DATAHUB_PUBLIC_KEY"])
        return environ | {"DATAHUB_PUBLIC_KEY": str(public_key)}

    def test_only_this_machine_reaches_the_ports(self, services: Mapping[str, Any]) -> None:
        ports = [port for service in services.values() for port in service.get("ports", ())]
        assert ports
        assert all(port.startswith("127.0.0.1:") for port in ports)

    def test_prometheus_and_grafana_are_there_on_demand(self, services: Mapping[str, Any]) -> None:
        assert {name for name, service in services.items() if "profiles" not in service} == {"bitstore", "seaweedfs"}
        assert services["prometheus"]["profiles"] == services["grafana"]["profiles"] == ["monitoring"]

    def test_what_is_mounted_is_there(self, services: Mapping[str, Any], public_key: Path) -> None:
        whole = compose(STORAGE_SECRET_ACCESS_KEY=SECRET, DATAHUB_PUBLIC_KEY_FILE=str(public_key))
        for config in whole["configs"].values():
            assert yaml.safe_load(config["content"]) if "content" in config else (DEPLOY / config["file"]).is_file()
        mounted = {one["source"] for service in services.values() for one in service.get("configs", ())}
        assert mounted == set(whole["configs"])
        (job,) = yaml.safe_load(whole["configs"]["prometheus"]["content"])["scrape_configs"]
        assert job["static_configs"] == [{"targets": ["bitstore:8000"]}]
        assert (DEPLOY / services["bitstore"]["build"]["context"] / "Dockerfile").samefile(ROOT / "Dockerfile")

    def test_both_work_together_as_they_are_set_up(
        self, services: Mapping[str, Any], public_key: Path, tmp_path: Path
    ) -> None:
        """The same programs, commands and environments; but for the addresses, and for the containers around them."""
        mini, *options = services["seaweedfs"]["command"]
        assert mini == "mini"
        keys = services["seaweedfs"]["environment"]
        environ = self.environment(services, public_key)
        described = RunningStore(
            name="SeaweedFS of compose.yaml",
            endpoint_url="",
            bucket=environ["STORAGE_BUCKET_NAME"],
            access_key_id=environ["STORAGE_ACCESS_KEY_ID"],
            secret_access_key=environ["STORAGE_SECRET_ACCESS_KEY"],
            region="us-east-1",
            flavour="seaweedfs",
        )
        with start_seaweedfs_as(options, keys, described, tmp_path) as store:
            health = services["seaweedfs"]["healthcheck"]["test"][-1]
            here = health.replace("http://127.0.0.1:8333", store.endpoint_url)
            assert urllib3.request("GET", here, retries=False).status == 200
            del environ["PUBLIC_URL"]
            environ |= {"STORAGE_HOSTNAME": store.endpoint_url, "STORAGE_PUBLIC_URL": store.endpoint_url}
            with (
                bitstore_serve(tmp_path, environ) as origin,
                urllib3.PoolManager(retries=False, timeout=20) as http,
            ):
                service = LiveService(origin, http)
                file = service.sign(batch(more={"accept": ["PUT"]}))["a.csv"]
                sent = http.request("PUT", file["upload_url"], body=CONTENT, headers=file["upload_headers"])
                assert sent.status == 200
                assert service.sign(batch())["a.csv"]["exists"] is True

    def test_the_command_of_bitstore_is_one_that_it_has(
        self, services: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert served_by(services["bitstore"]["command"], monkeypatch) == ("0.0.0.0", 8000, 2)


class TestDockerfile:
    def instructions(self) -> Iterator[tuple[str, str]]:
        text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
        for line in filter(None, text.splitlines()):
            name, _, rest = line.partition(" ")
            yield name, rest.strip()

    def values(self, name: str) -> Sequence[str]:
        return [rest for instruction, rest in self.instructions() if instruction == name]

    def copied(self) -> Sequence[str]:
        """What comes from the repository into the stage that builds."""
        return [
            source for rest in self.values("COPY") if not rest.startswith("--from") for source in shlex.split(rest)[:-1]
        ]

    def test_what_it_copies_is_all_that_docker_gets(self) -> None:
        copied = self.copied()
        assert all((ROOT / source).exists() for source in copied)
        ignored = (ROOT / ".dockerignore").read_text().splitlines()
        assert ignored[1] == "*"
        assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == set(copied)
        assert any(fnmatch("domain/__pycache__", line) for line in ignored)

    def test_what_it_copies_is_enough_for_a_wheel(self, tmp_path: Path) -> None:
        for source in self.copied():
            (tmp_path / source).symlink_to(ROOT / source)
        command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", "dist"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)
        assert len(list((tmp_path / "dist").glob("*.whl"))) == 1

    def test_requirements_are_those_that_are_pinned_by_hash(self) -> None:
        (install, project) = [rest for rest in self.values("RUN") if " install " in rest and "pip " in rest]
        assert "--require-hashes -r requirements.txt" in install
        assert "--no-deps --no-build-isolation ." in project

    def test_it_runs_as_nobody_in_particular(self) -> None:
        assert self.values("USER") == ["10001:10001"]
        names = [name for name, _ in self.instructions()]
        assert names.index("USER") < names.index("ENTRYPOINT")

    def test_what_it_starts_is_the_service(self, monkeypatch: pytest.MonkeyPatch) -> None:
        (entrypoint,), (command,) = self.values("ENTRYPOINT"), self.values("CMD")
        assert json.loads(entrypoint) == ["bitstore"]
        assert served_by(json.loads(command), monkeypatch) == ("0.0.0.0", 8000, 1)
        assert self.values("EXPOSE") == ["8000"]

    def test_its_health_check_tells_whether_the_service_is_alive(self) -> None:
        (check,) = self.values("HEALTHCHECK")
        python, option, program = json.loads(check.partition(" CMD ")[2])
        assert (python, option) == ("python", "-c")

        def ends_with(port: int) -> int:
            command = [sys.executable, "-c", program.replace("8000", str(port))]
            return subprocess.run(command, check=False, capture_output=True, timeout=30).returncode

        with live_service() as service:
            assert ends_with(int(service.origin.rpartition(":")[2])) == 0
        assert ends_with(free_port()) == 1
