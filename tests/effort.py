"""How hard the tests look for faults."""

import os

EFFORT = int(os.environ.get("BITSTORE_EFFORT", "1"))
"""By how much to multiply what a test tries at random; 1 every day, and then the same each time under CI."""
