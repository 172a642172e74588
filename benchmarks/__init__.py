"""Side-by-side benchmarks. `python -m benchmarks list` shows the cases, `python -m benchmarks run [CASE…]` runs them.

A case (`cases.py`) is a computation (`families/`) on a graph (`graphs.py`), its rivals and its bars. `runner.py` starts a fresh
process for each setting, `worker.py` is what happens there: parity first, then timing or memory; `report.py` shows the result.
"""
