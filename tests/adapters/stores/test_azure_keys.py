"""User delegation keys, from Azurite, which gives them to whomever a token names; and from accounts that give none."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
import urllib3
from azure.core.exceptions import ServiceRequestError
from azure.storage.blob import UserDelegationKey as SdkKey
from azure.storage.blob.aio import BlobServiceClient

from adapters.stores import azure_keys
from adapters.stores.addresses import BucketAddress
from adapters.stores.azure import Endpoint
from adapters.stores.azure_keys import KEY_LIFETIME, UserDelegationKeys
from adapters.stores.azure_signing import AzureSigning
from adapters.stores.contract import CONTENT, make_upload, send, sign
from domain.errors import ErrorCode, Unavailable
from domain.uploads import UploadMethod
from tests.live import wait_until
from tests.stores.azure_server import RunningAzurite, identity_client


@asynccontextmanager
async def started(keys: UserDelegationKeys) -> AsyncIterator[None]:
    await keys.start()
    try:
        yield
    finally:
        await keys.stop()


class FakeService(BlobServiceClient):
    """Gives what it is told to, one after the other, and the last for ever; an exception is raised."""

    def __init__(self, *answers: SdkKey | Exception) -> None:
        super().__init__("https://datasets.blob.core.windows.net")
        self.answers = list(answers)
        self.asked = 0

    async def get_user_delegation_key(self, *_times: object, **_options: object) -> SdkKey:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def sdk_key(**changes: str | None) -> SdkKey:
    key = SdkKey()  # type: ignore[no-untyped-call]  # the SDK's own omission
    whole: dict[str, str | None] = {
        "signed_oid": "somebody",
        "signed_tid": "somewhere",
        "signed_start": "2026-01-01T00:00:00Z",
        "signed_expiry": "2099-01-01T00:00:00Z",
        "signed_service": "b",
        "signed_version": "2026-04-06",
        "value": "c2VjcmV0",
    }
    for name, value in (whole | changes).items():
        setattr(key, name, value)
    return key


class TestAzurite:
    def test_a_key_is_there_after_the_start_and_lives_for_a_week(self, azurite_tls: RunningAzurite) -> None:
        async def scenario() -> None:
            async with identity_client(azurite_tls) as service:
                keys = UserDelegationKeys(service, azurite_tls.account)
                with pytest.raises(Unavailable) as none_yet:
                    keys()
                assert none_yet.value.code is ErrorCode.CREDENTIALS_UNAVAILABLE
                async with started(keys):
                    await keys.check()
                    left = keys().expires_at - datetime.now(UTC)
                    assert KEY_LIFETIME - timedelta(minutes=10) < left < KEY_LIFETIME

        asyncio.run(scenario())

    def test_what_it_signs_counts_at_once(self, azurite_tls: RunningAzurite) -> None:
        async def scenario() -> AzureSigning:
            async with identity_client(azurite_tls) as service:
                keys = UserDelegationKeys(service, azurite_tls.account)
                assert await keys.refresh()
            endpoint = Endpoint.parse(azurite_tls.endpoint_url)
            address = BucketAddress(endpoint.origin, azurite_tls.container, base_path=endpoint.base_path)
            return AzureSigning(address, keys, lambda: False)

        upload = make_upload()
        request = sign(asyncio.run(scenario()), upload, UploadMethod.PUT).request
        assert "&spr=https&" in request.url
        with urllib3.PoolManager(ca_certs=str(azurite_tls.certificate), retries=False) as http:
            assert send(http, request, CONTENT) == 201
        assert azurite_tls.client().download_blob(upload.key).readall() == CONTENT

    def test_an_identity_that_is_refused_has_none(
        self, azurite_tls: RunningAzurite, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def scenario() -> None:
            async with identity_client(azurite_tls, known=False) as service:
                keys = UserDelegationKeys(service, azurite_tls.account)
                assert not await keys.refresh()
                with pytest.raises(Unavailable):
                    await keys.check()

        asyncio.run(scenario())
        assert "gave no user delegation key" in caplog.text
        assert "Bearer" not in caplog.text


class TestFailures:
    @pytest.mark.parametrize(
        "failure",
        [
            ServiceRequestError("no route"),
            OSError("no route"),
            AttributeError("no start"),
            sdk_key(value=None),
            sdk_key(value=""),
            sdk_key(value="not base64!"),
            sdk_key(signed_oid=None),
            sdk_key(signed_expiry="tomorrow"),
        ],
        ids=[
            "unreachable",
            "no connection",
            "an answer without a start",
            "no secret",
            "an empty secret",
            "a secret that is no base64",
            "no object id",
            "an end that is no time",
        ],
    )
    def test_are_tried_again_until_there_is_a_key(
        self, monkeypatch: pytest.MonkeyPatch, failure: SdkKey | Exception
    ) -> None:
        monkeypatch.setattr(azure_keys, "RETRY_SECONDS", 0.001)

        async def scenario() -> None:
            async with FakeService(failure, failure, sdk_key()) as service:
                keys = UserDelegationKeys(service, "datasets")
                async with started(keys):
                    await asyncio.to_thread(wait_until, lambda: service.asked == 3)
                    assert keys().secret == b"secret"

        asyncio.run(scenario())

    def test_take_a_bounded_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(azure_keys, "_FETCH_SECONDS", 0.01)

        class Silent(FakeService):
            async def get_user_delegation_key(self, *_times: object, **_options: object) -> SdkKey:
                await asyncio.Event().wait()
                raise AssertionError

        async def scenario() -> None:
            async with Silent() as service:
                assert not await UserDelegationKeys(service, "datasets").refresh()

        asyncio.run(scenario())

    def test_leave_the_key_before_in_use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(azure_keys, "REFRESH_SECONDS", 0.001)
        monkeypatch.setattr(azure_keys, "RETRY_SECONDS", 0.001)

        async def scenario() -> None:
            async with FakeService(sdk_key(), ServiceRequestError("no route")) as service:
                keys = UserDelegationKeys(service, "datasets")
                async with started(keys):
                    await asyncio.to_thread(wait_until, lambda: service.asked >= 3)
                    await keys.check()

        asyncio.run(scenario())

    def test_a_key_that_has_expired_is_not_healthy(self) -> None:
        async def scenario() -> None:
            async with FakeService(sdk_key(signed_expiry="2020-01-01T00:00:00Z")) as service:
                keys = UserDelegationKeys(service, "datasets")
                await keys.refresh()
                with pytest.raises(Unavailable, match="expired"):
                    await keys.check()

        asyncio.run(scenario())


def test_a_new_key_replaces_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(azure_keys, "REFRESH_SECONDS", 0.001)

    async def scenario() -> None:
        async with FakeService(sdk_key(), sdk_key(value="bmV3ZXI=")) as service:
            keys = UserDelegationKeys(service, "datasets")
            async with started(keys):
                await asyncio.to_thread(wait_until, lambda: keys().secret == b"newer")

    asyncio.run(scenario())


def test_stopping_is_safe_at_any_time() -> None:
    async def scenario() -> None:
        async with FakeService(sdk_key()) as service:
            keys = UserDelegationKeys(service, "datasets")
            await keys.stop()
            await keys.start()
            await keys.stop()
            await keys.stop()
            assert "c2VjcmV0" not in repr(keys)
            assert "secret" not in repr(keys)

    asyncio.run(scenario())
