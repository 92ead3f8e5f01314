"""How fast and how large: one JSON line a measurement, on the machine at hand (`make bench`)."""
