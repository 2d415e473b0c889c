"""Stand-ins for wandb and mlflow that write down what is asked of them."""

import sys
from types import ModuleType, SimpleNamespace


def fake_wandb(patch, mode="online", fails=()):
    """`wandb` in `sys.modules`; the list of its calls, as (name, arguments). Those of `fails` raise."""
    calls = []

    def said(name):
        def call(*arguments, **named):
            calls.append((name, arguments or named))
            if name in fails:
                raise ConnectionError(f"no network\nfor {name}")

        return call

    def init(**options):
        said("init")(**options)
        return SimpleNamespace(
            id=options["id"] or f"run{sum(name == 'init' for name, _ in calls)}", url="https://host/run",
            settings=SimpleNamespace(mode=mode), define_metric=said("define_metric"), log=said("log"),
            finish=said("finish"),
        )  # fmt: skip

    module = ModuleType("wandb")
    module.init, module.Settings = init, lambda **fields: fields
    patch.setitem(sys.modules, "wandb", module)
    return calls


def fake_mlflow(patch, fails=(), experiment=None, raced=None):
    """`mlflow` and what it needs in `sys.modules`; the list of its calls.

    `experiment` is the id of the one there is, `raced` that of one which another process makes first.
    """
    calls, looks = [], []

    class Refused(Exception):
        pass

    class Client:
        def __init__(self, store):
            calls.append(("client", store))

        def __getattr__(self, name):
            def call(*arguments, **named):
                calls.append((name, (*arguments, *named.values())))
                if name in fails:
                    raise ConnectionError(f"no network\nfor {name}")
                return SimpleNamespace(info=SimpleNamespace(run_id=f"run{len(calls)}"))

            return call

        def get_experiment_by_name(self, name):
            looks.append(name)
            found = raced if len(looks) > 1 else experiment
            return found and SimpleNamespace(experiment_id=found)

        def create_experiment(self, name):
            calls.append(("create_experiment", name))
            if raced or "create_experiment" in fails:
                raise Refused("exists")
            return "7"

    mlflow, entities = ModuleType("mlflow"), ModuleType("mlflow.entities")
    mlflow.MlflowClient, mlflow.exceptions = Client, SimpleNamespace(MlflowException=Refused)
    entities.Metric, entities.Param = lambda *of: of, lambda *of: of
    for name, module in (("mlflow", mlflow), ("mlflow.entities", entities)):
        patch.setitem(sys.modules, name, module)
    for name in ("sqlalchemy", "alembic"):
        patch.setitem(sys.modules, name, ModuleType(name))
    patch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return calls
