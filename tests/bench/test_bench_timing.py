"""The interleaving on a fake clock, where every sample is known beforehand."""

import time

import pytest

from timing import Times, interleaved, process_stopwatch, summary


class FakeClock:
    """A stopwatch that runs nothing: each task costs its own time plus a drift that grows."""

    def __init__(self, cost, drift=0.0):
        self.cost, self.drift, self.now, self.log = cost, drift, 0.0, []

    def __call__(self, task, calls):
        name = task()
        self.log.append((name, calls))
        taken = calls * (self.cost[name] + self.drift * len(self.log))
        self.now += taken
        return taken


def tasks(*names):
    return {name: (lambda name=name: name) for name in names}


def test_every_round_times_everyone_once_and_begins_with_the_next():
    clock = FakeClock({"a": 1.0, "b": 2.0, "c": 3.0})
    interleaved(tasks("a", "b", "c"), 4, clock, warmup=1)
    order = "".join(name for name, _ in clock.log)
    assert order == "abc" + "abc" + "bca" + "cab" + "abc"


def test_medians_and_quartiles_are_those_of_the_samples():
    samples = iter([9.0, 5.0, 1.0, 2.0, 4.0, 3.0])  # the first is the warm-up
    times = interleaved({"a": lambda: None}, 5, lambda task, calls: next(samples), warmup=1)
    assert times == {"a": Times(median=3.0, q25=2.0, q75=4.0, rounds=5)}


def test_one_sample_is_its_own_quartiles():
    assert summary([2.0]) == Times(2.0, 2.0, 2.0, 1)


def test_drift_hits_equal_contestants_alike():
    names = ("a", "b", "c", "d")
    clock = FakeClock(dict.fromkeys(names, 1.0), drift=0.01)
    times = interleaved(tasks(*names), 8, clock)
    medians = [times[name].median for name in names]
    # One after the other, the last would have paid 24 samples of drift: 0.24 on 1.
    assert max(medians) - min(medians) <= 0.02 + 1e-9


def test_a_short_task_is_repeated_within_a_sample_and_reported_for_one_call():
    clock = FakeClock({"short": 1e-3, "long": 1.0})
    times = interleaved(tasks("short", "long"), 3, clock, warmup=1, min_seconds=0.02)
    assert {calls for name, calls in clock.log[2:] if name == "short"} == {20}
    assert {calls for name, calls in clock.log[2:] if name == "long"} == {1}
    assert times["short"].median == pytest.approx(1e-3)
    assert times["long"].median == pytest.approx(1.0)


@pytest.mark.parametrize(("rounds", "warmup"), [(0, 1), (1, 0)])
def test_no_rounds_or_no_warmup_is_an_error(rounds, warmup):
    with pytest.raises(ValueError, match="rounds and warmup must be 1 or more"):
        interleaved(tasks("a"), rounds, FakeClock({"a": 1.0}), warmup=warmup)


def test_the_processors_clock_does_not_run_while_others_do():
    assert process_stopwatch(lambda: time.sleep(0.2), 1) < 0.1
    assert process_stopwatch(lambda: sum(range(10**6)), 1) > 0.001
