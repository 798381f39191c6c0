"""The HTTP edge: routes, wire format, and the one table of status codes."""
