"""What recording and checking cost, measured in pairs against plain TCG in the same run."""

from shootdown.compiled import use

# Before anything here imports the checker, in processes that benchmarks start, too.
use()
