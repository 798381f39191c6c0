"""The edges: settings, wiring, HTTP and the command line. The only layer that sees all others."""
