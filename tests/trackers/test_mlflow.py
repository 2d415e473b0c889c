import math

import pytest

from smdsb_jax.run.records import open_reporter, read_records
from smdsb_jax.trackers.mlflow import LONGEST
from tests.tiers import exhaustive
from tests.trackers.fakes import fake_mlflow

CONFIG = {"seed": 0, "data.root": "", "validators.names": ("entropy",) * LONGEST}


def log(workdir, first, last, resumed_from=(0, 0)):
    with open_reporter(workdir, resumed_from, "mlflow", CONFIG) as reporter:
        for step in range(first, last + 1):
            reporter.scalars(1, step, {"loss/class": 1 / step, "target_test/accuracy": math.nan})


def test_a_run_is_begun_with_its_configuration_and_gets_the_records(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("time.time", lambda: 12.5)
    calls = fake_mlflow(monkeypatch)
    log(tmp_path, 2, 2)
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert calls[:3] == [
        ("client", store),
        ("create_experiment", "smdsb_jax"),
        ("create_run", ("7", tmp_path.name)),
    ]
    fields = [("seed", "0"), ("data.root", ""), ("validators.names", str(("entropy",) * LONGEST)[:LONGEST])]
    assert calls[3] == ("log_batch", ("run3", fields))
    stage, loss, accuracy = calls[4][1][1]
    assert (stage, loss) == (("stage", 1.0, 12500, 2), ("loss/class", 0.5, 12500, 2))
    assert accuracy[0] == "target_test/accuracy" and math.isnan(accuracy[1])
    assert calls[5:] == [("set_terminated", ("run3", "FINISHED"))]
    assert f"mlflow: run run3 in {store}" in capsys.readouterr().out


def test_a_resumed_training_goes_on_with_the_same_run_on_the_users_server(tmp_path, monkeypatch):
    calls = fake_mlflow(monkeypatch, experiment="3")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server")
    log(tmp_path, 1, 1)
    assert calls[:2] == [("client", "http://server"), ("create_run", ("3", tmp_path.name))]
    del calls[:]
    log(tmp_path, 2, 2, resumed_from=(1, 1))
    assert calls[:2] == [("client", "http://server"), ("update_run", ("run2", "RUNNING"))]
    assert [name for name, _ in calls[2:]] == ["log_batch", "set_terminated"]  # of the record alone


def test_an_experiment_that_another_run_makes_meanwhile_is_taken(tmp_path, monkeypatch):
    calls = fake_mlflow(monkeypatch, raced="9")
    log(tmp_path, 1, 1)
    assert ("create_run", ("9", tmp_path.name)) in calls


@pytest.mark.parametrize("fails", ["create_experiment", "create_run", "log_batch", "set_terminated"])
def test_an_error_of_mlflow_is_one_line_and_the_training_goes_on(fails, tmp_path, monkeypatch, capsys):
    calls = fake_mlflow(monkeypatch, fails=[fails])
    log(tmp_path, 1, 3)
    assert [r["step"] for r in read_records(tmp_path / "metrics.jsonl")] == [1, 2, 3]
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "Warning" in line]
    assert "config.tracker = 'mlflow': tracking ends here" in line
    assert sum(name == fails for name, _ in calls) == 1  # a server that is away is waited for once


def test_a_training_that_fails_is_a_failed_run(tmp_path, monkeypatch):
    calls = fake_mlflow(monkeypatch)
    with pytest.raises(KeyError), open_reporter(tmp_path, tracker="mlflow"):
        raise KeyError
    assert calls[-1][1][1] == "FAILED"


@exhaustive
@pytest.mark.filterwarnings("default")  # those of its own packages
def test_the_real_one_in_the_runs_folder(tmp_path, monkeypatch, capsys):
    for module in ("mlflow", "sqlalchemy", "alembic"):
        pytest.importorskip(module)
    import mlflow

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    log(tmp_path, 1, 3)
    log(tmp_path, 3, 4, resumed_from=(1, 2))
    assert "Warning" not in capsys.readouterr().out
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("smdsb_jax").experiment_id
    (run,) = client.search_runs([experiment])
    assert run.info.status == "FINISHED" and run.info.run_name == tmp_path.name
    assert run.data.params["seed"] == "0" and run.data.params["data.root"] == ""
    losses = client.get_metric_history(run.info.run_id, "loss/class")
    assert sorted((metric.step, metric.value) for metric in losses) == [
        (1, 1.0), (2, 0.5), (3, 1 / 3), (3, 1 / 3), (4, 0.25),
    ]  # fmt: skip
    assert math.isnan(client.get_metric_history(run.info.run_id, "target_test/accuracy")[0].value)
