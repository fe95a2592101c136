"""Pages of every list of both services while it changes, and tokens that are changed or belong to another list.

The committed table `pages.txt` says which lists keep what, and is kept like `conformance.txt`.
"""

import contextlib
from functools import partial

import pytest

from support.clients import refusal
from support.conformance.baseline import Baseline
from support.conformance.judge import FAILURES, Verdict, explained
from support.listings import LISTINGS, PAGED, PASSING, PLACES, SETTINGS, STAYING, Hall
from support.server import Server

pytestmark = [pytest.mark.any_engine, pytest.mark.timeout(300)]

BASELINE = Baseline("pages.txt")
SIZES = (1, 7, 50)
CASES = ("walk", "tokens", "bound")
# So many pages of one item go by between two changes; with more items a page there is a change at each.
QUIET_PAGES = 8


@pytest.fixture(scope="module")
def hall(tmp_path_factory, new_store):
    """On a server of its own, whose quotas let the lists be long."""
    server = Server(tmp_path_factory.mktemp("hall"), *SETTINGS, database=new_store())
    yield Hall(server)
    server.close()
    server.check_store()


@pytest.fixture(scope="module")
def verdicts(hall, tables, request):
    """The verdict on each list, in the order of the services' operations."""
    verdicts = {operation: Verdict(operation, CASES) for operation in PAGED}
    lists = {}
    for operation, verdict in verdicts.items():
        try:
            lists[operation] = LISTINGS[operation](hall)
        except FAILURES as failure:
            verdict.give_up(CASES, f"the list cannot be made: {failure}")
            continue
        verdict.run("walk", partial(check_walks, hall, lists[operation]))
    tokens = {operation: first_token(hall, each) for operation, each in lists.items()}
    for operation, each in lists.items():
        verdicts[operation].run("tokens", partial(check_tokens, hall, each, tokens[operation]))
        verdicts[operation].run("bound", partial(check_bound, hall, each, tokens))
    tables["pages"] = [text for verdict in verdicts.values() for text in (verdict.line, *verdict.why)]
    if request.config.getoption("update_baseline"):
        BASELINE.write([verdict.line for verdict in verdicts.values()])
    return verdicts


class Traffic:
    """What comes and goes in a list while it is read: each step removes one item and adds another.

    Used inside of `with`, at whose end all of it is gone.
    """

    def __init__(self, each):
        self._each = each
        self._free = list(PASSING)
        self._there = {}

    def __enter__(self):
        for _ in range(len(PASSING) // 2):
            self._add()
        return self

    def __exit__(self, *_):
        while self._there:
            self._remove()

    def _add(self):
        place = self._free.pop(0)
        self._there[self._each.add(place)] = place

    def _remove(self):
        # From the middle: some lie before the reader, some behind.
        key = list(self._there)[len(self._there) // 2]
        self._free.append(self._there.pop(key))
        self._each.remove(key)

    def step(self):
        self._remove()
        self._add()


def check_walks(hall, each):
    """In pages of every size, while items come and go: what stays is there once, all else once at most."""
    for size in SIZES:
        with explained(f"pages of {size}"), Traffic(each) as traffic:
            seen = list(walk(hall, each, size, traffic))
            assert len(seen) == len(set(seen)), "an item is there twice"
            missed = set(each.staying) - set(seen)
            assert not missed, f"{len(missed)} items are missed"


def walk(hall, each, size, traffic):
    """The keys of a list, read in pages between which it changes."""
    more = {}
    for page_count in range(2 * len(PLACES)):
        answer = each.page(hall.server, MaxResults=size, **more)
        assert len(answer[each.items]) <= size
        yield from map(each.key, answer[each.items])
        if "NextToken" not in answer:
            return
        more = {"NextToken": answer["NextToken"]}
        if size > 1 or page_count % QUIET_PAGES == 0:
            traffic.step()
    raise AssertionError("the pages do not end")


def first_token(hall, each):
    """The token behind the first item, or None where there is none."""
    with contextlib.suppress(*FAILURES):
        return each.page(hall.server, MaxResults=1)["NextToken"]
    return None


def refused_token(hall, each, token, **change):
    with refusal("BadRequest"):
        each.page(hall.server, MaxResults=1, NextToken=token, **change)


def check_tokens(hall, each, token):
    """A token with any letter changed, cut or made longer, is refused; the token itself goes on."""
    assert token, "the list has no second page"
    changed = [token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1:] for at in range(len(token))]
    for wrong in (*changed, token[:-1], token[1:], token + "A", token * 2, token[::-1], "AAAA", "no token", "🎫"):
        with explained(f"{wrong} in place of {token}"):
            refused_token(hall, each, wrong)
    assert each.page(hall.server, MaxResults=1, NextToken=token)[each.items]


def check_bound(hall, each, tokens):
    """A token of another operation, and the own one with another filter or resource, are refused."""
    own = tokens[each.operation]
    assert own, "the list has no second page"
    for operation, token in tokens.items():
        if operation != each.operation and token:
            with explained(f"the token of {operation}"):
                refused_token(hall, each, token)
    for change in each.others:
        with explained(f"with {change}"):
            refused_token(hall, each, own, **change)


def test_every_operation_that_answers_in_pages_has_a_listing():
    assert set(LISTINGS) == set(PAGED)
    assert len(STAYING) == 200


@pytest.mark.parametrize("operation", PAGED, ids=str)
def test_a_list_does_what_its_line_of_the_baseline_says(verdicts, operation):
    verdict = verdicts[operation]
    assert verdict.line == BASELINE.lines().get(str(operation)), verdict.reasons


def test_the_baseline_has_a_line_for_each_list_and_no_other(verdicts):
    assert list(BASELINE.lines()) == [str(operation) for operation in verdicts]
