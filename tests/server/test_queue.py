"""Whose work comes next."""

from types import SimpleNamespace

import pytest
from small_scans import busy, until

from cyclegan.server import queue as queue_module
from cyclegan.server.queue import BACKGROUND, MEASURING, SHOWN, Job, Queue


@pytest.fixture
def queue():
    return Queue()


def held(queue):
    return busy(SimpleNamespace(queue=queue))


def test_first_come_first_served_and_a_shown_slice_before_others(queue):
    order = []
    with held(queue):
        futures = [
            queue.submit(lambda name=name: order.append(name), handicap)
            for name, handicap in (
                ("volume", BACKGROUND),
                ("other volume", BACKGROUND),
                ("numbers", MEASURING),
                ("slice", SHOWN),
                ("other slice", SHOWN),
            )
        ]
    for future in futures:
        future.result()
    assert order == ["slice", "other slice", "numbers", "volume", "other volume"]


def test_what_comes_by_itself_waits_but_not_for_ever(queue, monkeypatch):
    now, order = [100.0], []
    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr(queue_module, "time", clock)
    with held(queue):
        futures = [queue.submit(lambda: order.append("volume"), BACKGROUND)]
        for number in range(4):  # somebody scrolls without end
            now[0] += 2
            futures.append(queue.submit(lambda number=number: order.append(number)))
    for future in futures:
        future.result()
    assert order == [0, 1, "volume", 2, 3]


def test_whoever_was_served_stands_behind_the_others(queue):
    order, left = [], {"a": 3, "b": 3}

    def work(name):
        order.append(name)
        left[name] -= 1
        return BACKGROUND if left[name] else None

    jobs = [Job(lambda name=name: work(name)) for name in left]
    with held(queue):
        for job in jobs:
            queue.add(job, BACKGROUND)
    until(lambda: not any(queue.holds(job) for job in jobs))
    assert order == ["a", "b"] * 3


def test_one_who_asks_again_keeps_the_place_and_never_stands_twice(queue):
    order = []
    first, second = (Job(lambda name=name: order.append(name)) for name in "ab")
    with held(queue):
        queue.add(first)
        queue.add(second)
        for _ in range(50):
            queue.add(first)
        assert [queue.place(job) for job in (first, second)] == [1, 2]
    until(lambda: not queue.holds(second))
    assert order == ["a", "b"]


def test_a_place_can_be_given_up(queue):
    order, job = [], Job(lambda: order.append("job"))
    with held(queue):
        future = queue.submit(lambda: order.append("future"))
        queue.add(job)
        last = queue.submit(lambda: order.append("last"))
        future.cancel()
        queue.remove(job)
    last.result()
    assert order == ["last"]


def test_those_who_wait_hear_that_others_were_served(queue):
    moved = []
    waiting = Job(lambda: None, lambda: moved.append(queue.place(waiting)))
    with held(queue):
        queue.submit(lambda: None)
        queue.add(waiting, BACKGROUND)
    until(lambda: not queue.holds(waiting))
    assert len(moved) == 2  # what held it, and the other
    assert queue.seconds(2) == 2 * queue.seconds(1) > 0
