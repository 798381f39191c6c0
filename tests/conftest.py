"""What every test may ask for."""

import os

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.stores.fixtures", "tests.stores.seen"]

# A slow machine must not fail a test: no deadlines. `HYPOTHESIS_PROFILE=thorough` looks fifty times as hard.
settings.register_profile(
    "default",
    max_examples=100,
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", settings.get_profile("default"), max_examples=5_000, derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
