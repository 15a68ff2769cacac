"""Everything learned from a kernel binary, and how one is fetched."""
