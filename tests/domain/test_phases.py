from scripts.domain.phases import NOMINAL_TIMES_S, PHASES, REFERENCE_INDEX, REFERENCE_PHASE


def test_the_contract_of_phases():
    assert PHASES == ("pre", "arterial", "portal_venous", "delayed")
    assert PHASES[REFERENCE_INDEX] == REFERENCE_PHASE == "arterial"
    assert len(NOMINAL_TIMES_S) == len(PHASES)
    assert sorted(NOMINAL_TIMES_S) == list(NOMINAL_TIMES_S)
