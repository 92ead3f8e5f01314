"""What comes out of an analysis: lesions, metrics, figures, files and the report."""
