"""Ray Tune's door to a search: packs in their order, waiting, the end, and packs that are lost. No Ray is started."""

import math
from types import SimpleNamespace

import pytest
from ray.tune.search import ConcurrencyLimiter, Searcher

from infra.choosing.searcher import RETRIES, PackSearcher

SIZE = 3
FAILED = [("x", math.nan, math.nan)] * SIZE


class Rounds:
    """Asks for rounds of packs; the next one when all of the last are told."""

    def __init__(self, *sizes):
        self.rounds, self.packs, self.results, self.asked = list(sizes), [], {}, []

    def next_packs(self, device, side_by_side, budget):
        self.asked.append((device, side_by_side, budget))
        if len(self.results) < len(self.packs) or not self.rounds:
            return []
        first = len(self.packs)
        self.packs += [SimpleNamespace(size=SIZE) for _ in range(self.rounds.pop(0))]
        return list(range(first, len(self.packs)))

    def told(self, number, results):
        assert number not in self.results, "told twice"
        self.results[number] = list(results)


def searcher(*sizes):
    return PackSearcher(Rounds(*sizes), "cpu", 2, lambda number: {"pack": number})


def pack(number):
    return {"job": {"pack": number}}


def done(number):
    return {"done": True, "results": [("f", float(number), 0.1)] * SIZE}


def test_packs_come_in_the_choosers_order_and_it_is_asked_only_when_none_is_left():
    search = searcher(3)
    assert [search.suggest(f"trial {i}") for i in range(3)] == [pack(0), pack(1), pack(2)]
    assert search.chooser.asked == [("cpu", 2, None)]


def test_it_waits_for_what_is_under_way_and_ends_when_nothing_is():
    search = searcher(2, 1)
    search.suggest("a"), search.suggest("b")
    assert search.suggest("c") is None
    search.on_trial_complete("a", done(0))
    assert search.suggest("c") is None, "the other may yet say what comes next"
    search.on_trial_complete("b", done(1))
    assert search.suggest("c") == pack(2)
    assert search.suggest("d") is None
    search.on_trial_complete("c", done(2))
    assert search.suggest("d") == Searcher.FINISHED
    assert search.lost == 0


def test_nothing_to_ask_is_the_end_at_once():
    assert searcher().suggest("a") == Searcher.FINISHED


def test_results_are_handed_on_to_their_pack_in_whatever_order_they_come():
    """The first pack ends last, after the chooser had no more to ask."""
    search = searcher(3)
    for trial in "abc":
        search.suggest(trial)
    for trial, number in (("c", 2), ("b", 1)):
        search.on_trial_complete(trial, done(number))
        assert search.suggest("d") is None
    search.on_trial_complete("a", done(0))
    assert search.chooser.results == {number: done(number)["results"] for number in range(3)}
    assert search.suggest("d") == Searcher.FINISHED


def test_a_result_on_the_way_ends_nothing():
    search = searcher(1)
    search.suggest("a")
    search.on_trial_result("a", {"done": False, "outcomes": "f..", "results": []})
    assert search.suggest("b") is None and search.chooser.results == {}


# How Tune tells of a trial that is lost: an error, with its last report or with none; an end that is not ours.
LOST = [
    {"error": True},
    {"error": True, "result": done(0)},
    {"result": None},
    {"result": {"done": False, "outcomes": "f..", "results": []}},
]


@pytest.mark.parametrize("lost", LOST)
def test_a_lost_pack_is_tried_again_and_then_failed_and_counted(lost):
    search = searcher(1, 1)
    for i in range(1 + RETRIES):
        assert search.chooser.results == {} and search.lost == 0
        assert search.suggest(f"trial {i}") == pack(0)
        assert search.suggest("too early") is None
        search.on_trial_complete(f"trial {i}", **lost)
    assert search.lost == 1
    assert str(search.chooser.results) == str({0: FAILED})
    assert search.suggest("next") == pack(1), "the search goes on without it"


@pytest.mark.parametrize("lost", LOST)
def test_a_pack_that_comes_back_is_no_lost_one(lost):
    search = searcher(1)
    for i in range(RETRIES):
        search.suggest(f"trial {i}")
        search.on_trial_complete(f"trial {i}", **lost)
    assert search.suggest("last") == pack(0)
    search.on_trial_complete("last", done(0))
    assert search.chooser.results == {0: done(0)["results"]} and search.lost == 0
    assert search.suggest("next") == Searcher.FINISHED


def test_a_lost_pack_waits_its_turn_and_each_has_tries_of_its_own():
    search = searcher(3)
    search.suggest("a"), search.suggest("b")
    search.on_trial_complete("a", error=True)
    assert [search.suggest("c"), search.suggest("d")] == [pack(2), pack(0)]
    for _ in range(RETRIES):
        search.on_trial_complete("b", error=True)
        assert search.suggest("b") == pack(1)
    search.on_trial_complete("b", error=True)
    assert list(search.chooser.results) == [1] and search.lost == 1


def test_a_completion_that_comes_twice_counts_once():
    """Between Tune and the searcher stands Tune's limiter, as in ``engine.search``."""
    search = searcher(2)
    limited = ConcurrencyLimiter(search, max_concurrent=2)
    limited.suggest("a"), limited.suggest("b")
    limited.on_trial_complete("a", done(0))
    limited.on_trial_complete("a", error=True)
    assert search.chooser.results == {0: done(0)["results"]} and search.lost == 0
    limited.on_trial_complete("b", done(1))
    assert limited.suggest("c") == Searcher.FINISHED
