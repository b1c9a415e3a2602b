"""gevent's side of the benches: prints NAME=NANOSECONDS lines for the part it is asked for."""

import sys
import time

import gevent
from gevent.event import Event
from gevent.lock import Semaphore
from gevent.pool import Pool
from gevent.queue import Queue

part, scale = sys.argv[1], int(sys.argv[2])


def cost(name, count, run, rounds=3):
    count = max(count // scale, 1)
    least = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        done = run(count)
        least = min(least, (time.perf_counter() - start) / (done or count))
    print(f"{name}={least * 1e9:.0f}")


def pair(one, other):
    """Two greenlets, in the order of their start."""
    gevent.joinall([gevent.spawn(one), gevent.spawn(other)], raise_error=True)


def spawn_join(count):
    for _ in range(count):
        gevent.spawn(int).get()


def spawn_many(count):
    for greenlet in [gevent.spawn(int) for _ in range(count)]:
        greenlet.get()


def park(count):
    ping, pong = Event(), Event()

    def first():
        for _ in range(count):
            ping.set()
            pong.wait()
            pong.clear()

    def second():
        for _ in range(count):
            ping.wait()
            ping.clear()
            pong.set()

    pair(second, first)
    return 2 * count


def hand_off(count):
    ping, pong = Semaphore(0), Semaphore(0)

    def first():
        for _ in range(count):
            ping.release()
            pong.acquire()

    def second():
        for _ in range(count):
            ping.acquire()
            pong.release()

    pair(second, first)
    return 2 * count


def semaphore(count):
    place = Semaphore(1)
    for _ in range(count):
        place.acquire()
        place.release()


def queue(pairs, size):
    def run(count):
        items, share = Queue(size), count // pairs

        def put():
            for n in range(share):
                items.put(n)

        def get():
            for _ in range(share):
                items.get()

        gevent.joinall([gevent.spawn(f) for f in [get, put] * pairs], raise_error=True)

    return run


def timeout(count):
    for _ in range(count):
        with gevent.Timeout(1):
            pass


def lane(count):
    pool = gevent.get_hub().threadpool
    for _ in range(count):
        pool.apply(int)


def pool_map(count):
    Pool(16).map(lambda n: n, range(count))


def yields(count):
    for _ in range(count):
        gevent.sleep(0)


def sleepers():
    """Equal sleeps that begin as their greenlets do."""
    count, seconds = int(sys.argv[3]), float(sys.argv[4])
    late = []

    def sleeper():
        for _ in range(2):
            start = time.perf_counter()
            gevent.sleep(seconds)
            late.append(time.perf_counter() - start - seconds)

    gevent.joinall([gevent.spawn(sleeper) for _ in range(count)], raise_error=True)
    late.sort()
    for name, place in (("p50", 0.5), ("p99", 0.99), ("max", 1)):
        nanos = late[min(int(len(late) * place), len(late) - 1)] * 1e9
        print(f"{name}={nanos:.0f}")


def in_greenlet():
    if part == "runtime":
        cost("yield_now", 200_000, yields)
        cost("spawn + join", 100_000, spawn_join)
        cost("spawn, 1,000 at a time", 1_000 * scale, spawn_many)
        cost("lane round trip", 5_000, lane)
    elif part == "sync":
        cost("park + unpark", 100_000, park)
        cost("semaphore hand-off", 100_000, hand_off)
        cost("semaphore, free", 500_000, semaphore)
        cost("queue 1:1", 200_000, queue(1, None))
        cost("queue 1:1, 64 at most", 200_000, queue(1, 64))
        cost("queue 4:4", 200_000, queue(4, None))
        cost("queue 4:4, 64 at most", 200_000, queue(4, 64))
        cost("timeout, enter + exit", 200_000, timeout)
        cost("pool.map, an item", 50_000, pool_map)
    elif part == "sleepers":
        sleepers()


gevent.spawn(in_greenlet).get()
