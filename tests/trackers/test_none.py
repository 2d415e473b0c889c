from smdsb_jax.run.records import open_reporter


def test_the_records_are_all_there_is_and_those_of_any_tracker(tmp_path):
    for tracker in ("none", "tensorboard"):
        with open_reporter(tmp_path / tracker, tracker=tracker) as reporter:
            reporter.scalars(1, 1, {"loss/class": 0.1, "step_of_stage": 1})
    assert [path.name for path in (tmp_path / "none").iterdir()] == ["metrics.jsonl"]
    none, other = ((tmp_path / name / "metrics.jsonl").read_bytes() for name in ("none", "tensorboard"))
    assert none == other == b'{"stage": 1, "step": 1, "loss/class": 0.1, "step_of_stage": 1}\n'
