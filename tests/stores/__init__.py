"""Real object stores, started and stopped by the tests that need them."""
