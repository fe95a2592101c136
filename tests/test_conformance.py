"""The conformance run: every operation of both services, held against the committed table `conformance.txt`.

A new failure and a new pass both fail the test of their operation until the line is changed; with
`--update-baseline` the run writes the table, and its counts into the documents, in place of comparing them.
"""

import pytest

from support.conformance.baseline import DOCUMENTS, Baseline, passes_all, quote, quoted
from support.conformance.conduct import CONDUCTS
from support.conformance.judge import judge
from support.conformance.operations import OPERATIONS
from support.conformance.stage import Stage
from support.conformance.violations import violations

pytestmark = pytest.mark.any_engine

BASELINE = Baseline("conformance.txt")


@pytest.fixture(scope="module")
def verdicts(server, tables, request):
    """The verdict on each operation, in the order of the services' lists; nothing invalid left a trace."""
    stage = Stage(server)
    try:
        verdicts = {operation: judge(stage, operation) for operation in OPERATIONS}
    finally:
        stage.close()
    lines = [verdict.line for verdict in verdicts.values()]
    tables["conformance"] = [text for verdict in verdicts.values() for text in (verdict.line, *verdict.why)]
    if request.config.getoption("update_baseline"):
        BASELINE.write(lines)
        quote(sum(map(passes_all, lines)), len(lines))
    return verdicts


def test_every_operation_of_both_services_has_a_conduct():
    assert set(CONDUCTS) == set(OPERATIONS)
    assert len(OPERATIONS) == 30 + 51


KINDS_OF_DEMAND = ("not be null", "have length greater", "have length less", "have value greater", "have value less",
                   "satisfy enum value set", "satisfy regular expression pattern")


def test_constraints_of_every_kind_are_broken():
    arns = {"AppInstanceArn": "arn:aws:chime:us-east-1:000000000000:app-instance/0"}
    demands = [demand for operation in OPERATIONS for _, _, expected in violations(operation, arns)
               for _, demand in expected]
    assert {kind for kind in KINDS_OF_DEMAND if any(demand.startswith(kind) for demand in demands)} == set(
        KINDS_OF_DEMAND)
    assert all(demand.startswith(KINDS_OF_DEMAND) for demand in demands)


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_an_operation_does_what_its_line_of_the_baseline_says(verdicts, operation):
    verdict = verdicts[operation]
    assert verdict.line == BASELINE.lines().get(str(operation)), verdict.reasons


def test_the_baseline_has_a_line_for_each_operation_and_no_other(verdicts):
    assert list(BASELINE.lines()) == [str(operation) for operation in verdicts]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_the_documents_quote_the_counts_of_the_run(verdicts, document):
    passed = sum(passes_all(verdict.line) for verdict in verdicts.values())
    assert quoted(document) == (passed, len(verdicts))
