"""The `bitstore` command."""
