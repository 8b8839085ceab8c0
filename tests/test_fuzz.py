from pathlib import Path

from tests import fuzz


def test_a_share_of_mutated_files_through_the_command_line(tmp_path: Path) -> None:
    assert fuzz.run_round(tmp_path, 60, seed=7) == ""
