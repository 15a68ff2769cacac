"""What recording and checking cost, measured in pairs against plain TCG in the same run."""
