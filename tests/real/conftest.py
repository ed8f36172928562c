"""Lets the tests of this directory import the helper beside them (odd_pictures.py)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
