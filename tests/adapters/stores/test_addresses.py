"""Addresses: the URLs of buckets and objects in both styles, and which URLs name an object of ours."""

from urllib.parse import quote, urlsplit

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from adapters.stores.addresses import Addressing, BucketAddress, is_ip_address
from adapters.stores.sigv4 import Signer, uri_encode_path
from domain.keys import ObjectKey
from tests import strategies as bits
from tests.adapters.stores.aws import BUCKET, EXAMPLE, NOW, ORIGIN, boto

PATH = BucketAddress(ORIGIN, BUCKET)
VIRTUAL = BucketAddress(ORIGIN, BUCKET, Addressing.VIRTUAL)
SERVED = BucketAddress("http://127.0.0.1:8000", BUCKET, base_path="/bits/store")
ADDRESSES = [PATH, VIRTUAL, SERVED, BucketAddress("http://[::1]:9000", BUCKET)]
object_keys = bits.short_paths.map(ObjectKey)


class TestUrls:
    @pytest.mark.parametrize("address", [PATH, VIRTUAL], ids=["path", "virtual"])
    @given(key=object_keys)
    def test_are_those_of_boto3(self, address: BucketAddress, key: ObjectKey) -> None:
        with boto(Signer(EXAMPLE, "us-east-1", NOW), address.addressing.value) as client:
            theirs = client.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": key})
        assert f"{address.url}/{uri_encode_path(key)}" == theirs.partition("?")[0]
        assert urlsplit(theirs).path == uri_encode_path(address.path_of(key))

    def test_have_a_base_path_where_we_serve_the_store_ourselves(self) -> None:
        assert SERVED.url == f"http://127.0.0.1:8000/bits/store/{BUCKET}"
        assert SERVED.path_of(ObjectKey("a b")) == f"/bits/store/{BUCKET}/a b"

    @pytest.mark.parametrize(
        ("origin", "normal"),
        [
            ("HTTPS://S3.Example.Com", "https://s3.example.com"),
            ("https://s3.example.com:443", "https://s3.example.com"),
            ("http://s3.example.com:80/", "http://s3.example.com"),
            ("http://s3.example.com:443", "http://s3.example.com:443"),
            ("http://[2001:DB8::1]:9000", "http://[2001:db8::1]:9000"),
            ("http://example.com:8000/a/path", "http://example.com:8000"),
        ],
    )
    def test_have_one_spelling_of_the_host(self, origin: str, normal: str) -> None:
        assert BucketAddress(origin, BUCKET).origin == normal


class TestForms:
    def test_a_bucket_at_a_named_host_has_two(self) -> None:
        assert [form.url for form in PATH.forms()] == [PATH.url, VIRTUAL.url]
        assert [form.url for form in VIRTUAL.forms()] == [VIRTUAL.url, PATH.url]

    @pytest.mark.parametrize(
        "address",
        [
            SERVED,
            BucketAddress("http://127.0.0.1:9000", BUCKET),
            BucketAddress("http://[::1]:9000", BUCKET),
            BucketAddress("https://10.0.0.1", BUCKET),
        ],
    )
    def test_a_bucket_has_one_where_no_name_can_stand_before_the_host(self, address: BucketAddress) -> None:
        assert list(address.forms()) == [address]

    @pytest.mark.parametrize(
        ("host", "is_ip"),
        [
            ("127.0.0.1", True),
            ("::1", True),
            ("2001:db8::1", True),
            ("s3.example.com", False),
            ("1.2.3", False),
            ("", False),
        ],
    )
    def test_addresses_are_told_from_names(self, host: str, is_ip: bool) -> None:
        assert is_ip_address(host) is is_ip


class TestKeyOfUrl:
    @given(address=st.sampled_from(ADDRESSES), key=object_keys)
    def test_an_objects_url_names_its_key(self, address: BucketAddress, key: ObjectKey) -> None:
        assert address.key_of(f"{address.url}/{uri_encode_path(key)}") == key
        assert address.key_of(f"{address.url}/{quote(key, safe='')}") == key

    @given(address=st.sampled_from(ADDRESSES), key=object_keys)
    def test_a_percent_sequence_is_decoded_once(self, address: BucketAddress, key: ObjectKey) -> None:
        once = quote(key, safe="")
        assume(ObjectKey.fault(once) is None)  # it is longer, and may be too long
        twice = quote(once, safe="")
        assert address.key_of(f"{address.url}/{twice}") == once

    @pytest.mark.parametrize("address", [PATH, VIRTUAL], ids=["path", "virtual"])
    def test_the_other_style_is_another_form(self, address: BucketAddress) -> None:
        other = VIRTUAL if address is PATH else PATH
        assert address.key_of(f"{other.url}/alice/a.csv") is None

    @pytest.mark.parametrize("spelling", ["HTTPS://S3.Example.COM:9000", "https://s3.EXAMPLE.com:9000"])
    def test_the_case_of_scheme_and_host_does_not_matter(self, spelling: str) -> None:
        assert PATH.key_of(f"{spelling}/{BUCKET}/alice/a.csv") == "alice/a.csv"

    def test_the_default_port_may_be_written(self) -> None:
        assert BucketAddress("https://s3.example.com", BUCKET).key_of(f"https://s3.example.com:443/{BUCKET}/a") == "a"

    @pytest.mark.parametrize(
        "url",
        [
            *("", "alice/a.csv", f"/{BUCKET}/alice/a.csv", f"//s3.example.com:9000/{BUCKET}/a", "https:alice"),
            *(
                f"http://s3.example.com:9000/{BUCKET}/a",
                f"https://s3.example.com/{BUCKET}/a",
                f"ftp://s3.example.com/{BUCKET}/a",
            ),
            *(f"https://s3.example.com.evil.example:9000/{BUCKET}/a", f"https://evil-s3.example.com:9000/{BUCKET}/a"),
            *(f"https://s3.example.com.:9000/{BUCKET}/a", f"https://s3.example.com:9000.evil.example/{BUCKET}/a"),
            *(f"https://me@s3.example.com:9000/{BUCKET}/a", f"https://s3.example.com:9000@evil.example/{BUCKET}/a"),
            *(f"{PATH.url}2/a", f"{ORIGIN}/A-BUCKET/a", f"{ORIGIN}/other/{BUCKET}/a", f"{ORIGIN}//{BUCKET}/a"),
            *(
                PATH.url,
                f"{PATH.url}/",
                f"{PATH.url}//a",
                f"{PATH.url}/a/",
                f"{PATH.url}/a//b",
                f"{ORIGIN}/{BUCKET}\\a",
            ),
            *(f"{PATH.url}/a?versionId=1", f"{PATH.url}/a?", f"{PATH.url}/a#x", f"{PATH.url}/a#", f"{PATH.url}/a?x#y"),
            *(f"{PATH.url}/.", f"{PATH.url}/..", f"{PATH.url}/a/../b", f"{PATH.url}/a/%2e%2e/b", f"{PATH.url}/%2E/b"),
            *(
                f"{PATH.url}/../{BUCKET}/a",
                f"{ORIGIN}/x/../{BUCKET}/a",
                f"{PATH.url}/a%5Cb",
                f"{PATH.url}/a%00",
                f"{PATH.url}/%"[:-1],
            ),
            *(
                f"{PATH.url}/a%0A",
                f"{PATH.url}/%ff",
                f"{PATH.url}/%ed%a0%80",
                f"{PATH.url}/%c0%ae%c0%ae/b",
                f"{PATH.url}/e%CC%81",
            ),
            *(
                f"{PATH.url}/${{filename}}",
                f"{PATH.url}/%24%7Bfilename%7D",
                f"{PATH.url}/{'x' * 256}",
                f"{PATH.url}/a\tb",
            ),
            *(
                f" {PATH.url}/a",
                f"{PATH.url}/a ",
                f"{PATH.url}/a\n",
                f"\t{PATH.url}/a",
                f"{PATH.url}/a\x00",
                f"{PATH.url}/\u202ea",
            ),
            *(
                f"h\nttps://s3.example.com:9000/{BUCKET}/a",
                f"https://s3.exa\tmple.com:9000/{BUCKET}/a",
                f"{PATH.url}/\ud800",
            ),
            *(
                f"https://[::1/{BUCKET}/a",
                f"https://s3.example.com:x/{BUCKET}/a",
                f"https://s3.example.com:99999/{BUCKET}/a",
            ),
            *("https://", "https:///x", "://", "javascript:alert(1)", f"https:\\\\s3.example.com:9000\\{BUCKET}\\a"),
        ],
    )
    def test_anything_else_names_none(self, url: str) -> None:
        assert PATH.key_of(url) is None

    @given(
        url=bits.any_text
        | bits.any_text.map(f"{PATH.url}/".__add__)
        | bits.any_text.map("https://s3.example.com".__add__)
    )
    @example("https://\u2100/")
    def test_any_text_names_a_valid_key_or_none(self, url: str) -> None:
        for address in ADDRESSES:
            key = address.key_of(url)
            if key is not None:
                assert bits.is_legal_path(key)
                assert url.startswith(address.url)
