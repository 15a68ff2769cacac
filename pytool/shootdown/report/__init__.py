"""What a run is told to its readers: result.json, KTAP and a text like a kernel report."""
