"""The conformance run: every operation of both services, judged from outside and held against a baseline.

`operations.py` takes the list from botocore's models, `violations.py` breaks every constraint in turn, the other
modules say for each operation what a good call is and who may not make it, `judge.py` makes the calls,
`baseline.py` reads and writes `tests/conformance.txt`.
"""
