"""Trying to break the service: hostile input, fuzzing, faults, kills, load.

Everyday runs try a little of each. `make test-hard` tries much more (BITSTORE_EFFORT times), and tells how much.
"""
