"""The rules: pure values and decisions. Standard library and attrs only; no I/O, no clock, no HTTP, no S3."""
