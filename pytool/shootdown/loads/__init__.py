"""Real loads: programs of the distribution's packages that run in the guest as jobs."""
