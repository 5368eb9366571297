"""The timeline tells by the rows when which worker trained: planted packs whose idle time is known."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import planted_rows as planted
import pyarrow as pa
import pytest

from analysis import report
from analysis.figures import timeline

BEGAN = datetime(2026, 1, 2, 23, 59, 50, tzinfo=UTC)
# host, process, n, begin and end in seconds: two workers, one of which has nothing left at 8 s; an hour later a second
# run of the first host and one of another, which begins anew after 2 s with another process
PACKS = [
    ("a", 11, 64, 0.0, 5.5), ("a", 12, 64, 0.25, 8.0), ("a", 11, 32, 6.0, 10.0),
    ("a", 21, 16, 3600.0, 3602.0), ("b", 21, 16, 3600.0, 3602.0), ("b", 22, 8, 3602.0, 3604.0),
]  # fmt: skip


def rows(packs=PACKS, trainings=3):
    """So many rows for each pack, in an order of their own."""

    def clock(seconds):
        return (BEGAN + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")

    names = ("host", "worker", "n", "started", "finished")
    lines = [(host, worker, n, clock(begin), clock(end)) for host, worker, n, begin, end in packs] * trainings
    return pa.table(dict(zip(names, map(list, zip(*lines[::-1], strict=True)), strict=True)))


def test_every_pack_is_a_bar_in_the_lane_of_its_worker():
    found = timeline.timeline(rows(), "n")
    assert found.lanes == ["a 1", "a 2", "b 1"]
    bars = sorted(zip(found.begin, found.end, found.lane, found.values, strict=True), key=lambda bar: (bar[0], bar[2]))
    assert bars == [
        (0.0, 5.5, 0, 64), (0.25, 8.0, 1, 64), (6.0, 10.0, 0, 32),
        (10.0, 12.0, 0, 16), (10.0, 12.0, 2, 16), (12.0, 14.0, 2, 8),
    ]  # fmt: skip
    assert found.runs == [(0.0, 10.0, 2), (10.0, 14.0, 2)]


def test_idle_time_is_what_is_left_of_the_workers_time():
    found = timeline.timeline(rows(), "n")
    assert found.worker_seconds == 2 * 10 + 2 * 4
    assert found.idle == pytest.approx((0.25 + 0.5 + 2 + 2) / 28)
    assert found.idle_at_the_end == pytest.approx((2 + 2) / 28)
    assert "6 packs" in timeline.told(found, "n") and "17.0% of" in timeline.told(found, "n")
    first = timeline.timeline(rows(PACKS[:3]), "n")
    assert first.lanes == ["1", "2"] and first.idle_at_the_end == pytest.approx(2 / 20)
    alone = timeline.timeline(rows(PACKS[:1], 1), "n")
    assert (alone.idle, alone.idle_at_the_end, alone.lanes) == (0, 0, ["1"])


def test_rows_that_do_not_say_when_their_pack_began_are_left_out():
    old = pa.table({"host": ["a"] * 2, "n": [8, 8], "finished": ["2026-01-02T00:00:00+00:00"] * 2})
    assert timeline.timeline(old, "n") is None
    both = pa.concat_tables([rows(), old], promote_options="default")
    assert len(timeline.timeline(both, "n").begin) == 6
    assert timeline.timeline(both.slice(len(rows())), "n") is None


def test_the_share_of_very_many_packs_has_their_time_as_its_area(monkeypatch):
    found = timeline.timeline(rows(), "n")
    assert len(timeline.timeline_figure(found, "n", "").axes[0].collections) == 4, "one colour a value of n"
    monkeypatch.setattr(timeline, "BARS", 5)
    (stairs,) = timeline.timeline_figure(found, "n", "").axes[0].patches
    counts, edges, _ = stairs.get_data()
    assert sum(counts * (edges[1:] - edges[:-1])) == pytest.approx((found.end - found.begin).sum())
    assert counts.max() == pytest.approx(2) and counts[edges[:-1] < 0.2] == pytest.approx(1)


def test_packs_of_several_values_and_of_words_are_named():
    several = rows([("a", 1, 8, 0.0, 1.0), ("a", 1, 16, 0.0, 1.0), ("a", 1, 4, 1.0, 2.0)], 1)
    found = timeline.timeline(several, "n")
    assert sorted(found.values, key=str) == [4, None]
    legend = timeline.timeline_figure(found, "n", "").axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["n = 4", "several n"]
    words = rows().append_column("labels", pa.array(["sign"] * 18))
    assert set(timeline.timeline(words, "labels").values) == {"sign"}


def test_the_page_shows_the_timeline_of_a_plan(tmp_path, monkeypatch):
    planted.drawn_as(monkeypatch, "pdf")
    planted.plan(tmp_path)
    some = planted.rows(worker=7, started="2026-01-01T23:59:00.000+00:00")
    planted.write(tmp_path, some)
    html = Path(report.write_report(str(tmp_path))).read_text()
    assert "1 pack; packs by worker over time" in html and "Idle: 0.0% of" in html
    assert Path(tmp_path, "figures/planted-aaaaaa-timeline.pdf").read_bytes().startswith(b"%PDF")
