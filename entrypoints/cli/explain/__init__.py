"""`bitstore explain`: what a refused upload means. `bitstore doctor` reads answers of stores by the same tables."""
