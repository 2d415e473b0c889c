"""MLflow."""

import importlib
import os
import time
from typing import Any

from smdsb_jax.trackers.base import PROJECT, Numbers, Start, Tracker, keep_run, kept_run, tolerant

LONGEST = 6000  # letters of a parameter that MLflow takes


def mlflow(start: Start) -> Tracker:
    """A run of MLflow, on the server of `MLFLOW_TRACKING_URI` or in `mlflow.db`   [https://mlflow.org/docs].

    The latter is SQLite in the workdir: `mlflow ui --backend-store-uri sqlite:///WORKDIR/mlflow.db`. The
    experiment is that of `MLFLOW_EXPERIMENT_NAME`.

    Each record is one request, which the training waits for. MLflow repeats one that fails, for some minutes
    (`MLFLOW_HTTP_REQUEST_MAX_RETRIES` and `MLFLOW_HTTP_REQUEST_TIMEOUT` say how long). Then that is said, and
    the training goes on untracked: it waits for a server that is away once.

    A resumed training goes on with the same run. MLflow keeps every value of a metric at a step with its time
    of day: a step that comes again is a second, equal point.
    """
    return tolerant("mlflow", _begin, start)


def _begin(start: Start) -> Tracker:
    package = importlib.import_module("mlflow")
    entities = importlib.import_module("mlflow.entities")
    store = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{start.workdir / 'mlflow.db'}"
    client = package.MlflowClient(store)
    run = kept_run(start, "mlflow")
    if run:
        client.update_run(run, status="RUNNING")
    else:
        experiment = _experiment(package, client, os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT))
        run = client.create_run(experiment, run_name=start.workdir.name).info.run_id
        keep_run(start, "mlflow", run)
        fields = {name: str(value)[:LONGEST] for name, value in start.config.items()}
        client.log_batch(run, params=[entities.Param(name, value) for name, value in fields.items()])
    start.say(f"mlflow: run {run} in {store}")

    def scalars(stage: int, step: int, values: Numbers) -> None:
        now = int(1000 * time.time())
        recorded = {"stage": stage, **values}
        metrics = [entities.Metric(name, float(value), now, step) for name, value in recorded.items()]
        client.log_batch(run, metrics=metrics)

    def close(failed: bool) -> None:
        client.set_terminated(run, "FAILED" if failed else "FINISHED")

    return Tracker(scalars, close)


def _experiment(package: Any, client: Any, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(name)
        except package.exceptions.MlflowException:  # another run of a sweep may have made it meanwhile
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return found.experiment_id
