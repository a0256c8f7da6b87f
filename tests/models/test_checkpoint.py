import os
import pickle
import zipfile
from pathlib import Path
from typing import IO

import pytest
import torch
from torch import nn

from prune.api.inspect import inspect
from prune.data.labels import S2DS, ClassSet
from prune.models import all_logits, build_model
from prune.models.checkpoint import (
    Network,
    load_checkpoint,
    new_stage,
    newest_model,
    read_state_dict,
    read_torch,
    require_classes,
    save_checkpoint,
    write_torch,
)
from prune.pruning.pruner import prune_model
from prune.pruning.settings import PruneSettings
from tests.conftest import command, refused

IMAGE = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def pruned_network() -> Network:
    torch.manual_seed(0)
    model = build_model("deeplabv3_tiny", 7).eval()
    prune_model(model, PruneSettings(importance_type="Random"))
    stage = new_stage(
        "prune", {"criterion": "Random", "pruning_ratio": 50.0, "allocation": "local", "iterative_steps": 1}, {}
    )
    return Network(model, "deeplabv3_tiny", lineage=[stage])


def test_a_pruned_network_survives_saving_bit_equal(tmp_path: Path) -> None:
    network = pruned_network()
    loaded = load_checkpoint(save_checkpoint(network, tmp_path / "a.pth"))
    for name, output in all_logits(network.model, IMAGE).items():
        assert torch.equal(output, all_logits(loaded.model, IMAGE)[name])
    assert (loaded.classes, loaded.preprocessing, loaded.lineage) == (S2DS, network.preprocessing, network.lineage)
    assert loaded.pruned and loaded.auxiliary and loaded.file == tmp_path / "a.pth"


def test_the_file_needs_neither_pickle_nor_torch_pruning(tmp_path: Path) -> None:
    save_checkpoint(pruned_network(), tmp_path / "a.pth")
    assert torch.load(tmp_path / "a.pth", weights_only=True)["format"] == "prune-checkpoint"
    code = (
        "import sys; sys.modules['torch_pruning'] = None\n"
        "from pathlib import Path; from prune.models.checkpoint import load_checkpoint\n"
        "print(load_checkpoint(Path('a.pth')).architecture)"
    )
    (tmp_path / "load.py").write_text(code)
    finished = command(str(tmp_path / "load.py"), cwd=tmp_path)
    assert finished.stdout.strip() == "deeplabv3_tiny", finished.stderr


def test_denormals_do_not_reach_the_file(tmp_path: Path) -> None:
    network = pruned_network()
    network.model.backbone.conv1.weight.data[0] = 1e-41
    loaded = load_checkpoint(save_checkpoint(network, tmp_path / "a.pth"))
    assert not loaded.model.backbone.conv1.weight[0].any()


def test_weights_that_are_not_finite_are_neither_saved_nor_loaded(tmp_path: Path) -> None:
    network, file = pruned_network(), tmp_path / "a.pth"
    before = save_checkpoint(network, file).read_bytes()
    network.model.backbone.bn1.running_var[0] = float("inf")
    message = "a.pth: expected finite weights, found NaN or infinity in backbone.bn1.running_var: its training diverged"
    with refused(message):
        save_checkpoint(network, file)
    assert file.read_bytes() == before
    content = torch.load(file, weights_only=True)
    content["state_dict"]["backbone.bn1.running_var"][0] = float("nan")
    for written in (content, content["state_dict"]):
        torch.save(written, file)
        for read in (load_checkpoint, read_state_dict):
            with refused(message):
                read(file)


def test_tensors_larger_than_the_file_are_refused_before_they_take_memory(tmp_path: Path) -> None:
    file = save_checkpoint(pruned_network(), tmp_path / "a.pth")
    content = torch.load(file, weights_only=True)
    state = content["state_dict"]
    widest = state["backbone.conv1.weight"]
    bombs = {
        "expanded": {"backbone.conv1.weight": torch.zeros(1).expand(1 << 40, 3, 7, 7)},  # 588 TiB, never a real tensor
        "shared": {f"{number}": widest for number in range(1 + file.stat().st_size // widest.nbytes)},
    }
    for bomb in bombs.values():
        for written in ({**content, "state_dict": state | bomb}, state | bomb):
            for modern in (True, False):
                torch.save(written, file, _use_new_zipfile_serialization=modern)
                with refused("a.pth: expected at most the [0-9,]+ bytes of the file, found tensors of more"):
                    load_checkpoint(file)


def test_archives_that_unpack_to_more_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1_000_000)}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as plain, zipfile.ZipFile(tmp_path / "b.pth", "w") as packed:
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry), zipfile.ZIP_DEFLATED)
    with refused(r"b.pth: expected a checkpoint, found an archive of [0-9,]+ bytes that unpacks to 4,0"):
        read_torch(tmp_path / "b.pth")


def test_tensors_without_stored_values_are_refused(tmp_path: Path) -> None:
    sparse = torch.sparse_coo_tensor([[0], [0]], [1.0], (1 << 30, 1 << 30), check_invariants=True)
    for tensor in (sparse, torch.empty(1 << 40, device="meta")):
        torch.save({"a": [{"weight": tensor}]}, tmp_path / "a.pth")
        with refused("a.pth: expected plain tensors, found a sparse, quantized or empty one, weight"):
            read_torch(tmp_path / "a.pth")


def test_more_outputs_than_classes_are_refused_before_the_network_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = save_checkpoint(pruned_network(), tmp_path / "a.pth")
    content = torch.load(file, weights_only=True)
    torch.save({**content, "architecture": {**content["architecture"], "num_classes": 1 << 62}}, file)
    monkeypatch.setattr("prune.models.checkpoint.rebuild", None)
    with refused(f"a.pth: expected outputs for its 7 classes, found {1 << 62}"):
        load_checkpoint(file)


def test_a_state_dict_of_too_many_classes_is_refused(tmp_path: Path) -> None:
    torch.save(build_model("deeplabv3_tiny", 300).state_dict(), tmp_path / "a.pth")
    with refused("a.pth: expected at most 255 classes, found 300"):
        load_checkpoint(tmp_path / "a.pth")


def test_a_failing_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save_checkpoint(pruned_network(), tmp_path / "a.pth")
    before = file.read_bytes()

    def full_disk(content: object, file: IO[bytes]) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with refused("cannot write .*a.pth: No space left on device"):
        save_checkpoint(pruned_network(), file)
    assert file.read_bytes() == before and list(tmp_path.iterdir()) == [file]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_torch_reports_a_full_disk_as_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.save
    monkeypatch.setattr(torch, "save", lambda content, path: real(content, "/dev/full"))
    with refused("cannot write") as caught:
        write_torch({"a": torch.zeros(100_000)}, tmp_path / "a.pth")
    assert "\n" not in caught.value.message


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch executed",)


def test_a_pickle_is_refused_and_does_not_run(here: Path) -> None:
    torch.save({"model": Bomb()}, here / "bomb.pth")
    (here / "plain.pth").write_bytes(pickle.dumps(Bomb()))
    for name in ("bomb.pth", "plain.pth"):
        with refused(f"{name}: expected"):
            load_checkpoint(Path(name))
    assert not (here / "executed").exists()


def test_a_whole_module_is_refused_with_the_way_out_and_opens_when_trusted(tmp_path: Path) -> None:
    torch.save(nn.Conv2d(1, 1, 1), tmp_path / "module.pth")
    with refused(r"--trust_pickle, or save its weights .* torch.save\(model.state_dict\(\), FILE\)"):
        load_checkpoint(tmp_path / "module.pth")
    assert isinstance(read_torch(tmp_path / "module.pth", trust_pickle=True), nn.Conv2d)


def test_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    file = save_checkpoint(pruned_network(), tmp_path / "whole.pth")
    (tmp_path / "half.pth").write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    (tmp_path / "random.pth").write_bytes(os.urandom(4096))
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "opcode.pth").write_bytes(b"t.")
    for name in ("half.pth", "random.pth", "opcode.pth", "text.pth", "empty.pth"):
        with refused(f"{name}: expected a checkpoint, found") as caught:
            load_checkpoint(tmp_path / name)
        assert "\n" not in caught.value.message
    with refused("nowhere.pth not found"):
        load_checkpoint(tmp_path / "nowhere.pth")


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    content = save_checkpoint(pruned_network(), tmp_path / "whole.pth").read_bytes()
    with zipfile.ZipFile(tmp_path / "whole.pth") as archive:
        weights = max(archive.infolist(), key=lambda entry: entry.file_size)
    for place in range(200, weights.file_size, weights.file_size // 8):
        damaged = bytearray(content)
        damaged[weights.header_offset + place] ^= 1
        (tmp_path / "a.pth").write_bytes(damaged)
        with refused("a.pth: expected a checkpoint, found"):
            load_checkpoint(tmp_path / "a.pth")


@pytest.mark.slow
def test_incomplete_newer_and_misfit_checkpoints_are_refused(tmp_path: Path) -> None:
    file = save_checkpoint(pruned_network(), tmp_path / "a.pth")
    content = torch.load(file, weights_only=True)
    torch.save({**content, "version": 99}, file)
    with refused("format version 99"):
        load_checkpoint(file)
    torch.save({k: v for k, v in content.items() if k != "classes"}, file)
    with refused("expected classes, found none"):
        load_checkpoint(file)
    state = {k: v for k, v in content["state_dict"].items() if "layer1" not in k}
    torch.save({**content, "state_dict": state}, file)
    with refused("weights do not fit the architecture deeplabv3_tiny"):
        load_checkpoint(file)
    torch.save({"weights": torch.zeros(3)}, file)
    with refused("expected the state dict of a network this project knows"):
        load_checkpoint(file)


def test_another_class_count_is_refused(tmp_path: Path) -> None:
    two = ClassSet("binary", ("Background", "Crack"), ((0, 0, 0), (255, 255, 255)))
    network = Network(build_model("deeplabv3_tiny", 2), "deeplabv3_tiny", two)
    loaded = load_checkpoint(save_checkpoint(network, tmp_path / "two.pth"))
    with refused(r"the data has the 7 classes of s2ds, found a network of 2 classes \(binary\)"):
        require_classes(loaded, S2DS)


@pytest.mark.slow
def test_a_plain_torchvision_state_dict_loads(tmp_path: Path) -> None:
    model = build_model("deeplabv3_resnet101", 7).eval()
    torch.save(model.state_dict(), tmp_path / "plain.pth")
    loaded = load_checkpoint(tmp_path / "plain.pth")
    assert loaded.architecture == "deeplabv3_resnet101" and loaded.classes == S2DS
    with torch.no_grad():
        assert torch.equal(model(IMAGE)["out"], loaded.model(IMAGE)["out"])


def test_the_newest_fitting_file_is_found(here: Path) -> None:
    with refused("no pruned checkpoint in results/models: make one with python torchvision_pruning.py"):
        newest_model(pruned=True)
    dense = Network(build_model("deeplabv3_tiny", 7), "deeplabv3_tiny")
    for number, (name, network) in enumerate((("old", pruned_network()), ("new", dense))):
        os.utime(save_checkpoint(network, Path(f"results/models/{name}.pth")), (number, number))
    torch.save([torch.zeros(1)], "results/models/foreign.pth")
    os.utime("results/models/foreign.pth", (-1, -1))
    for name in (".half.83bda6b9.pth", ".half.83bda6b9.writing.pth"):  # left by a kill, today or by an older version
        Path(f"results/models/{name}").write_bytes(b"half")
    assert [newest_model(kind).stem for kind in (None, True, False)] == ["new", "old", "new"]


def test_the_card_says_what_a_file_is(tmp_path: Path) -> None:
    text = str(inspect(save_checkpoint(pruned_network(), tmp_path / "a.pth"), layers=True))
    for part in (
        "deeplabv3_tiny, auxiliary head, pruned",
        "6 Crack",
        "prune: Random 50% of channels",
        "backbone.conv1",
    ):
        assert part in text


def test_other_content_than_a_state_dict_is_named(tmp_path: Path) -> None:
    for content, found in (([1, 2], "list"), ({}, "dict"), ({"a": 1}, "dict"), (torch.zeros(2), "Tensor")):
        torch.save(content, tmp_path / "a.pth")
        for read in (load_checkpoint, read_state_dict):
            with refused(f"a.pth: expected a checkpoint or a state dict, found {found}"):
                read(tmp_path / "a.pth")


@pytest.mark.parametrize("lineage", [3, "prune", [1], [{"settings": {}}], None])
def test_the_newest_checkpoint_is_found_beside_damaged_lineages(
    lineage: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("results/models").mkdir(parents=True)
    torch.save({"lineage": lineage}, "results/models/a.pth")
    assert newest_model(pruned=False) == Path("results/models/a.pth")
    with refused("no pruned checkpoint in results/models"):
        newest_model(pruned=True)
