"""How a study gets in: dataset layout, reading, normalisation, the network grid, training slices, integrity."""
