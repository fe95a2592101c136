"""ListChannelMessages: shape, both orders, time windows, pages."""

from datetime import timedelta

import pytest

from support import clients
from support.clients import answer_of, pages, refusal, status_of
from support.http import call, label

pytestmark = pytest.mark.any_engine


def times(messages):
    return [message["CreatedTimestamp"] for message in messages]


@pytest.fixture
def channel(world, alice):
    """A channel with the messages "0" to "9"."""
    channel = world.channel(alice)
    for number in range(10):
        world.send(channel, alice, str(number))
    return channel


def test_the_answer_has_summaries_without_channel_and_persistence(world, alice, bob):
    channel = world.channel(alice, bob)
    message_id = world.send(channel, alice, "hello", Metadata="m", ContentType="text/plain")
    answer = world.messaging.list_channel_messages(ChannelArn=channel, ChimeBearer=bob)
    assert status_of(answer) == 200
    [summary] = answer["ChannelMessages"]
    assert set(answer_of(answer)) == {"ChannelArn", "ChannelMessages"}
    assert answer["ChannelArn"] == channel
    assert summary.pop("LastUpdatedTimestamp") == summary.pop("CreatedTimestamp")
    assert summary == {
        "MessageId": message_id, "Content": "hello", "Metadata": "m", "ContentType": "text/plain",
        "Type": "STANDARD", "Sender": {"Arn": alice, "Name": "Alice"}, "Redacted": False,
        "Status": {"Value": "SENT"},
    }


def test_an_empty_channel_lists_nothing(world, alice):
    channel = world.channel(alice)
    answer = world.messaging.list_channel_messages(ChannelArn=channel, ChimeBearer=alice)
    assert answer_of(answer) == {"ChannelArn": channel, "ChannelMessages": []}


def test_the_newest_message_comes_first_unless_ascending_is_asked_for(world, alice, channel):
    numbers = [str(number) for number in range(10)]
    assert world.contents(channel, alice) == numbers[::-1]
    assert world.contents(channel, alice, SortOrder="DESCENDING") == numbers[::-1]
    assert world.contents(channel, alice, SortOrder="ASCENDING") == numbers


@pytest.mark.parametrize("order", ["ASCENDING", "DESCENDING"])
@pytest.mark.parametrize("size", [1, 3, 10, 50])
def test_pages_joined_together_are_the_whole_list(world, alice, channel, order, size):
    found = [
        [message["Content"] for message in page]
        for page in pages(world.messaging.list_channel_messages, "ChannelMessages", ChannelArn=channel,
                          ChimeBearer=alice, SortOrder=order, MaxResults=size)
    ]
    numbers = [str(number) for number in range(10)]
    assert sum(found, []) == (numbers if order == "ASCENDING" else numbers[::-1])
    assert all(len(page) == size for page in found[:-1])


def test_a_page_holds_50_messages_unless_told_otherwise(world, alice):
    channel = world.channel(alice)
    for number in range(51):
        world.send(channel, alice, str(number))
    first = world.messaging.list_channel_messages(ChannelArn=channel, ChimeBearer=alice)
    assert len(first["ChannelMessages"]) == 50
    assert len(world.messages(channel, alice)) == 51


def test_both_ends_of_the_window_are_inclusive(world, alice, channel):
    listed = world.messages(channel, alice, SortOrder="ASCENDING")
    third, seventh = listed[3]["CreatedTimestamp"], listed[7]["CreatedTimestamp"]
    assert [item["Content"] for item in listed if third <= item["CreatedTimestamp"] <= seventh] == world.contents(
        channel, alice, SortOrder="ASCENDING", NotBefore=third, NotAfter=seventh)
    assert world.contents(channel, alice, NotBefore=third)[-1] == next(
        item["Content"] for item in listed if item["CreatedTimestamp"] == third)
    assert world.contents(channel, alice, NotAfter=seventh)[0] == [
        item["Content"] for item in listed if item["CreatedTimestamp"] == seventh][-1]


def test_the_window_is_exact_to_the_millisecond(world, alice, channel):
    listed = world.messages(channel, alice, SortOrder="ASCENDING")
    step = timedelta(milliseconds=1)
    middle = listed[5]["CreatedTimestamp"]
    after = world.messages(channel, alice, NotBefore=middle + step)
    assert all(moment > middle for moment in times(after))
    before = world.messages(channel, alice, NotAfter=middle - step)
    assert all(moment < middle for moment in times(before))
    same = sum(moment == middle for moment in times(listed))
    assert len(after) + len(before) + same == 10


@pytest.mark.parametrize("order", ["ASCENDING", "DESCENDING"])
def test_a_window_is_kept_from_page_to_page(world, alice, channel, order):
    listed = times(world.messages(channel, alice, SortOrder="ASCENDING"))
    window = {"NotBefore": listed[2], "NotAfter": listed[8]}
    whole = world.contents(channel, alice, SortOrder=order, **window)
    assert len(whole) == sum(listed[2] <= moment <= listed[8] for moment in listed)
    assert world.contents(channel, alice, SortOrder=order, MaxResults=1, **window) == whole


def test_an_empty_window_lists_nothing(world, alice, channel):
    listed = times(world.messages(channel, alice))
    day = timedelta(days=1)
    assert world.messages(channel, alice, NotBefore=listed[0] + day) == []
    assert world.messages(channel, alice, NotAfter=listed[-1] - day) == []


@pytest.mark.parametrize("form", [
    lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%S") + f".{moment.microsecond // 1000:03}Z",
    lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%S") + f".{moment.microsecond:06}000Z",
    lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%S") + f".{moment.microsecond:06}%2B00:00",
    lambda moment: (moment + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S")
    + f".{moment.microsecond // 1000:03}%2B02%3A00",
    lambda moment: f"{moment.timestamp():.3f}",
], ids=["3 digits", "9 digits", "zero offset", "offset", "epoch seconds"])
def test_every_clients_form_of_a_time_is_understood(server, world, alice, channel, form):
    listed = world.messages(channel, alice, SortOrder="ASCENDING")
    middle = listed[5]["CreatedTimestamp"]
    answer = call(server, "GET", f"/channels/{label(channel)}/messages?not-before={form(middle)}"
                                 "&sort-order=ASCENDING", bearer=alice)
    assert answer.status == 200, answer
    expected = [item["MessageId"] for item in listed if item["CreatedTimestamp"] >= middle]
    assert [item["MessageId"] for item in answer.json()["ChannelMessages"]] == expected


def test_a_time_without_a_fraction_means_the_whole_second(server, world, alice, channel):
    newest = world.messages(channel, alice)[0]["CreatedTimestamp"]
    for text in (newest.strftime("%Y-%m-%dT%H:%M:%SZ"), str(int(newest.timestamp()))):
        answer = call(server, "GET", f"/channels/{label(channel)}/messages?not-before={text}", bearer=alice)
        contents = [item["Content"] for item in answer.json()["ChannelMessages"]]
        assert contents[0] == "9"


def test_bodies_carry_times_as_plain_decimal_seconds(server, world, alice, channel):
    answer = call(server, "GET", f"/channels/{label(channel)}/messages", bearer=alice)
    message = answer.json()["ChannelMessages"][0]
    assert isinstance(message["CreatedTimestamp"], (int, float))
    text = answer.body.decode().split('"CreatedTimestamp":')[1].split(",")[0].rstrip("}")
    whole, _, fraction = text.partition(".")
    assert whole.isdigit() and len(whole) == 10
    assert len(fraction) <= 3 and (fraction == "" or fraction.isdigit())


@pytest.mark.parametrize("wrong", [
    {"SortOrder": "SIDEWAYS"}, {"MaxResults": 0}, {"MaxResults": 51}, {"NextToken": "x" * 2049},
    {"SubChannelId": "no such thing as a space"},
], ids=lambda wrong: str(wrong)[:40])
def test_values_outside_the_model_are_refused(world, alice, wrong):
    with refusal("BadRequest"):
        clients.messaging(world.server, checked=False).list_channel_messages(
            ChannelArn=world.channel(alice), ChimeBearer=alice, **wrong)


def test_a_token_belongs_to_its_order_window_and_channel(world, alice, channel):
    def list_with(**extra):
        return world.messaging.list_channel_messages(**({
            "ChannelArn": channel, "ChimeBearer": alice, "MaxResults": 2} | extra))

    token = list_with()["NextToken"]
    moment = world.messages(channel, alice)[-1]["CreatedTimestamp"]
    for other in (
        {"SortOrder": "ASCENDING"}, {"NotBefore": moment}, {"NotAfter": moment},
        {"ChannelArn": world.channel(alice)},
    ):
        with refusal("BadRequest"):
            list_with(NextToken=token, **other)
    # Another page size and the default order written out are the same list.
    assert [item["Content"] for item in list_with(
        NextToken=token, MaxResults=3, SortOrder="DESCENDING")["ChannelMessages"]] == ["7", "6", "5"]


def test_messages_sent_while_paging_do_not_disturb_a_descending_walk(world, alice, channel):
    seen = []
    for page in pages(world.messaging.list_channel_messages, "ChannelMessages", ChannelArn=channel,
                      ChimeBearer=alice, MaxResults=2):
        seen += [message["Content"] for message in page]
        world.send(channel, alice, "late")
    assert seen == [str(number) for number in range(9, -1, -1)]
