"""``python -m dyna_ail`` is the command ``dyna-ail``."""

from __future__ import annotations

import sys

from dyna_ail.cli import main

if __name__ == "__main__":
    sys.exit(main())
