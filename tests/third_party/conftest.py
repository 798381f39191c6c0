"""The tests of the example are its author's: they are run where it is installed, see `test_shelf.py`."""

collect_ignore = ["bitstore-shelf"]
