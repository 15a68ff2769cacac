"""A recorded race, checked anew by `shootdown demo`; ``bundle`` makes it."""
