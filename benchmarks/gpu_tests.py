"""Runs the tests marked `cuda`, and tells what came out."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
# Processes that test: compiling kernels takes processors, and little of the GPU.
WORKERS = max((os.cpu_count() or 2) - 2, 1)


def run_tests(seconds: float) -> dict[str, Any]:
    """Runs the tests marked `cuda`, which stand in files with that word in their names."""
    files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*cuda*.py"))
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "tests.xml"
        # Other versions of libraries than the pinned ones have other warnings, which are no errors here.
        command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", "-W", "default", f"--junitxml={found}", *files]
        if importlib.util.find_spec("xdist") is not None:
            command += ["-n", str(WORKERS)]
        process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            # With the processes that it shares the work with, or they would run beside the measurements.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return {"succeeded": False, "timed_out": True}
        return read_tests(found)


def read_tests(path: Path) -> dict[str, Any]:
    """What pytest's XML file says, which is not there where pytest itself failed."""
    if not path.is_file():
        return {"succeeded": False, "timed_out": False}
    cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    failed = [case.get("name") for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    passed = len(cases) - len(failed) - skipped
    return {
        "succeeded": passed > 0 and not failed,
        "timed_out": False,
        "passed": passed,
        "skipped": skipped,
        "failed": failed,
    }


def told(tests: Mapping[str, Any]) -> str:
    if tests["succeeded"]:
        return f"[green]{tests['passed']} tests passed[/]"
    if tests["timed_out"]:
        return "[red]the tests took too long[/]"
    return f"[red]tests failed:[/] {', '.join(tests.get('failed', [])) or 'pytest did not run'}"
