"""The experiment grid: every arm on the same folds and seeds, each run in a folder of its own, on Ray."""
