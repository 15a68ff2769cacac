"""A recording as pandas tables; `recording.Trace` is what `shootdown.Trace` gives."""
