"""One foreign thing each, behind a port of the application; its exceptions are translated here."""
