"""The races that come with the tool, a file for each operation; `shootdown race --list`."""
