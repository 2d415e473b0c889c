import pytest

from smdsb_jax.files import whole_file


def test_a_file_is_replaced_at_the_end_of_the_block_and_its_folder_is_made(tmp_path):
    path = tmp_path / "new" / "curves.png"
    with whole_file(str(path)) as part:
        part.write_text("first")
        assert part.suffix == ".png" and part.parent == path.parent and not path.exists()
    with whole_file(path) as part:
        part.write_text("second")
        assert path.read_text() == "first"
    assert path.read_text() == "second" and list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(OSError, match="disk full"), whole_file(path) as part:
        part.write_text("ha")
        raise OSError("disk full")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError), whole_file(path):
        pass  # nothing was written
    assert path.read_text() == "old"


def test_two_that_write_the_same_file_do_not_mix(tmp_path):
    path = tmp_path / "config.json"
    with whole_file(path) as one, whole_file(path) as other:
        one.write_text("one" * 100)
        other.write_text("other")
    assert path.read_text() == "one" * 100 and list(tmp_path.iterdir()) == [path]
