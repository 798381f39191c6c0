"""What every test may ask for."""

import gc
import os

from hypothesis import HealthCheck, settings

from tests.effort import EFFORT

pytest_plugins = ["tests.stores.fixtures", "tests.stores.seen", "tests.tried"]

# A slow machine must not fail a test: no deadlines.
settings.register_profile(
    "default",
    max_examples=100 * EFFORT,
    deadline=None,
    derandomize="CI" in os.environ and EFFORT == 1,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("default")


def pytest_collection_finish() -> None:
    """Leave what all tests share out of what the collector goes through: it takes a tenth of a run."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
