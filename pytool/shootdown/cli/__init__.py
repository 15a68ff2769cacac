"""The command line: one thin file per subcommand."""

from shootdown.compiled import use

# Before any subcommand imports the checker.
use()
