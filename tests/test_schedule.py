"""Plans: progress rises without jumps to exactly 1, however often the clock changes the plan."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from residua.recipes import Recipe
from residua.schedule import Plan, planned


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (Recipe(steps=77), 77),
        (Recipe(epochs=3), 30),
        (Recipe(epochs=0.25), 2),
        (Recipe(epochs=1e-6), 1),
        (Recipe(time=60), 120),
        (Recipe(), 10),
    ],
)
def test_steps_of_a_plan(recipe: Recipe, expected: int) -> None:
    assert planned(recipe, steps_per_epoch=10, seconds_per_step=0.5) == Plan(expected)


def test_a_time_budget_below_one_step_is_one_step() -> None:
    assert planned(Recipe(time=1), 10, 500.0).steps == 1
    assert planned(Recipe(time=1), 10, 0.0).steps >= 1


def test_papers_iterations_have_exact_progress() -> None:
    plan = planned(Recipe(steps=64_000), 391)
    assert [plan.at(step) for step in (0, 32_000, 48_000, 64_000)] == [0, 0.5, 0.75, 1]


@given(
    steps=st.integers(1, 5_000),
    looks=st.lists(st.tuples(st.integers(1, 400), st.floats(0.001, 10)), min_size=1, max_size=12),
    budget=st.floats(1, 10_000),
)
def test_progress_is_monotonic_and_continuous_through_replanning(
    steps: int, looks: list[tuple[int, float]], budget: float
) -> None:
    """Machines of any speed, each leg of another one, never move progress back or past its end."""
    plan, step, seconds, progress = Plan(steps), 0, 0.0, 0.0
    for taken, cost in looks:
        for _ in range(min(taken, plan.steps - step)):
            step, seconds = step + 1, seconds + cost
            assert progress <= plan.at(step) <= 1
            progress = plan.at(step)
        new = plan.replanned(step, seconds, budget)
        assert new.steps >= step
        if new.steps > step:
            assert new.at(step) == pytest.approx(plan.at(step))
            assert progress == 1 or new.at(new.steps - 1) < 1
        plan = new
        assert plan.at(plan.steps) == 1
        if step >= plan.steps:
            return


@given(step=st.integers(1, 10_000), seconds=st.floats(0.01, 1e6), budget=st.floats(1, 1e6))
def test_a_replanned_end_is_where_the_budget_ends(step: int, seconds: float, budget: float) -> None:
    plan = Plan(2 * step).replanned(step, seconds, budget)
    if seconds >= budget:
        assert plan.steps == step and plan.at(step) == 1
        return
    assert abs(plan.steps * seconds / step - budget) <= 0.5 * seconds / step * 1.001


@given(steps=st.integers(2, 10_000), start=st.integers(1, 9_999), progress=st.floats(0, 1))
def test_progress_before_the_start_of_a_plan_is_not_invented(
    steps: int, start: int, progress: float
) -> None:
    """The learning rate of the step before a new plan is still asked for, by the log."""
    assume(start < steps)
    assert 0 <= Plan(steps, start, progress).at(start - 1) <= progress


def test_looks_at_the_clock_come_more_often_near_the_end() -> None:
    plan = Plan(1_000, 900, 0.9)
    assert not plan.due(904) and plan.due(905)
    assert Plan(1_000).due(50) and not Plan(1_000).due(49)
    assert Plan(5, 3, 0.5).due(4)
