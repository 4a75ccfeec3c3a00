"""What to try next, only where it follows from the course that a training took."""

from __future__ import annotations

from picdesk.training.fit import Fitted
from picdesk.training.module import MONITOR

WORTH_SAYING = 0.01


def of_training(fitted: Fitted) -> tuple[str, ...]:
    """What the course of the training suggests."""
    rows = [row for row in fitted.history if MONITOR in row]
    if len(rows) < 3:
        return ()
    best, last = rows[fitted.best], rows[-1]
    steps = []
    if fitted.best == len(rows) - 1 and best[MONITOR] > rows[-2][MONITOR]:
        steps.append(
            f"The last epoch ({last['epoch']:.0f}) was the best on validation data: more epochs (trainer.max_epochs) may help."
        )
    if 0 < fitted.best <= len(rows) // 3 and last[MONITOR] < best[MONITOR]:
        steps.append(
            f"Validation hits@1 was best at epoch {best['epoch']:.0f} ({best[MONITOR]:.3f}) and fell to {last[MONITOR]:.3f} by "
            f"epoch {last['epoch']:.0f}: a lower optimizer.lr, more dropout or more weight decay."
        )
    if fitted.path.alpha == 0:
        steps.append("Training never beat its start on validation data: try optimizer.lr ten times lower.")
    elif fitted.path.scores[fitted.path.best] - fitted.path.scores[-1] >= WORTH_SAYING:
        steps.append(
            f"Weights {fitted.path.alpha:.0%} of the way to the trained ones scored better than the trained ones: the steps "
            "went too far, so a lower optimizer.lr may do better still."
        )
    return tuple(steps)
