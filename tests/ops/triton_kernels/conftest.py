"""Needs Triton.

The folder is not called triton, as that of the package is: pytest puts the folder above on the path, where it would hide
Triton itself.
"""

from __future__ import annotations

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("triton") else ["test_*.py"]
