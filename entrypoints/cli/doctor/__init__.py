"""`bitstore doctor`: tries an operator's own configuration against the real store, and says in words what is wrong."""
