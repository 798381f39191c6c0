"""A store that comes with a distribution of its own, as a stranger would write it: `bitstore-shelf`."""
