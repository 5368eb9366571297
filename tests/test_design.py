"""The sequential design: planted exponents are found, and nothing makes it fail or go on for ever."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from scipy.special import expit

from analysis.thresholds.fitting import fit_threshold
from analysis.thresholds.outcomes import Array, Tally, tally_counts
from infra.choosing.design import Cell, Space, ThresholdSampler, finished, propose, standard_error
from infra.choosing.space import crossed

Chance = Callable[[Array, Array], Array]
SAMPLES = (16.0, 24.0, 40.0, 64.0, 112.0, 192.0, 320.0, 512.0)
SPACE = Space(SAMPLES, (32.0, 2.0**21), (1.0, 2.0**24))
NOTHING = tally_counts([], [], [], [])
GRID = 10_000  # trainings that half octaves over SPACE.critical take to the same standard error: benchmarks/designs.md


def power(p: float, slope: float = 4.0, factor: float = 1.0) -> Chance:
    return lambda n, m: expit(slope * (np.log(m) - np.log(factor * n**p)))


def train(data: Tally, cells: list[Cell], chance: Chance, rng: np.random.Generator) -> Tally:
    n, m, lots = np.array(cells, dtype=float).T
    won = rng.binomial(lots.astype(int), chance(n, m))
    columns = [(data.critical, m), (data.over, n), (data.successes, won), (data.trials, lots)]
    return tally_counts(*(np.append(old, new) for old, new in columns))


def search(chance: Chance, space: Space, trainings: int, seed: int = 0, data: Tally = NOTHING) -> Tally:
    """Until ``trainings`` or finished; outcomes depend on the data alone, so that a search may be cut in two."""
    for _ in range(200):
        if data.trainings >= trainings or finished(data, space):
            break
        rng = np.random.default_rng([seed, data.trainings])
        data = train(data, propose(data, [], space, 64), chance, rng)
    return data


def same(a: Tally, b: Tally) -> bool:
    pairs = [(a.over, b.over), (a.critical, b.critical), (a.successes, b.successes), (a.trials, b.trials)]
    return all(np.array_equal(x, y) for x, y in pairs)


def test_the_planted_exponent_is_found_at_a_fraction_of_the_grids_trainings() -> None:
    taken = []
    for seed in range(1, 4):
        data = search(power(2.0), SPACE, 2_000, seed)
        law = fit_threshold(data)
        assert finished(data, SPACE) and (law.interval[1] - law.interval[0]) / 3.92 <= 0.02
        assert abs(law.exponent - 2.0) < 0.06
        taken.append(data.trainings)
    assert np.mean(taken) < GRID / 8


def test_the_standard_error_is_that_of_repeated_searches() -> None:
    found = []
    for seed in range(8):
        data = search(power(1.5, slope=8.0), SPACE, 400, seed)
        found.append((fit_threshold(data).exponent - 1.5) / standard_error(data, SPACE))
    assert 0.25 < np.sqrt(np.mean(np.square(found))) < 1.7


def test_equal_data_propose_equally_and_a_resumed_search_equals_an_undisturbed_one() -> None:
    data = search(power(2.0), SPACE, 200)
    shuffled = np.random.default_rng(0).permutation(len(data.over))
    recorded = [column[shuffled] for column in (data.critical, data.over, data.successes, data.trials)]
    again = tally_counts(*recorded)
    pending = [Cell(16.0, 250.0, 4)]
    assert propose(data, pending, SPACE, 64) == propose(again, pending, SPACE, 64)
    assert same(search(power(2.0), SPACE, 400), search(power(2.0), SPACE, 400, data=again))


def test_pending_trainings_are_not_asked_for_again() -> None:
    first = propose(NOTHING, [], SPACE, 16)
    second = propose(NOTHING, first, SPACE, 16)
    assert not {cell[:2] for cell in first} & {cell[:2] for cell in second}
    data = search(power(2.0), SPACE, 300)
    batch = propose(data, [], SPACE, 64)
    busy = [cell._replace(trainings=400) for cell in batch]
    moved = propose(data, busy, SPACE, 64)
    crowded = {cell.over for cell in batch}
    share = [sum(c.trainings for c in cells if c.over in crowded) / 64 for cells in (batch, moved)]
    assert share[0] == 1.0 and share[1] < 0.7


def test_a_batch_is_few_cells_of_several_trainings_and_never_large_before_much_is_known() -> None:
    data = search(power(2.0), SPACE, 300)
    batch = propose(data, [], SPACE, 1_000)
    assert sum(cell.trainings for cell in batch) == max(16, data.trainings // 4)
    assert len(batch) <= 8 and min(cell.trainings for cell in batch) >= 2
    assert len({cell[:2] for cell in batch}) == len(batch)
    assert [cell.trainings for cell in propose(data, [], SPACE, 1)] == [1]
    with pytest.raises(ValueError, match="size"):
        propose(data, [], SPACE, 0)


def test_the_trainings_stay_spread_over_n() -> None:
    data = search(power(2.0), SPACE, 600)
    each = np.array([data.trials[data.over == n].sum() for n in SAMPLES])
    assert each.min() > 0.4 * data.trainings / len(SAMPLES)
    assert each[[0, 1, -2, -1]].sum() > 1.3 * each[2:-2].sum()  # yet the ends say most about an exponent


@pytest.mark.parametrize(("critical", "factor"), [((4.0, 64.0), 4.0), ((2e4, 4e5), 0.5)])
def test_the_range_extends_when_the_law_leaves_it(critical: tuple[float, float], factor: float) -> None:
    space = Space((16.0, 32.0, 64.0, 128.0), critical, (2.0, 2.0**20))
    early = search(power(1.5, factor=factor), space, 80)
    data = search(power(1.5, factor=factor), space, 400, data=early)
    assert crossed(early) >= 3 and crossed(data) == 4
    assert abs(fit_threshold(data).exponent - 1.5) < 0.2


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_never_beyond_the_limits(factor: float) -> None:
    space = Space((16.0, 32.0, 64.0), (50.0, 500.0), (20.0, 3_000.0), whole=False)
    data = search(power(1.0, factor=factor), space, 400)
    assert data.critical.min() >= 20.0 and data.critical.max() <= 3_000.0
    assert standard_error(data, space) == np.inf
    assert not finished(data, space, most=5_000) and finished(data, space, most=400)


def test_whole_numbers_are_whole_and_named_once() -> None:
    space = Space((4.0, 6.0, 9.0, 13.0), (1.0, 64.0), (1.0, 64.0))
    data = NOTHING
    for step in range(24):
        if finished(data, space, least=300):  # between neighbouring whole numbers there is nothing more to learn
            break
        batch = propose(data, [], space, 48)
        assert len({cell[:2] for cell in batch}) == len(batch)
        assert all(cell.critical == int(cell.critical) for cell in batch)
        data = train(data, batch, lambda n, m: (m >= n).astype(float), np.random.default_rng(step))
    law = fit_threshold(data)
    assert finished(data, space, least=300) and law.interval[0] <= 1.0 <= law.interval[1]
    assert standard_error(data, space) < 0.1


POOR: dict[str, Chance] = {
    "step": lambda n, m: (m >= n).astype(float),
    "no success": lambda n, m: 0 * n * m,
    "all success": lambda n, m: 0 * n * m + 1,
    "no effect of the width": lambda n, m: 0 * n * m + 0.5,
    "falling": lambda n, m: expit(4 * np.log(n / m)),
    "many lapses": lambda n, m: 0.2 + 0.6 * (m >= n),
}


@pytest.mark.parametrize("name", POOR)
@pytest.mark.parametrize("over", [(16.0, 32.0, 64.0, 128.0), (32.0,)])
def test_poor_data_raise_nothing_and_the_search_ends(name: str, over: tuple[float, ...]) -> None:
    space, data, rng = Space(over, (4.0, 512.0), (2.0, 2048.0)), NOTHING, np.random.default_rng(0)
    for _ in range(40):
        if finished(data, space, least=150, most=450):
            break
        data = train(data, propose(data, [], space, 64), POOR[name], rng)
    assert finished(data, space, least=150, most=450) and data.trainings < 450 + 128


def test_failed_trainings_count_towards_the_end_and_are_not_repeated_for_ever() -> None:
    asked, dropped = [], 0
    for _ in range(20):
        if not finished(replace(NOTHING, dropped=dropped), SPACE, most=200):
            batch = propose(replace(NOTHING, dropped=dropped), [], SPACE, 16)
            dropped += sum(cell.trainings for cell in batch)
            asked.append(tuple(batch))
    assert 200 <= dropped < 216 and len(set(asked[:4])) == 4


def test_falling_is_rising_seen_from_the_other_end() -> None:
    rising, falling = power(1.0), lambda n, m: 1 - power(1.0)(n, m)
    space = Space((16.0, 32.0, 64.0, 128.0), (2.0, 1024.0), (2.0, 1024.0))
    data = search(falling, replace(space, falling=True), 400)
    turned = propose(data.turned(), [], replace(space, falling=True), 64)
    assert turned == propose(data, [], replace(space, falling=True), 64)
    assert abs(fit_threshold(data.turned()).exponent - 1.0) < 0.2
    assert abs(fit_threshold(search(rising, space, 400)).exponent - 1.0) < 0.2


def test_spaces_without_sense_are_refused() -> None:
    for wrong in ({"over": ()}, {"over": (0.0,)}, {"critical": (0.0, 5.0)}, {"limits": (10.0, 5.0)}, {"level": 1.0}):
        with pytest.raises(ValueError, match=r"over|limits|level"):
            replace(SPACE, **wrong)  # type: ignore[arg-type]


def objective(trial: optuna.Trial) -> bool:
    n = trial.suggest_categorical("n", [16, 32, 64, 128])
    m = trial.suggest_int("m", 2, 4096, log=True)
    depth = trial.suggest_int("depth", 1, 3)
    if trial.number % 9 == 5:
        raise RuntimeError("a failed training")
    return bool(np.random.default_rng([trial.number, depth]).random() < expit(4 * np.log(m / n)))


@pytest.fixture
def study() -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(sampler=ThresholdSampler(critical="m", over="n"), direction="maximize")


def test_a_study_with_two_jobs_and_failed_trials_finds_the_exponent(study: optuna.Study) -> None:
    study.optimize(objective, n_trials=135, n_jobs=2, catch=(RuntimeError,))
    sampler = study.sampler
    assert isinstance(sampler, ThresholdSampler)
    data = sampler.data(study)
    assert data.trainings + data.dropped == 135 and data.dropped == 15
    assert set(data.over) == {16.0, 32.0, 64.0, 128.0}
    law = fit_threshold(data)
    assert law.interval[0] < 1.0 < law.interval[1] and law.interval[1] - law.interval[0] < 1.1
    assert not sampler.finished(study, target=0.001) and sampler.finished(study, most=135)


def test_ask_and_tell_with_running_trials_pending_and_a_real_axis(study: optuna.Study) -> None:
    asked: list[optuna.Trial] = []
    for number in range(60):
        asked.append(study.ask())
        n, m = asked[-1].suggest_float("n", 8, 512, log=True), asked[-1].suggest_float("m", 1.0, 1e5, log=True)
        if number >= 10:  # ten trials under way
            done = asked[number - 10]
            study.tell(done, float(done.params["m"] > done.params["n"]))
        assert 8 <= n <= 512 and 1.0 <= m <= 1e5
    cells = [
        (trial.params["n"], trial.params["m"]) for trial in asked[2:18]
    ]  # the first trial's axes are not yet known
    assert len(set(cells)) == 8  # the first pass, two trainings a cell: running trials were not asked for again
    sampler = study.sampler
    assert isinstance(sampler, ThresholdSampler) and sampler.data(study).trainings == 50
    assert sampler.data(study).successes.sum() > 10


def test_a_study_resumed_in_another_process_suggests_the_same() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(storage=storage, study_name="s", sampler=ThresholdSampler()).optimize(
        objective, n_trials=70, catch=(RuntimeError,)
    )
    asked = [optuna.load_study(study_name="s", storage=storage, sampler=ThresholdSampler()).ask() for _ in range(2)]
    assert asked[0].relative_params and asked[0].relative_params == asked[1].relative_params


def test_the_users_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    example = Path(__file__).parents[1] / "docs" / "optuna_example.py"
    assert len(example.read_text().splitlines()) <= 26
    runpy.run_path(str(example))
    assert "m* =" in capsys.readouterr().out
