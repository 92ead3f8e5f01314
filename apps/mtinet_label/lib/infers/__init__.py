"""What a viewer can run: the automatic analysis, the refinement by clicks, the curve of a region."""
