"""A fleet of simulated doors that speak the real protocol, for load and faults."""
