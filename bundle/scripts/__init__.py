"""MTI-Net for four-phase liver MRI: data in (studies), through (networks, engines), out (results)."""
