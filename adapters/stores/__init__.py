"""Object stores: each an adapter that passes the contract suite."""
