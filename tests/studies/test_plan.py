"""Plans: every mistake is named, and what a plan leads to."""

from pathlib import Path
from typing import Any

import pytest

from prune.studies.plan_file import plan_from
from prune.studies.trials import build
from tests.conftest import ROOT, refused

DATA = {"train": "a", "val": "b", "test": "c"}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"critera": ["L1"]}, "unknown key 'critera', did you mean criteria?"),
        ({"zzz": 1}, "unknown key 'zzz': expected some of name, data"),
        ({"ratios": []}, "--ratios: expected at least one ratio or target, found none: nothing would be compared"),
        ({"seeds": []}, "--seeds: expected at least one, found an empty list: nothing would be compared"),
        ({"seeds": [True]}, "--seeds: expected numbers, found True"),
        ({"seeds": [0, 0]}, "--seeds: expected different values, found 0, 0"),
        ({"seeds": [-1]}, "seeds -1: seed: expected at least 0, found -1"),
        ({"ratios": 30}, "--ratios: expected a list, found 30"),
        ({"ratios": [150]}, "ratios 150%: pruning_ratio: expected at most 99, found 150"),
        ({"criteria": ["Tailor"]}, "criteria Tailor: importance_type: expected one of Taylor"),
        ({"criteria": ["L1", {"name": "L1", "importance_type": "Taylor"}]}, "--criteria: expected different names"),
        (
            {"criteria": [{"importance_type": "Magnitude", "p_vale": 1}]},
            r"prune.* has no .*p_vale|did you mean p_value",
        ),
        ({"targets": ["macs=40%"]}, "--targets: expected target_macs=… or .*, found 'macs=40%'"),
        ({"targets": ["target_macs=much"]}, "targets macs=much: target_macs: expected a share"),
        ({"allocations": ["x"]}, "allocations x: allocation: expected one of local"),
        ({"steps": [0]}, "steps 0: iterative_steps: expected at least 1, found 0"),
        ({"precisions": ["int4"]}, "precisions int4: precision: expected one of fp32"),
        ({"precisions": ["bf16"]}, "--precisions: expected one of fp32, int8 for onnx, found 'bf16'"),
        ({"runtimes": ["onnyx"]}, "--runtimes: expected some of pytorch, onnx.*, found 'onnyx'"),
        ({"keep": "some"}, "--keep: expected one of all, best, none, found 'some'"),
        ({"name": "a/b"}, "--name: expected a plain file name without folders, found 'a/b'"),
        ({"latency_size": 4}, "--latency_size: expected at least 32, found 4"),
        ({"train": {"epoch": 3}}, r"\[train\] has no 'epoch', did you mean epochs\?"),
        ({"train": {"epochs": 0}}, r"\[train\]: epochs: expected at least 1, found 0"),
        ({"train": {"epochs": "x"}}, r"\[train\]: epochs: expected int, found 'x'"),
        ({"train": {"seed": 3}}, r"\[train\] seed: the study sets it, see the keys of the plan"),
        ({"prune": {"allocation": "global"}}, r"\[prune\] allocation: the study sets it"),
        ({"export": {"qat_epochs": 3}}, r"\[export\]: qat_epochs: expected precision int8, found fp32"),
        ({"export": {"qat_epochs": -1}, "precisions": ["int8"]}, "precisions int8: qat_epochs: expected at least 0"),
        ({"export": {"to": "coreml"}}, r"\[export\] to: expected one of onnx"),
        ({"networks": [{"epochs": 3}]}, "--networks: expected names, or tables with a model, found {'epochs': 3}"),
        ({"networks": [{"model": "unet", "epoch": 3}]}, "networks unet has no 'epoch', did you mean epochs"),
        ({"networks": [{"model": "unet", "epochs": 0}]}, "networks unet: epochs: expected at least 1, found 0"),
        ({"networks": [{"model": "unet", "finetune": 3}]}, "networks unet: finetune: expected a table, found 3"),
        ({"networks": ["unet", {"model": "unet"}]}, "--networks: expected different values, found unet, unet"),
        ({"networks": ["unet", "x"], "dense": "a.pth"}, "--dense a.pth: expected no networks beside it, found 2"),
        ({"criteria": [3]}, "--criteria: expected names, or tables with an importance_type, found 3"),
        ({"distillation": ["x"]}, "--distillation: expected true, false, or tables of options, found 'x'"),
        ({"controls": 1}, "--controls: expected true or false, found 1"),
        ({"synthesize": {"image": 3}}, r"\[synthesize\] has no 'image', did you mean images\?"),
    ],
)
def test_mistakes_are_named(keys: dict[str, Any], message: str) -> None:
    with refused(message):
        plan_from({"ratios": [50], **keys})


def test_a_file_is_named_in_its_mistakes(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    with refused("p.toml: expected a plan, cannot read it"):
        plan_from(file)
    file.write_text("ratios = [")
    with refused("p.toml: expected a plan in TOML: "):
        plan_from(file)
    file.write_text("ratios = [30]\nseed = [1]")
    with refused("p.toml: unknown key 'seed', did you mean seeds"):
        plan_from(file)
    file.write_text("ratios = [30]")
    assert plan_from(file).name == "p" and plan_from(file, ratios=[10, 20]).ratios == [10, 20]
    with pytest.raises(TypeError, match="plan: expected a TOML file"):
        plan_from(3)  # type: ignore[arg-type]


def test_the_example_is_a_plan_of_two_criteria_two_ratios_two_seeds_and_controls() -> None:
    graph = build(plan_from(ROOT / "examples/study.toml"), DATA)
    methods = [(row.method, row.level, row.seed) for row in graph.rows]
    expected = [("dense", "")] + [(m, r) for r in ("30%", "60%") for m in ("Taylor", "L2", "Random", "from scratch")]
    assert sorted(methods) == sorted((m, r, s) for m, r in expected for s in (0, 1)) and not graph.skipped
    kinds = [trial.kind for trial in graph.trials.values()]
    assert kinds.count("train") == 2 and kinds.count("prune") == kinds.count("finetune") == 12
    assert kinds.count("scratch") == 4  # with local allocation every criterion leaves the same widths
    scratch = next(trial for trial in graph.trials.values() if trial.kind == "scratch")
    assert scratch.settings["epochs"] == 8 + 4


def test_parents_come_first_and_a_plan_that_grows_keeps_its_trials() -> None:
    small = build(plan_from({"ratios": [50], "criteria": ["L1"], "seeds": [0]}), DATA).trials
    grown = build(plan_from({"ratios": [30, 50], "criteria": ["Taylor", "L1"], "seeds": [1, 0]}), DATA).trials
    assert small.keys() < grown.keys()
    names = list(grown)
    assert all(names.index(p) < names.index(n) for n, trial in grown.items() for p in trial.parents.values())


def test_random_is_always_there_and_norms_have_names() -> None:
    plan = plan_from({"ratios": [50], "criteria": ["L1"]})
    assert plan.named_criteria() == {
        "L1": {"importance_type": "Magnitude", "p_value": 1},
        "Random": {"importance_type": "Random"},
    }


def test_impossible_combinations_are_left_out_and_named() -> None:
    plan = {"ratios": [50], "targets": ["target_macs=40%"], "criteria": ["L2"], "allocations": ["local", "global"]}
    graph = build(plan_from(plan), DATA)
    assert graph.skipped[0].startswith("left out: L2 macs=40%, global: target_macs: expected allocation local")
    assert {row.level for row in graph.rows} == {"", "50%", "macs=40%"}
    with refused("no combination of the plan is possible: left out: "):
        build(plan_from({**plan, "ratios": [], "allocations": ["global"]}), DATA)


def test_latency_allocation_is_compared_at_a_latency_and_left_out_elsewhere() -> None:
    plan = {"ratios": [50], "targets": ["target_latency_ms=8"], "criteria": ["L2"], "allocations": ["local", "latency"]}
    graph = build(plan_from({**plan, "controls": False}), DATA)
    assert graph.skipped == [
        "left out: L2 50%, latency: allocation latency: expected target_latency_ms beside it, found none"
    ]
    found = [(row.level, row.options) for row in graph.rows if row.method == "L2" and row.seed == 0]
    assert found == [("50%", ""), ("latency_ms=8", ""), ("latency_ms=8", "latency")]


def test_a_distillation_may_set_any_option_of_it() -> None:
    kinds = [{"distill_loss": "cwd"}, {"distill_loss": "kl+cwd", "distill_features": 2.0, "distill_temperature": 4.0}]
    plan = {"ratios": [50], "criteria": ["L2"], "networks": ["deeplabv3_tiny"], "distillation": [False, *kinds]}
    graph = build(plan_from({**plan, "train": {"sparsity": 1e-4, "ema": 0.99}}), DATA)
    rows = {row.options: graph.trials[row.checkpoint] for row in graph.rows if row.method == "L2"}
    assert list(rows) == ["", "distilled loss cwd", "distilled loss kl+cwd features 2.0 temperature 4.0"]
    told = [{key: v for key, v in trial.settings.items() if key.startswith("distill")} for trial in rows.values()]
    assert told == [{}, *kinds] and all(trial.settings["ema"] == 0.99 for trial in rows.values())
    # Sparse training comes before pruning: neither fine-tuning nor a control repeats it.
    sparse = {trial.kind for trial in graph.trials.values() if "sparsity" in trial.settings}
    assert sparse == {"train"} and {"scratch", "finetune"} <= {trial.kind for trial in graph.trials.values()}
    with refused("distillation distilled loss mse: distill_loss: expected one of kl, cwd, kl.cwd, found 'mse'"):
        plan_from({**plan, "distillation": [{"distill_loss": "mse"}]})


def test_distillation_precision_and_smaller_networks_are_rows() -> None:
    plan = {
        "ratios": [50],
        "criteria": ["L2"],
        "distillation": [False, {"distill_weight": 2.0}],
        "smaller": ["hrsegnet_b16"],
    }
    graph = build(plan_from({**plan, "networks": ["deeplabv3_tiny"], "precisions": ["fp32", "int8"]}), DATA)
    rows = {(r.network, r.method, r.options, r.precision): r for r in graph.rows}
    assert ("hrsegnet_b16", "smaller", "", "fp32") in rows
    distilled = graph.trials[rows["deeplabv3_tiny", "L2", "distilled weight 2.0", "fp32"].checkpoint]
    assert distilled.settings["distill_weight"] == 2.0 and set(distilled.parents) == {"network", "teacher"}
    assert list(rows["deeplabv3_tiny", "L2", "", "int8"].latency) == ["onnx-int8"]


def test_a_network_may_have_options_of_its_own() -> None:
    own = {"model": "deeplabv3_tiny", "epochs": 5, "finetune": {"epochs": 4, "lr": 0.1}}
    plan = plan_from({"ratios": [50], "networks": ["unet", own], "train": {"epochs": 2}, "finetune": {"epochs": 1}})
    assert [plan.settings(table, "deeplabv3_tiny")["epochs"] for table in ("train", "finetune")] == [5, 4]
    assert (plan.total_epochs("unet"), plan.total_epochs("deeplabv3_tiny")) == (3, 9)
    tuned = [
        t.settings for t in build(plan, DATA).trials.values() if t.kind == "finetune" and t.settings["epochs"] == 4
    ]
    assert len(tuned) == len(plan.named_criteria()) and {settings["lr"] for settings in tuned} == {0.1}


def test_without_controls_nothing_but_the_criteria_is_computed_and_untuned_networks_are_rows() -> None:
    graph = build(plan_from({"ratios": [50], "criteria": ["L1"], "controls": False, "untuned": True}), DATA)
    assert [(row.method, row.options) for row in graph.rows] == [("dense", ""), ("L1", ""), ("L1", "not fine-tuned")]
    tuned, before = graph.rows[1:]
    assert graph.trials[before.checkpoint].kind == "prune" and graph.trials[tuned.checkpoint].kind == "finetune"
    assert before.latency == tuned.latency  # equal widths, timed once
    assert sorted({trial.kind for trial in graph.trials.values()}) == [
        "evaluate",
        "finetune",
        "latency",
        "prune",
        "train",
    ]


def test_a_checkpoint_in_place_of_training_is_named_by_its_content() -> None:
    plan = plan_from({"ratios": [50], "criteria": ["L1"], "dense": "a/b.pth", "seeds": [0, 1]})
    one, other = (build(plan, DATA | {"dense": content}).trials for content in ("x", "y"))
    given = [trial for trial in one.values() if trial.kind == "given"]
    assert len(given) == 1 and given[0].how == {"file": "a/b.pth"} and given[0].data == {"dense": "x"}
    assert "train" not in {trial.kind for trial in one.values()}
    assert not one.keys() & other.keys()


def test_options_of_int8_are_those_of_the_files_and_not_of_the_networks_before_them() -> None:
    plan = plan_from({"ratios": [50], "export": {"qat_epochs": 3}, "precisions": ["fp32", "int8"]})
    assert plan.settings("export", precision="int8")["qat_epochs"] == 3
