"""Clients that speak the deployed wire format, each from its description alone, against the service as it is run."""
