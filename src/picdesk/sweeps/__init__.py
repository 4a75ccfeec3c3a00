"""Many jobs: the leaderboard, its charts, Optuna's study, what Hydra calls when a sweep begins and ends."""
