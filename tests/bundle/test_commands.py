"""What users type: every command ends well, or with one line that says what to do and nothing written."""
from conftest import CONFIGS

def test_x(typed, cohort, tmp_path):
    import time
    t=time.time()
    from tests_bundle import overrides
