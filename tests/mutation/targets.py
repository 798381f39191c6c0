"""The modules that decide about security, each with the tests that should notice what becomes of it."""

from collections.abc import Mapping

from tests.mutation.running import Target


def _target(path: str, *tests: str) -> Target:
    return Target(path, [f"tests/{name}.py" for name in tests])


TARGETS: Mapping[str, Target] = {
    target.path: target
    for target in (
        _target("domain/identity.py", "domain/test_identity"),
        _target(
            "domain/values.py", "domain/test_values", "domain/test_keys", "domain/test_files", "domain/test_multipart"
        ),
        _target("domain/strict_json.py", "domain/test_strict_json"),
        _target("domain/batches.py", "domain/test_batches"),
        _target("domain/inspection.py", "domain/test_inspection", "domain/test_multipart"),
        _target("domain/keys.py", "domain/test_keys"),
        _target("domain/patterns.py", "domain/test_patterns", "domain/test_pattern_reading"),
        _target("domain/files.py", "domain/test_files", "domain/test_multipart"),
        _target("domain/multipart.py", "domain/test_multipart"),
        _target("adapters/tokens/cache.py", "adapters/tokens/test_cache"),
        _target("adapters/tokens/jwt.py", "adapters/tokens/test_jwt"),
        _target("adapters/tokens/key_documents.py", "adapters/tokens/test_key_documents"),
        _target("adapters/tokens/key_sources.py", "adapters/tokens/test_key_sources"),
        _target("adapters/stores/post_policy.py", "adapters/stores/test_post_policy"),
        _target("adapters/stores/sigv4_verify.py", "adapters/stores/test_sigv4_verify"),
        _target(
            "adapters/stores/served_uploads.py",
            "adapters/stores/test_served_uploads",
            "adapters/stores/test_served_parts",
        ),
        _target("adapters/stores/s3_upload_ids.py", "adapters/stores/test_s3_upload_ids"),
    )
}
