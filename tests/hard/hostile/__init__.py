"""Input that nobody means well with, over HTTP against a running server."""
