"""`python3 -m board_app --bundle DIR --source SOURCE`."""

from __future__ import annotations

import sys

from board_app.cli import main

sys.exit(main())
