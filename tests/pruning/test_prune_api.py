"""``prune.prune`` from Python: what goes in, what comes out, and what is left alone."""

import copy
import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

import prune
from prune.api.inputs import class_set, opened_data, opened_model, opened_network
from prune.api.model import model_of
from prune.api.pruning_data import PruningData
from prune.data.labels import CRACK, S2DS, ClassSet
from prune.errors import CannotWrite
from prune.files import visible
from prune.models import all_logits, build_model, mode
from prune.models.checkpoint import Network, load_checkpoint, save_checkpoint
from prune.models.cost import count
from prune.models.foreign import network_of_module
from prune.pruning.settings import PruneSettings
from tests.conftest import refused

QUICK: dict[str, Any] = {"latency_repeats": 0, "latency_size": 64, "crop_size": 64, "batches": 2, "amp": "off"}
LINKNET = {"encoder_name": "resnet18", "encoder_weights": None, "classes": 7}


class Small(nn.Module):
    """Somebody's network: a bare tensor, no names that are known here."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.b = nn.Conv2d(16, 7, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.b(self.a(images))


def tiny() -> Network:
    torch.manual_seed(0)
    return Network(build_model("deeplabv3_tiny", 7).eval(), "deeplabv3_tiny")


def logits(model: nn.Module) -> torch.Tensor:
    """In one memory format, as the last bits depend on it."""
    model = copy.deepcopy(model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), mode(model, training=False):
        return all_logits(model, images)["out"]


def test_nothing_is_printed_written_or_changed(data: Path, here: Path) -> None:
    network = tiny()
    before, shown = {name: tensor.clone() for name, tensor in network.model.state_dict().items()}, io.StringIO()
    state = torch.random.get_rng_state()
    with redirect_stdout(shown), redirect_stderr(shown):
        result = prune.prune(network, ratio=50, data=data, **{**QUICK, "latency_repeats": 1})
    assert shown.getvalue() == "" and not list(here.iterdir())
    assert torch.equal(state, torch.random.get_rng_state())
    after = network.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before) and list(before) == list(after)
    assert network.lineage == [] and (result.checkpoint, result.files) == (None, ())
    assert result.model.network.pruned and result.model.network.file is None
    counted = count(result.model.module, (64, 64))
    assert (result.report.after.parameters, result.report.after.macs) == counted < count(network.model, (64, 64))
    assert result.report.after.latency_ms is not None and result.report.notes == []
    lineage = result.model.network.lineage[-1]
    assert lineage["stage"] == "prune" and lineage["settings"]["data_dir"] == str(data / "train")


def test_a_result_is_handed_on_as_it_is() -> None:
    result = prune.prune(tiny(), importance="Random", **QUICK)
    assert opened_network("model", result) is result.model.network
    assert opened_model("model", result) is result.model


def test_files_are_written_where_they_are_named(data: Path, tmp_path: Path) -> None:
    file, report = tmp_path / "new/small.pth", tmp_path / "reports"
    result = prune.prune(tiny(), importance="Random", data=data, checkpoint=file, report=report, **QUICK)
    assert result.checkpoint == file == result.model.network.file
    assert result.files == (file, report / "small_random_50.json", report / "small_random_50.csv")
    assert torch.equal(logits(load_checkpoint(file).model), logits(result.model.module))
    content = json.loads(result.files[1].read_text())
    assert content["settings"]["importance_type"] == "Random" and content["settings"]["pruning_ratio"] == 50
    assert content["after"]["file_mib"] == file.stat().st_size / 2**20
    assert content["before"]["file_mib"] == pytest.approx(2**-20 * written_size(tmp_path), rel=0.01)
    named = prune.prune(file, ratio=20, importance="Magnitude", report=str(tmp_path / "a.json"), **QUICK)
    assert named.files == (tmp_path / "a.json", tmp_path / "a.csv") and len(named.model.network.lineage) == 2
    assert str(named).endswith(f"report   {tmp_path}/a.json\nlayers   {tmp_path}/a.csv")


@pytest.mark.slow
def test_a_report_that_cannot_be_written_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str) -> Path:
        raise CannotWrite(f"cannot write {path}: No space left on device")

    places: dict[str, Any] = {"checkpoint": tmp_path / "a.pth", "report": tmp_path / "a.json"}
    for names in ([], ["a.csv", "a.json", "a.pth"]):
        before = {file.name: file.read_bytes() for file in visible(tmp_path, "*")}
        assert sorted(before) == names
        with monkeypatch.context() as patched:
            patched.setattr("prune.files.write_text", full)
            with refused(f"cannot write {tmp_path}/a.json: No space left on device"):
                prune.prune(tiny(), importance="Magnitude", ratio=30, **places, **QUICK)
        assert {file.name: file.read_bytes() for file in visible(tmp_path, "*")} == before
        prune.prune(tiny(), importance="Magnitude", **places, **QUICK)


def written_size(folder: Path) -> int:
    return save_checkpoint(tiny(), folder / "dense.pth").stat().st_size


def test_the_result_shows_a_table_in_a_notebook() -> None:
    result = prune.prune(tiny(), importance="Magnitude", **QUICK)
    page = result._repr_html_()
    assert page.startswith("<table><tr><td></td><td>before</td>") and "parameters M" in page
    assert "L2, pruning ratio 50% of channels" in page and "because no data were given" in page


def test_without_data_only_what_needs_none_is_done() -> None:
    network = tiny()
    result = prune.prune(network, importance="Magnitude", **QUICK)
    assert result.report.notes == [
        "batch norm keeps the statistics of the unpruned network, because no data were given to re-estimate them"
    ]
    assert prune.prune(network, importance="Magnitude", recalibrate=False, **QUICK).report.notes == []
    assert prune.prune(network, ratio=0, **QUICK).report.notes == []
    with refused("^--data: expected labeled images, which Taylor takes gradients on"):
        prune.prune(network, **QUICK)
    with refused("^--data: expected labeled images for the training between steps"):
        prune.prune(network, importance="Random", iterative_steps=2, finetune_epochs_per_step=1, **QUICK)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_network_as_the_same_settings_by_their_long_names(data: Path) -> None:
    short = prune.prune(tiny(), ratio=40, importance="Taylor", data=data, **QUICK)
    long = prune.prune(tiny(), pruning_ratio=40, importance_type="Taylor", data=str(data), **QUICK)
    assert torch.equal(logits(short.model.module), logits(long.model.module))


def test_a_target_is_searched_for() -> None:
    result = prune.prune(tiny(), importance="Magnitude", target_macs="40%", round_to=1, **QUICK)
    assert result.report.budget is not None and result.report.budget.hit
    assert result.report.settings["pruning_ratio"] == result.report.budget.ratio


def test_misuse_is_named(tmp_path: Path) -> None:
    run: Any = prune.prune
    network = tiny()
    for name, value in (("ratio", 40), ("importance", "Random")):
        long = {"ratio": "pruning_ratio", "importance": "importance_type"}[name]
        with pytest.raises(TypeError, match=rf"prune\(\) got both {name} and {long}, which are the same"):
            run(network, **{name: value, long: value})
    with pytest.raises(TypeError, match=r"prune\(\) has no argument 'round', did you mean round_to\?"):
        prune.prune(network, round=8)
    with pytest.raises(TypeError, match="pruning_ratio: expected float, found 'half'"):
        run(network, ratio="half")
    with pytest.raises(TypeError, match=r"model: expected a path, a Model or a torch\.nn\.Module, found int"):
        prune.prune(3)
    with pytest.raises(prune.UserError, match="^pruning_ratio: expected at most 99, found 100"):
        prune.prune(network, ratio=100)
    with refused("--checkpoint: expected a file that ends in .pth, found .*a.onnx"):
        prune.prune(network, importance="Random", checkpoint=tmp_path / "a.onnx")
    file = save_checkpoint(network, tmp_path / "a.pth")
    with refused("--checkpoint .*a.pth: would overwrite the model being pruned"):
        prune.prune(file, importance="Random", checkpoint=file)
    (tmp_path / "b.onnx").touch()
    with refused(r"--model: expected a PyTorch network \(.pth\), found the export .*b.onnx"):
        prune.prune(tmp_path / "b.onnx")
    with refused("--model: expected a file, found none called nowhere.pth"):
        prune.prune("nowhere.pth")
    with pytest.raises(TypeError, match="data: expected a path or a Split, found float"):
        run(network, data=1.5)


@pytest.mark.slow
def test_a_module_without_a_factory_is_pruned_but_not_saved(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Small().train()
    result = prune.prune(module, data=data, **QUICK)
    assert result.model.module.a[0].out_channels == 8 and module.a[0].out_channels == 16 and module.training
    with refused("--factory: expected what builds module:Small"):
        prune.prune(module, data=data, checkpoint=tmp_path / "a.pth", **QUICK)
    with refused("--factory: expected what builds module:Small"):
        result.model.save(tmp_path / "a.pth")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_network_of_others_is_pruned_saved_and_loaded(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = smp.Linknet(**LINKNET).eval()
    file = tmp_path / "linknet.pth"
    small = prune.prune(
        module, importance="Taylor", data=data, checkpoint=file, factory=smp.Linknet, factory_options=LINKNET, **QUICK
    )
    assert small.report.after.parameters < 0.4 * small.report.before.parameters
    loaded = opened_network("model", file, factory=smp.Linknet)
    assert torch.equal(logits(loaded.model), logits(small.model.module)) and loaded.classes == S2DS
    again = prune.prune(file, ratio=10, importance="Random", factory=smp.Linknet, round_to=1, **QUICK)
    assert again.model.network.factory == loaded.factory
    steps: dict[str, Any] = {"iterative_steps": 2, "finetune_epochs_per_step": 1, "keep_feature_extract": True}
    assert prune.prune(module, data=data, **steps, **QUICK).model.network.pruned
    with refused("--keep_feature_extract: expected a network with a backbone or encoder, found Small without"):
        prune.prune(Small(), data=data, **steps, **QUICK)


def test_classes_are_named_in_several_ways() -> None:
    assert class_set(None) is None and class_set("crack") == CRACK and class_set("s2ds") == S2DS
    own = class_set(["Background", "crack", "spalling", "moss", "rust"])
    assert own is not None and own.classes == ("Background", "crack", "spalling", "moss", "rust")
    assert own.colors[:3] == ((0, 0, 0), (255, 255, 255), (255, 0, 0)) and len(set(own.colors)) == 5
    assert class_set(own) is own
    with refused("--classes: expected s2ds, crack or a list of names, found 'cracks'"):
        class_set("cracks")
    with refused("--classes: expected at least two different names, background first, found"):
        class_set(["crack", "Crack"])
    with pytest.raises(TypeError, match="classes: expected s2ds, crack, a list of names or a ClassSet, found int"):
        class_set(5)  # type: ignore[arg-type]


def test_a_module_is_opened_as_a_model() -> None:
    names = ["ground", "a", "b", "c", "d", "e", "crack"]
    module = Small()
    model = opened_model("model", module, classes=names)
    assert isinstance(model.classes, ClassSet) and model.classes.classes == tuple(names) and model.module is module
    assert opened_model("model", model) is model
    assert opened_network("model", model_of(tiny())).architecture == "deeplabv3_tiny"


@pytest.mark.parametrize("settings", [{"class_balance": True}, {"importance": "Hessian", "batch_size": 2}])
def test_gradients_are_taken_per_class_and_per_sample_of_real_batches(data: Path, settings: dict[str, Any]) -> None:
    taken: list[int | None] = []
    config = PruneSettings(
        **{
            **QUICK,
            "importance_type": settings.get("importance", "Taylor"),
            **{k: v for k, v in settings.items() if k != "importance"},
        }
    )
    source = network_of_module(Small())
    split = opened_data("data", data, "train", source.classes, config)
    taken.extend(PruningData(source, split, config, torch.device("cpu")).gradients())
    assert taken == [None] * 4 if "importance" in settings else set(taken) == set(range(7))
    result = prune.prune(source, data=data, round_to=1, **{**QUICK, **settings})
    assert result.model.module.a[0].out_channels == 8


def test_a_class_that_no_crop_shows_is_an_error(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, config = network_of_module(Small()), PruneSettings(**QUICK, class_balance=True)
    split = opened_data("data", data, "train", source.classes, config)
    monkeypatch.setattr(
        "prune.api.pruning_data.draw_batch", lambda *_: (torch.zeros(1, 3, 64, 64), torch.zeros(1, 64, 64).long())
    )
    with refused("^--class_balance: expected crops of every class, found none of Control Point, .*Crack in 32 crops: "):
        list(PruningData(source, split, config, torch.device("cpu")).gradients())
