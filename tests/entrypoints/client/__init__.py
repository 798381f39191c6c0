"""Tests of the client, most of them against the whole service and real stores."""
