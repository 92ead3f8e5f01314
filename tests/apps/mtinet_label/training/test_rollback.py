import pytest
import rollback

from lib.errors import BadRequestError
from lib.models import ModelShelf
from scripts.engines.weights import load_weights, save_atomically


@pytest.fixture
def promoted(narrow_weights, tmp_path, monkeypatch):
    """A state folder whose shelf serves promoted weights."""
    shelf = ModelShelf(tmp_path / "state" / "models", shipped=narrow_weights, version="1.0.0")
    new = tmp_path / "new.pt"
    save_atomically(load_weights(narrow_weights) | {"mean_curve": load_weights(narrow_weights)["mean_curve"] + 1}, new)
    shelf.promote(new, metrics={})
    monkeypatch.setattr(
        rollback, "ModelShelf", lambda folder: ModelShelf(folder, shipped=narrow_weights, version="1.0.0")
    )
    return shelf


def test_without_studies_or_state_it_asks_for_them(capsys):
    with pytest.raises(SystemExit):
        rollback.main([])
    assert "--studies or --state" in capsys.readouterr().err


def test_where_nothing_was_promoted_it_says_so_in_one_line(tmp_path):
    with pytest.raises(SystemExit, match=r"error: .*nothing to roll back to"):
        rollback.main(["--state", str(tmp_path)])


def test_one_command_goes_back_and_a_running_server_sees_it(promoted, tmp_path, capsys):
    assert promoted.current().version == "1.0.0+1"
    rollback.main(["--state", str(tmp_path / "state")])
    assert "served from now on: 1.0.0 " in capsys.readouterr().out
    assert promoted.current().version == "1.0.0"


def test_a_rollback_is_taken_back_by_naming_the_version(promoted, tmp_path, capsys):
    state = ["--state", str(tmp_path / "state")]
    rollback.main(state)
    rollback.main([*state, "--to", "1.0.0+1"])
    assert "served from now on: 1.0.0+1 " in capsys.readouterr().out
    assert promoted.current().version == "1.0.0+1"
    with pytest.raises(SystemExit, match=r"no weights of version 1\.0\.0\+2"):
        rollback.main([*state, "--to", "1.0.0+2"])


def test_weights_that_were_compared_with_others_than_the_served_are_not_promoted(promoted, tmp_path):
    compared_with = promoted.current()
    promoted.rollback()
    with pytest.raises(BadRequestError, match="other weights were put in place meanwhile"):
        promoted.promote(tmp_path / "new.pt", metrics={}, instead_of=compared_with)
    assert promoted.current().version == "1.0.0"


def test_what_weights_learned_from_is_known_even_after_a_rollback(promoted, tmp_path):
    promoted.promote(tmp_path / "new.pt", metrics={}, learned=["b", "a"])
    promoted.rollback()
    promoted.promote(tmp_path / "new.pt", metrics={}, learned=["c"])
    assert promoted.learned() == {"a", "b", "c"}


def test_the_list_marks_what_is_served(promoted, tmp_path, capsys):
    rollback.main(["--state", str(tmp_path / "state"), "--list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line[0] for line in lines] == [" ", "*"]
    assert promoted.current().version == "1.0.0+1"
