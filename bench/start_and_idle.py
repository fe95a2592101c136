"""Prints how long the release binary takes to be ready, with an empty folder, with 100,000 messages in it and
after `kill -9` while senders were at work, and how much memory it holds while idle. Everything runs on loopback and
in a temporary folder.

    make bench                      # or: tests/.venv/bin/python bench/start_and_idle.py [--messages N]
"""

import argparse
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.sender import Sender  # noqa: E402
from support.server import Server, resident_kib  # noqa: E402
from support.world import World  # noqa: E402

STARTS = 11
SENDERS = 16
CHANNELS = 16
# Messages that a server stores before it is killed; a part of them is still in its log then.
KILLED_AFTER = 1_500


def start_times_ms(folders):
    """From spawning the process to its ready line, once for each folder."""
    times = []
    for data_dir in folders:
        begun = time.perf_counter()
        server = Server(data_dir)
        times.append((time.perf_counter() - begun) * 1000)
        server.close()
    return times


def report(name, times):
    median, slowest = statistics.median(times), max(times)
    print(f"{name:<38} median {median:6.1f} ms   slowest {slowest:6.1f} ms   ({len(times)} starts)")


def idle_kib(data_dir):
    server = Server(data_dir)
    idle = resident_kib(server.process.pid)
    server.close()
    return idle


def in_threads(work):
    """Calls `work` with the number of each sender, all at once."""
    threads = [threading.Thread(target=work, args=(number,)) for number in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def channels_of_a_writer(server):
    world = World(server)
    user = world.user("writer")
    return [world.channel(user) for _ in range(CHANNELS)], user


def fill(data_dir, count):
    """Sends `count` messages, spread over some channels."""
    server = Server(data_dir)
    channels, user = channels_of_a_writer(server)
    left = iter(range(count))
    lock = threading.Lock()

    def send(number):
        sender = Sender(server, channels[number % CHANNELS], user)
        while True:
            with lock:
                message = next(left, None)
            if message is None:
                break
            sender.id_of(f"message {message} of a chat of ordinary length, with a little text in it")
        sender.close()

    begun = time.perf_counter()
    in_threads(send)
    seconds = time.perf_counter() - begun
    print(f"{count:,} messages sent in {seconds:.0f} s by {SENDERS} Python threads, which are the limit of that figure")
    print(f"{'memory after sending them':<38} {resident_kib(server.process.pid) / 1024:6.1f} MiB")
    server.close()


def kill_under_load(server, channels, user):
    """Kills the server while all senders wait for answers."""
    stored = threading.Semaphore(0)

    def send(number):
        sender = Sender(server, channels[number % CHANNELS], user)
        try:
            while True:
                sender.id_of("a message that is sent while the server is about to be killed")
                stored.release()
        except OSError:
            sender.close()

    def kill():
        for _ in range(KILLED_AFTER):
            stored.acquire()
        server.process.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    in_threads(send)
    killer.join()
    server.kill()


def start_times_after_kill_ms(data_dir):
    """From spawning the process to its ready line, each time after a kill under load."""
    server = Server(data_dir)
    channels, user = channels_of_a_writer(server)
    times = []
    for _ in range(STARTS):
        kill_under_load(server, channels, user)
        begun = time.perf_counter()
        server.start()
        times.append((time.perf_counter() - begun) * 1000)
    server.close()
    server.check_store()
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--messages", type=int, default=100_000)
    count = parser.parse_args().messages
    with tempfile.TemporaryDirectory() as folder:
        empty, full = [Path(folder, f"empty-{number}") for number in range(STARTS)], Path(folder, "full")
        report("start to ready, empty folder", start_times_ms(empty))
        print(f"{'idle memory, empty folder':<38} {idle_kib(empty[0]) / 1024:6.1f} MiB")
        fill(full, count)
        report(f"start to ready, {count:,} messages", start_times_ms([full] * STARTS))
        report("the same, after kill -9 under load", start_times_after_kill_ms(full))
        print(f"{f'idle memory, {count:,} messages':<38} {idle_kib(full) / 1024:6.1f} MiB")
        size = sum(file.stat().st_size for file in full.rglob("*") if file.is_file())
        print(f"{'size of the folder':<38} {size / 2**20:6.1f} MiB")


if __name__ == "__main__":
    main()
