"""Which study to annotate next."""
