"""Judges an operation by its conduct: what a good call is, what may be unknown in it, who may not make it.

The same input is first refused in every way and then carried out, so a refusal that left a trace shows. A case
passes or fails; `-` says that the operation has no such case.
"""

import contextlib
from dataclasses import dataclass, field

import pytest
from botocore.exceptions import ClientError

from support.clients import BAD_BEARER, NO_ACCESS, answer_of, refusal, status_of
from support.conformance import channel, identity, members, message
from support.conformance.conduct import CONDUCTS
from support.conformance.operations import Operation, location
from support.conformance.stage import kind_of
from support.conformance.violations import told, violations

# The modules that register the conducts.
FAMILIES = (identity, channel, members, message)

CASES = ("happy", "violations", "unknown", "role", "bearer")
# What a case may raise when the server does not do what it should; all else is a defect of the run.
FAILURES = (AssertionError, ClientError, LookupError, pytest.fail.Exception)

# Happy cases that end in a modelled refusal, since they need a service that is never there: Kinesis.
REFUSED_HAPPY = {
    Operation("messaging", "PutMessagingStreamingConfigurations"):
        ("BadRequest", "Unable to access Kinesis stream chime-messaging-stream"),
    Operation("messaging", "GetMessagingStreamingConfigurations"): ("NotFound", None),
}

@dataclass
class Verdict:
    """What came of an operation's cases, and why a case failed."""

    operation: Operation
    cases: tuple = CASES
    results: dict = field(default_factory=dict)
    reasons: dict = field(default_factory=dict)

    def run(self, case, attempt):
        """Runs a case; it answers the number of its parts where that is worth telling."""
        try:
            count = attempt()
        except FAILURES as failure:
            self.results[case] = "fail"
            self.reasons[case] = " ".join(f"{type(failure).__name__}: {failure}".split())
        else:
            self.results[case] = "pass" if count is None else f"pass({count})"

    def give_up(self, cases, reason):
        for case in cases:
            self.results.setdefault(case, "fail")
            self.reasons.setdefault(case, reason)

    @property
    def why(self):
        """A line for each case that failed, cut to what tells it from others."""
        return [f"    {case}: {reason:.300}" for case, reason in self.reasons.items()]

    @property
    def line(self):
        return f"{self.operation}  " + " ".join(f"{case}={self.results.get(case, '-')}" for case in self.cases)


def judge(stage, operation):
    """The verdict on one operation."""
    verdict = Verdict(operation)
    conduct = CONDUCTS[operation]
    if next(violations(operation, arns_of(stage)), None):
        verdict.run("violations", lambda: check_violations(stage, operation))
    play = conduct.play(stage)
    try:
        given = next(play)
    except FAILURES as failure:
        cases = [case for case in CASES if case != "violations" and applies(conduct, case)]
        verdict.give_up(cases, f"the surroundings cannot be made: {failure}")
        return verdict
    for case, check in (("bearer", check_bearer), ("role", check_role), ("unknown", check_unknown)):
        if applies(conduct, case):
            verdict.run(case, lambda check=check: check(stage, conduct, given))
    verdict.run("happy", lambda: check_happy(conduct, given, play, boto3_of(stage)))
    return verdict


def boto3_of(stage):
    return lambda operation, given: operation.call(stage.server, given)


def judge_clients(stage, operation, calls):
    """The verdict on the good call alone, made by each of some clients: functions by their names."""
    verdict = Verdict(operation, tuple(calls))
    for client, call in calls.items():
        verdict.run(client, lambda call=call: play_through(stage, CONDUCTS[operation], call))
    return verdict


def play_through(stage, conduct, call):
    play = conduct.play(stage)
    check_happy(conduct, next(play), play, call)


def applies(conduct, case):
    return {
        "happy": True, "unknown": bool(conduct.unknown or conduct.absent),
        "role": conduct.operation.needs_bearer or bool(conduct.denied),
        "bearer": conduct.operation.takes_bearer,
    }[case]


def arns_of(stage):
    """Resources that are there, by the name of the member; what is invalid must be refused beside them."""
    return {
        "AppInstanceArn": stage.app, "AppInstanceUserArn": stage.stranger, "AppInstanceAdminArn": stage.stranger,
        "ChannelArn": stage.room, "ChannelModeratorArn": stage.stranger, "MemberArn": stage.stranger,
        "ResourceARN": stage.room, "ChimeBearer": stage.moderator, "MessageId": "0" * 64,
    }


def check_violations(stage, operation):
    """Each constraint broken in turn: 400, and the message tells and counts exactly what is wrong."""
    before = stage.snapshot()
    exception = "BadRequestException" if operation.models("BadRequestException") else "ValidationException"
    count = 0
    for path, given, expected in violations(operation, arns_of(stage)):
        try:
            operation.call(stage.server, given)
        except ClientError as error:
            answer = error.response
        else:
            raise AssertionError(f"{path} is accepted: {expected}")
        assert (status_of(answer), answer["Error"]["Code"]) == (400, exception), (path, answer)
        stated, violated = told(answer["Error"]["Message"])
        assert (stated, violated) == (len(expected), expected), (path, answer["Error"]["Message"])
        count += 1
    assert stage.snapshot() == before, "something was written"
    return count


def check_bearer(stage, conduct, given):
    """No bearer, or one that nobody has: 401."""
    operation = conduct.operation
    for bearer in [None, "", *stage.bad_bearers()]:
        with explained(f"bearer {bearer}"), refusal("Unauthorized", BAD_BEARER):
            operation.call(stage.server, given | {"ChimeBearer": bearer})


def check_role(stage, conduct, given):
    """A caller of a role that does not allow it: 403; likewise the admin of another app instance."""
    for role in conduct.denied:
        with explained(role), refusal("Forbidden", NO_ACCESS):
            conduct.operation.call(stage.server, given | {"ChimeBearer": getattr(stage, role)})
    if "ChimeBearer" in given:
        with explained("foreigner"), refusal("Forbidden"):
            conduct.operation.call(stage.server, given | {"ChimeBearer": stage.foreigner})


def check_unknown(stage, conduct, given):
    """A resource that is not there, or belongs to others: the refusal that the conduct names."""
    operation = conduct.operation
    for member, expected in conduct.absent.items():
        call_refused(stage, operation, given, member, stage.stranger, expected)
    for member, expected in (conduct.unknown | conduct.absent).items():
        [value] = given[member] if isinstance(given[member], list) else [given[member]]
        for stranger in stage.strangers_to(member, value, bearer=operation.takes_bearer):
            name = expected(stage, stranger) if callable(expected) else expected
            call_refused(stage, operation, given, member, stranger, name)
        if takes_one_kind(operation, member) and kind_of(value) != "id":
            call_refused(stage, operation, given, member, stage.of_another_kind(value), "BadRequest")


def takes_one_kind(operation, member):
    """Whether an ARN of another kind of resource is malformed here, and not just somebody unknown."""
    if member in ("AppInstanceArn", "ChannelArn", "ChannelFlowArn", "AppInstanceBotArn"):
        return True
    return member == "AppInstanceUserArn" and location(operation.input.members[member]) == "uri"


def call_refused(stage, operation, given, member, value, expected):
    value = [value] if isinstance(given[member], list) else value
    with explained(f"{member} {value}"), refusal(expected):
        operation.call(stage.server, given | {member: value})


@contextlib.contextmanager
def explained(what):
    """Says of a failure what was tried."""
    try:
        yield
    except FAILURES as failure:
        raise AssertionError(f"{what}: {failure}") from failure


def check_happy(conduct, given, play, call):
    """The call does what it should, with the modelled status and output, and its effects are seen."""
    operation = conduct.operation
    if operation in REFUSED_HAPPY:
        check_refused_happy(operation, given, call)
        return
    answer = call(operation, given)
    assert status_of(answer) == operation.status, answer
    missing = conduct.gives - set(answer_of(answer))
    assert not missing, f"the answer lacks {sorted(missing)}"
    try:
        play.send(answer_of(answer))
    except StopIteration:
        return
    raise TypeError(f"the conduct of {operation} yields more than one input")


def check_refused_happy(operation, given, call):
    name, message = REFUSED_HAPPY[operation]
    try:
        answer = call(operation, given)
    except ClientError as error:
        told = error.response["Error"]
        # Some clients tell the exception, others the code.
        assert told["Code"] in (name, f"{name}Exception"), told
        assert message in (None, told["Message"]), told
    else:
        raise AssertionError(f"not refused: {answer}")
