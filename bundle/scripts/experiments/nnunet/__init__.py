"""nnU-Net v2 as an arm: trained and applied by its own command line, scored by the code that scores every arm."""
