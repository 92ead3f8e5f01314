"""Other public layouts turned into ours: Decathlon, LLD-MMRI, a CSV of paths."""
