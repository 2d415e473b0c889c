"""Tables of runs for launch/sweep.py.

python launch/sweep.py --table configs/tables.py:table1 --field data.root=PointDA_data --workdir runs/table1
python launch/sweep.py --table configs/tables.py:table1,data=embedded --workdir runs/small

table1, table2, table3: those of the paper [SM-DSB, arXiv:2504.15796], beside its printed values. methods:
every method with and without SM-DSB. hosts: each host with other selections, and with a smaller pretext
weight instead. rules: every way of merging gradients, with and without SM-DSB. selection, statistics,
agreement: those of docs/. alpha, keep_ratio: the paper's figures 8 to 10.
decide: is SM-DSB right, on clouds of a folder? first_run: does `make train` adapt?
data=pointda takes the published protocol in six directions (table2: PointSegDA's, in twelve); data=embedded
the same rows on the embedded clouds, at budget=study, in two; data=folder,direction=cad2scan on those of
`--field data.root=FOLDER`, at budget=long. A row is the options of the configuration
file's argument, then fields.
"""

from collections.abc import Callable, Sequence

from smdsb_jax.configs.methods import METHODS

from smdsb_jax.combine import COMBINE
from smdsb_jax.config import parse_arg
from smdsb_jax.configs import bodies, embedded, pointda, pointsegda
from smdsb_jax.registry import lookup
from smdsb_jax.sweep.grid import Grid
from smdsb_jax.sweep.published import published

Rows = dict[str, Sequence[str]]
HOSTS = {"DefRec": "defrec", "GAST": "gast", "Self-dist GCN": "self_distillation"}
QUOTED = {  # rows of Table I that the paper has from elsewhere
    **{name: f"{name}, quoted" for name in ("PointDAN", "ImplicitPCDA", "DefRec+PCM", "MLSP")},
    "DFAN": "DFAN-like; DFAN as quoted",
}
# spelled as in `hosts`, so that the tables share its runs
SMDSB = ("method=defrec,selection=skewness", "selection.side=low")
APART, GATHER = "selection.scope=per_domain", "selection.execution=gather"
SHARED = "saliency.mode=shared"


def get_grid(arg: str = "table1") -> Grid:
    """`table1,data=embedded`."""
    a = parse_arg(arg, table="table1", data="", direction="clean2scanned")
    make, data = lookup(TABLES, a.table, "table")
    data = a.data or data
    known = {table2: ["pointda", "embedded"], first_run: ["embedded"]}.get(make, DATA)
    lookup(dict.fromkeys(known), data, "table option data")
    grid = make(data)
    return grid._replace(directions=(a.direction,)) if data == "folder" else grid


def table1(data: str) -> Grid:
    """All rows of the paper, then what its text alone says.

    Its GAST rows are of PointNet, as its text says and their level shows. Rows that it quotes from elsewhere
    are marked: their encoders, protocols and choices of checkpoints are others'. Of these MLSP's is of stage
    1 alone, ImplicitPCDA's of both. DFAN is a reconstruction of ours.
    """
    network = ",encoder=pointnet" if data == "pointda" else ""  # the study has a PointNet for all
    rows: Rows = {
        "No Adaptation": ["method=source_only"],
        QUOTED["PointDAN"]: ["method=pointdan,selection=none"],
        QUOTED["ImplicitPCDA"]: ["method=implicit,selection=none"],
        QUOTED["DefRec+PCM"]: ["method=defrec_pcm,selection=none"],
        QUOTED["DFAN"]: ["method=dfan,selection=none"],
        QUOTED["MLSP"]: ["method=mlsp,selection=none"],
        "GAST": [f"method=gast,selection=none{network}"],
        "GAST+SM-DSB": [f"method=gast,selection=skewness{network}"],
        "Self-dist GCN": ["method=self_distillation,selection=none"],
        "Self-dist GCN+SM-DSB": ["method=self_distillation,selection=skewness"],
        "oracle (trained with target labels)": ["method=oracle"],
    }
    if data == "pointda":  # of PointNet, in the text; on the embedded clouds the row is there
        rows["DefRec+PCM, PointNet"] = ["method=defrec_pcm,selection=none,encoder=pointnet"]
    rows["DefRec+PCM+SM-DSB, PointNet"] = [f"method=defrec_pcm,selection=skewness{network}"]
    grid = _grid("Table I", rows, data)
    printed = {QUOTED.get(name, name): row for name, row in published("table1").items()}
    return grid._replace(encoders=("dgcnn",), published=printed) if data == "pointda" else grid


def table2(data: str) -> Grid:
    """Part segmentation, stage 1 alone; of MLSP the paper's text tells what SM-DSB adds, from FAUST.

    Its rows of DefRec train the task on both domains.
    """
    rows: Rows = {
        "Oracle": ["method=oracle"],
        "Without adaptation": ["method=source_only"],
        "DefRec": ["method=defrec,selection=none"],
        "DefRec+SM-DSB": ["method=defrec,selection=skewness"],
        "MLSP": ["method=mlsp,selection=none"],
        "MLSP+SM-DSB": ["method=mlsp,selection=skewness"],
    }
    printed = " (printed: +4, +4.5 and +4.8 points to ADOBE, MIT and SCAPE)" if data == "pointda" else ""
    contrasts = {
        "DefRec: SM-DSB minus none": [("DefRec+SM-DSB", "DefRec")],
        f"MLSP: SM-DSB minus none{printed}": [("MLSP+SM-DSB", "MLSP")],
    }
    if data == "pointda":
        grid = Grid("Table II, PointSegDA", "configs/pointsegda.py", rows, tuple(pointsegda.DIRECTIONS))
        grid = grid._replace(published=published("table2"))
    else:
        title = "Table II, embedded body clouds, budget=study"
        grid = Grid(title, "configs/bodies.py", rows, tuple(bodies.DIRECTIONS), options="budget=study")
    return grid._replace(measure="mIoU", contrasts=contrasts)


def table3(data: str) -> Grid:
    """Stage 1 alone, with two encoders; the paper trains PointNet with its block at other values."""
    host = "method=self_distillation,selection"
    longer = ["selection.keep_ratio=0.8", *(["stage1.steps=20000"] if data == "pointda" else [])]
    rows: Rows = {
        "Self-dist GCN, DGCNN": [f"{host}=none,encoder=dgcnn"],
        "Self-dist GCN+SM-DSB, DGCNN": [f"{host}=skewness,encoder=dgcnn"],
        "Self-dist GCN, PointNet": [f"{host}=none,encoder=pointnet"],
        "Self-dist GCN+SM-DSB, PointNet": [f"{host}=skewness,encoder=pointnet", *longer],
    }
    grid = _grid("Table III", rows, data)._replace(stages=(1,))
    return grid._replace(published=published("table3")) if data == "pointda" else grid


def methods(data: str) -> Grid:
    """What the selection does to every method that has a pretext task or an alignment."""
    rows: Rows = {
        "source_only": ["method=source_only"],
        "oracle (trained with target labels)": ["method=oracle"],
    }
    pairs = {}
    for name in METHODS:
        if name not in ("source_only", "oracle"):
            rows[name] = [f"method={name},selection=none"]
            rows[f"{name} + SM-DSB"] = [f"method={name},selection=skewness"]
            pairs[f"{name}: SM-DSB minus none"] = [(f"{name} + SM-DSB", name)]
    every = {"all: SM-DSB minus none": [pair for each in pairs.values() for pair in each]}
    return _grid("Methods", rows, data)._replace(contrasts=every | pairs)


def hosts(data: str) -> Grid:
    """Is it the selection, or the smaller weight that it gives the pretext task?"""
    rows: Rows = {
        "source_only": ["method=source_only"],
        "oracle (trained with target labels)": ["method=oracle"],
    }
    for name, method in HOSTS.items():
        config = embedded.get_config(f"method={method}")
        weight = config.pretext.weight * config.selection.keep_ratio
        stays = "stage2.pretext=True"  # else GAST's rows without selection differ in that too
        rows |= {
            name: [f"method={method},selection=none", stays],
            f"{name}, smaller weight": [
                f"method={method},selection=none",
                stays,
                f"pretext.weight={weight:g}",
            ],
            f"{name}, random": [f"method={method},selection=random"],
            f"{name}, low skewness": [f"method={method},selection=skewness", "selection.side=low"],
            f"{name}, high skewness": [f"method={method},selection=skewness", "selection.side=high"],
        }
    others = {"no selection": "", "smaller weight": ", smaller weight", "random": ", random"}
    others["high skewness"] = ", high skewness"
    pairs = {
        f"{host}: low skewness minus {name}": [(f"{host}, low skewness", f"{host}{suffix}")]
        for host in HOSTS
        for name, suffix in others.items()
    }
    pooled = {
        f"all hosts: low skewness minus {name}": [(f"{h}, low skewness", f"{h}{suffix}") for h in HOSTS]
        for name, suffix in others.items()
    }
    return _grid("Hosts and selections", rows, data)._replace(contrasts=pooled | pairs)


def rules(data: str) -> Grid:
    """Does another way of merging the gradients do what the selection does, and do both add up?"""
    rows: Rows = {}
    alone, selected = {}, {}
    for name in COMBINE:
        rows[name] = [f"method=defrec,selection=none,combine={name}"]
        rows[f"{name} + SM-DSB"] = [f"method=defrec,selection=skewness,combine={name}"]
        if name != "sum":
            alone[f"{name} minus sum"] = [(name, "sum")]
            selected[f"{name} + SM-DSB minus sum + SM-DSB"] = [(f"{name} + SM-DSB", "sum + SM-DSB")]
    contrasts = {"sum: SM-DSB minus none": [("sum + SM-DSB", "sum")]} | alone | selected
    return _grid("Merging gradients", rows, data)._replace(stages=(1,), contrasts=contrasts)


def selection(data: str) -> Grid:
    rows: Rows = {
        "mask, pooled, per_sample": SMDSB,
        "mask, per_domain, per_sample": [*SMDSB, APART],
        "gather, per_domain, per_sample": [*SMDSB, APART, GATHER],
        "mask, pooled, shared": [*SMDSB, SHARED],
        "gather, per_domain, shared": [*SMDSB, APART, GATHER, SHARED],
    }
    return _grid("Ways of selecting", rows, data)


def statistics(data: str) -> Grid:
    """Skewness beside the statistic that leads the laboratory's leaderboard (docs/results.md)."""
    rows: Rows = {}
    for name in ("DefRec", "Self-dist GCN"):
        method = f"method={HOSTS[name]},selection"
        rows[f"{name}, skewness"] = [f"{method}=skewness", "selection.side=low"]
        rows[f"{name}, saliency_norm"] = [f"{method}=saliency_norm"]
    each = [(f"{name}, saliency_norm", f"{name}, skewness") for name in ("DefRec", "Self-dist GCN")]
    contrasts = {"saliency_norm minus skewness": each}
    return _grid("Statistics", rows, data)._replace(contrasts=contrasts)


def agreement(data: str) -> Grid:
    """How far the two saliency modes keep the same source samples after stage 1."""
    rows: Rows = {"DefRec + SM-DSB": SMDSB}
    return _grid("Agreement of the saliency modes", rows, data)._replace(measure="agreement")


def alpha(data: str) -> Grid:
    """The paper's figure 8: how much the radius counts in the saliency."""
    rows: Rows = {f"alpha {a:g}": [*SMDSB, f"saliency.alpha={a}"] for a in (0.0, 0.5, 1.0, 2.0, 3.0, 6.0)}
    return _grid("Alpha of the saliency", rows, data)


def keep_ratio(data: str) -> Grid:
    """Its figures 9 and 10: which share of the samples takes part."""
    rows: Rows = {f"keep {k / 10:g}": [*SMDSB, f"selection.keep_ratio={k / 10}"] for k in range(1, 11)}
    return _grid("Kept share", rows, data)._replace(fields=(f"eval_every={EVALUATE[data]}",))


def decide(data: str) -> Grid:
    """Is SM-DSB right? A trial of real size, its protocol fixed before the runs.

    A narrow DGCNN at 512 points, 32 clouds a step, stage 1 of 1,500 steps, seeds 0, 1 and 2, the last step's
    accuracy on all of the target's test clouds; differences are of the same seed. All arms have the same
    budget, rate and augmentation; none was chosen on labels of the target, which `oracle` trains on and
    `oracle gain` selects by: the sample's effect on the direction of the classification step, measured on 512
    labelled target clouds in inference mode. `oracle dot_o`, by the sample's part of the step itself, through
    the batch's statistics, was added when two seeds of the others were known, because `gain` turned out to
    tell of the step little, and `highest dot_c` when all were known: the one score without labels of the
    target that had predicted that part (docs/verdict.md). The rows stand in the order of what they tell.
    `--field stages=(1,2)` and `--directions scanned2clean` are for those with a GPU.
    """
    defrec, distill = "method=defrec,selection", "method=self_distillation,selection"
    weight = embedded.get_config("method=defrec").pretext.weight
    rows: Rows = {
        "source_only": ["method=source_only"],
        "DefRec": [f"{defrec}=none"],
        "DefRec, low skewness": [f"{defrec}=skewness", "selection.side=low"],
        "DefRec, oracle gain": [f"{defrec}=oracle_gain"],
        "DefRec, oracle dot_o": [f"{defrec}=oracle_dot_o"],
        "DefRec, random": [f"{defrec}=random"],
        "DefRec, high skewness": [f"{defrec}=skewness", "selection.side=high"],
        "oracle (trained with target labels)": ["method=oracle"],
        "DefRec, highest cos_c": [f"{defrec}=cos_c"],
        "DefRec, highest dot_c": [f"{defrec}=dot_c"],
        "DefRec, smaller weight": [f"{defrec}=none", f"pretext.weight={0.7 * weight:g}"],
        "DefRec, half weight": [f"{defrec}=none", f"pretext.weight={0.5 * weight:g}"],
        "DefRec, pilot": [f"{defrec}=pilot"],
        "Self-dist GCN": [f"{distill}=none"],
        "Self-dist GCN, low skewness": [f"{distill}=skewness", "selection.side=low"],
        "Self-dist GCN, random": [f"{distill}=random"],
        "Self-dist GCN, high skewness": [f"{distill}=skewness", "selection.side=high"],
    }
    low, alone = "DefRec, low skewness", "Self-dist GCN, low skewness"
    contrasts = {
        "DefRec minus source_only": [("DefRec", "source_only")],
        **{f"DefRec: low skewness minus {name}": [(low, f"DefRec, {name}")] for name in
           ("random", "high skewness", "smaller weight", "half weight", "pilot")},
        "DefRec: low skewness minus none": [(low, "DefRec")],
        "DefRec: oracle gain minus none": [("DefRec, oracle gain", "DefRec")],
        "DefRec: oracle gain minus random": [("DefRec, oracle gain", "DefRec, random")],
        "DefRec: oracle dot_o minus none": [("DefRec, oracle dot_o", "DefRec")],
        "DefRec: oracle dot_o minus random": [("DefRec, oracle dot_o", "DefRec, random")],
        "DefRec: highest cos_c minus random": [("DefRec, highest cos_c", "DefRec, random")],
        "DefRec: highest dot_c minus none": [("DefRec, highest dot_c", "DefRec")],
        "DefRec: highest dot_c minus random": [("DefRec, highest dot_c", "DefRec, random")],
        "DefRec: random minus none": [("DefRec, random", "DefRec")],
        "Self-dist GCN: low skewness minus none": [(alone, "Self-dist GCN")],
        "Self-dist GCN: low skewness minus random": [(alone, "Self-dist GCN, random")],
        "Self-dist GCN: low skewness minus high skewness": [(alone, "Self-dist GCN, high skewness")],
    }  # fmt: skip
    return _grid("Decision", rows, data)._replace(stages=(1,), contrasts=contrasts)


def first_run(data: str) -> Grid:
    """What `make train` shows beside its bounds, on seeds 0 to 4; of the embedded clouds alone.

    `configs/embedded.py` as it is. source_only and oracle have the same network, augmentation and number of
    steps, those of both stages; the last step counts. The run was chosen on s2c, seeds 0 and 1, by the
    target's test accuracy; s2b confirms it.
    """
    run = embedded.get_config()
    steps = f"stage1.steps={run.stage1.steps + run.stage2.steps}"
    rows: Rows = {
        "source_only": ["method=source_only", steps],
        "this run": ["method=defrec"],
        "oracle (trained with target labels)": ["method=oracle", steps],
    }
    contrasts = {"this run minus source_only": [("this run", "source_only")]}
    grid = Grid("First run, embedded clouds", DATA[data][1], rows, ("s2c", "s2b"), seeds=5)
    fields = (f"log_every={run.eval_every}",)  # small records
    return grid._replace(fields=fields, contrasts=contrasts)


def _grid(title: str, rows: Rows, data: str) -> Grid:
    words, file, directions, options = DATA[data]
    return Grid(f"{title}, {words}", file, rows, directions, options=options)


# what a table may be of → words, configuration file, directions (of a folder they are given), options
DATA: dict[str, tuple[str, str, tuple[str, ...], str]] = {
    "pointda": ("PointDA-10", "configs/pointda.py", tuple(pointda.DIRECTIONS), ""),
    "embedded": ("embedded clouds, budget=study", "configs/embedded.py", ("c2b", "c2s"), "budget=study"),
    "folder": ("clouds of a folder, budget=long", "configs/folder.py", (), "budget=long"),
}
EVALUATE = {"pointda": 1250, "embedded": 25, "folder": 50}  # steps, for curves over time
TABLES: dict[str, tuple[Callable[[str], Grid], str]] = {  # name → table, its own data
    "table1": (table1, "pointda"),
    "table2": (table2, "pointda"),
    "table3": (table3, "pointda"),
    "methods": (methods, "pointda"),
    "hosts": (hosts, "pointda"),
    "rules": (rules, "embedded"),
    "selection": (selection, "embedded"),
    "statistics": (statistics, "embedded"),
    "agreement": (agreement, "embedded"),
    "alpha": (alpha, "embedded"),
    "keep_ratio": (keep_ratio, "embedded"),
    "decide": (decide, "folder"),
    "first_run": (first_run, "embedded"),
}
