"""The digital liver phantom: four-phase studies with a known truth, hard on purpose and frozen by hash."""
