"""What BitStore costs, beside what else could be used in its place: `make bench`, or `python -m tests.benchmarks`.

All that is compared is measured in turns, in one run on one machine, so the ratios mean something where the absolute
figures don't. Nothing here decides a test.
"""
