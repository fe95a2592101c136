"""`kill -9` at random moments under load: nothing acknowledged is lost, doubled or out of order, and background
work is done to its end."""

import random
import sqlite3
import time

import pytest

from support.load import Load
from support.server import eventually, monotonic_deadline
from support.world import World

pytestmark = pytest.mark.any_engine

KILLS = 60
SENDERS = 12
CHANNELS = 3
START_S_MAX = 5.0


def test_every_acknowledged_message_survives_kill_9_once_and_in_order(start):
    server = start()
    world = World(server)
    users = [world.user(f"sender-{number}") for number in range(SENDERS)]
    channels = [world.channel(users[0], *users[1:]) for _ in range(CHANNELS)]
    chance = random.Random(20210515)
    starts = []
    deadline = monotonic_deadline(100)
    with Load([server], channels, users) as load:
        for _ in range(KILLS):
            deadline("all kills")
            load.let_through()
            # A moment that only the load decides: after some answers, while others are on their way.
            load.wait_for(chance.randint(1, 100))
            server.process.kill()
            load.hold()
            server.kill()
            begun = time.monotonic()
            server.start()
            starts.append(time.monotonic() - begun)
        load.let_through()
        load.wait_for(SENDERS)
    world.reconnect()

    assert load.lost >= KILLS, "no kill met an open request"
    assert load.refused == 0, "a store that is there refuses nothing"
    assert max(starts) < START_S_MAX, f"a start that repairs something takes long: {starts}"
    assert not [line for line in server.log() if "repair" in line.lower() or "recover" in line.lower()]
    load.check(world, users[0])


JOB_KILLS = 15
STEPS_BETWEEN_KILLS_MAX = 25
DOOMED_CHANNELS = 40
ELASTIC_MEMBERS = 25
# What is below the app instances and channels that are deleted.
PURGED = ("channel_message", "channel_ban", "app_instance_user_endpoint", "job")


def doom(server):
    """Deletes an app instance with much below it."""
    doomed = World(server, "Doomed")
    host = doomed.user("host")
    for number in range(DOOMED_CHANNELS):
        channel = doomed.channel(host, doomed.user(f"guest-{number}"))
        doomed.send(channel, host)
    doomed.identity.delete_app_instance(AppInstanceArn=doomed.arn)


def test_background_work_is_done_to_its_end_however_often_it_is_killed(start):
    server = start()
    world = World(server)
    owner, *members = world.users("owner", *(f"member-{number}" for number in range(ELASTIC_MEMBERS)))
    large = world.channel(owner, ElasticChannelConfiguration={
        "MaximumSubChannels": 4, "TargetMembershipsPerSubChannel": ELASTIC_MEMBERS - 1,
        "MinimumMembershipPercentage": 40})
    gone = world.channel(owner, *members[:5])
    for _ in range(120):
        world.send(gone, owner)
    doom(server)
    for member in members:
        world.join(large, owner, member)
    world.messaging.delete_channel(ChannelArn=gone, ChimeBearer=owner)
    chance = random.Random(5)
    for _ in range(JOB_KILLS):
        steps = chance.randint(0, STEPS_BETWEEN_KILLS_MAX)
        eventually(lambda: server.metric("job_steps_total") >= steps or server.metric("jobs_due") == 0, f"{steps} steps")
        server.kill()
        server.start()
    eventually(lambda: server.metric("jobs_due") == 0, "the end of the work")
    world.reconnect()
    listed = world.messaging.list_sub_channels(ChannelArn=large, ChimeBearer=owner)["SubChannels"]
    assert sorted(item["MembershipCount"] for item in listed) == [ELASTIC_MEMBERS // 2, ELASTIC_MEMBERS - ELASTIC_MEMBERS // 2]
    found = [member for item in listed for member in world.members(large, owner, SubChannelId=item["SubChannelId"])]
    assert sorted(found) == sorted(member.rpartition("/")[2] for member in members), "each is in one of them"
    server.terminate()
    if server.folder:
        with sqlite3.connect(server.folder / "campanile.db") as rows:
            left = {table: rows.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in PURGED}
        assert left == dict.fromkeys(PURGED, 0)
