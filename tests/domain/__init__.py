"""The rules, tested as properties."""
