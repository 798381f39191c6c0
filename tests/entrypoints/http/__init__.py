"""HTTP, over real servers on the loopback interface."""
