"""The tests: a mirror of the four layers, and what they share."""
