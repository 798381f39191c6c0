"""What proves a principal: token verification and the sources of its keys."""
