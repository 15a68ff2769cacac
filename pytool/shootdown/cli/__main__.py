"""``python -m shootdown.cli``, the same as ``shootdown``."""

import sys

from shootdown.cli.main import main

sys.exit(main())
