"""Reading, writing and describing traces; `schema` is the single source of the format."""
