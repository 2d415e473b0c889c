import yaml

from smdsb_jax import choose, default_config, resolve
from smdsb_jax.configs import folder
from smdsb_jax.run.workload import changed_lines, workload


def told(budget, backend):
    return workload(folder.get_config(f"cad,target=scan{budget}"), backend)


def test_a_folders_default_budget_says_what_it_takes_without_a_gpu():
    steps = "Steps: 40,000 of stage 1 and 40,000 of stage 2, each of 64 clouds of 1,024 points."
    assert told("", "gpu") == steps
    assert told("", "cpu").startswith(f"{steps} Without a GPU that takes hours or days. ")
    assert "budget=trial" in told("", "cpu")


def test_a_trial_is_a_matter_of_minutes():
    steps = "Steps: 200 of stage 1 and 200 of stage 2, each of 32 clouds of 512 points."
    assert told(",budget=trial", "cpu") == steps
    config = folder.get_config("cad,target=scan,budget=trial,method=source_only")
    config.batch_is_total = False
    assert workload(config, "cpu") == "Steps: 200 of stage 1, each of 32 clouds of each domain of 512 points."


def test_fields_that_differ_are_yaml_and_an_entrys_own_defaults_are_none():
    config = default_config()
    config.selection.side = "low"
    config.selection.target_shift = (0.1, 0.1)
    assert changed_lines(config)[1:] == ['  selection.side: "low"', "  selection.target_shift: [0.1, 0.1]"]
    choose(config, "encoder", "pointnet")
    config.encoder.layers = (8, 16)
    first, *lines = changed_lines(resolve(config))
    assert "differ" in first and yaml.safe_load("\n".join(lines)) == {
        "encoder.name": "pointnet", "encoder.layers": [8, 16], "selection.side": "low",
        "selection.target_shift": [0.1, 0.1],
    }  # fmt: skip
    assert changed_lines(default_config()) == ["All fields have their defaults."]
