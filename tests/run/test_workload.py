from configs import folder
from smdsb_jax.run.workload import workload


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
