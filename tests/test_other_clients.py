"""The good call of every operation, made by other clients: the AWS CLI and both SDKs for JavaScript.

What the call needs and what it does is made and seen by boto3, as in the conformance run; the committed table
`clients.txt` says which client can do what, and is kept like `conformance.txt`.
"""

import contextlib

import pytest

from support.conformance.baseline import Baseline
from support.conformance.judge import judge_clients
from support.conformance.operations import OPERATIONS
from support.conformance.stage import Stage
from support.other_clients import COMMANDS, OtherClient

pytestmark = pytest.mark.timeout(300)

BASELINE = Baseline("clients.txt")


@pytest.fixture(scope="module")
def verdicts(server, tables, request):
    """The verdict on each operation, in the order of the services' lists."""
    with contextlib.ExitStack() as stack:
        stage = stack.enter_context(contextlib.closing(Stage(server)))
        calls = {name: stack.enter_context(OtherClient(name, server)).call for name in COMMANDS}
        verdicts = {operation: judge_clients(stage, operation, calls) for operation in OPERATIONS}
    tables["other clients"] = [text for verdict in verdicts.values() for text in (verdict.line, *verdict.why)]
    if request.config.getoption("update_baseline"):
        BASELINE.write([verdict.line for verdict in verdicts.values()])
    return verdicts


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_an_operation_answers_each_client_as_its_line_of_the_baseline_says(verdicts, operation):
    verdict = verdicts[operation]
    assert verdict.line == BASELINE.lines().get(str(operation)), verdict.reasons


def test_the_baseline_has_a_line_for_each_operation_and_no_other(verdicts):
    assert list(BASELINE.lines()) == [str(operation) for operation in verdicts]
