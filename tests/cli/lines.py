"""The AWS CLI, driven line by line like the scripts in `../js`: the CLI's own entry point, in one process for all calls.

Run as a script with the endpoint as its argument; see `../js/lines.mjs` for what a line holds.
"""

import contextlib
import io
import json
import re
import sys

import awscli.clidriver
from botocore import xform_name

REFUSED = re.compile(r"An error occurred \((\w+)\) when calling the \w+ operation[^:]*: (.*)", re.DOTALL)


def arguments(service, operation, input):
    """The command line of a call: what is no text is written as JSON."""
    yield from (f"chime-sdk-{service}", xform_name(operation, "-"))
    for member, value in input.items():
        text = value if isinstance(value, str) else json.dumps(value)
        yield from (f"--{xform_name(member, '-')}", text)


def answer(driver, endpoint, line):
    call = json.loads(line)
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = driver.main([*arguments(**call), "--endpoint-url", endpoint, "--output", "json"])
    if code == 0:
        return {"output": json.loads(out.getvalue() or "{}")}
    told = REFUSED.search(errors.getvalue())
    code, message = told.groups() if told else ("", errors.getvalue())
    return {"error": {"code": code, "message": message.strip()}}


def main():
    driver = awscli.clidriver.create_clidriver()
    for line in sys.stdin:
        print(json.dumps(answer(driver, sys.argv[1], line)), flush=True)


if __name__ == "__main__":
    main()
