"""How far a run has come: steps turned into progress, from 0 to 1.

Learning rates follow progress. A plan maps steps to it in a straight line; a run with a time budget
draws a new line from where it stands whenever the machine turns out faster or slower than thought.
"""

from dataclasses import dataclass

from residua.recipes import Recipe

REPLANS = 20  # looks at the clock over a run with a time budget


@dataclass(frozen=True)
class Plan:
    """From `progress` at step `start`, in a straight line to 1 at step `steps`."""

    steps: int
    start: int = 0
    progress: float = 0.0
    seconds: float = 0.0  # spent when it began

    def at(self, step: int) -> float:
        """The progress of `step`, whose exact end is 1."""
        if step >= self.steps:
            return 1.0
        share = max(0, step - self.start) / (self.steps - self.start)
        return self.progress + share * (1 - self.progress)

    def replanned(self, step: int, seconds: float, budget: float) -> "Plan":
        """The plan that ends when the budget does, going on as fast as since this one began.

        What was before may have been faster: images that grow make later steps slower.

        Args:
            step: steps taken, more than when this plan began.
            seconds: time that all of them took.
            budget: seconds for the whole run.
        """
        each = (seconds - self.seconds) / (step - self.start)
        steps = step + max(0, round((budget - seconds) / each))
        return Plan(steps, step, self.at(step), seconds) if steps > step else Plan(step)

    @property
    def next_look(self) -> int:
        """The step at which a run with a time budget looks at the clock again."""
        return self.start + max(1, (self.steps - self.start) // REPLANS)

    def due(self, step: int) -> bool:
        """Whether it is time for that look."""
        return step >= self.next_look


def planned(recipe: Recipe, steps_per_epoch: int, seconds_per_step: float = 0.0) -> Plan:
    """The plan of a recipe that gives steps, epochs or a time budget."""
    if recipe.steps is not None:
        return Plan(recipe.steps)
    if recipe.time is not None:
        return Plan(max(1, round(recipe.time / max(seconds_per_step, 1e-9))))
    return Plan(max(1, round((recipe.epochs or 1) * steps_per_epoch)))
