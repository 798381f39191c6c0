"""The edges: settings, HTTP, the command line."""
