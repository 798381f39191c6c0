"""The adapters, against what they adapt to."""
