"""ncnn files: the graph as text and the weights, made by its converter pnnx."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import nn

from prune.deployment.target import TRACE_SIZE, ExportTarget, inference_module, metadata, optional_package
from prune.inference.metadata import METADATA
from prune.models.checkpoint import Network

OTHER_SIZE = (224, 192)
"""The second size pnnx sees a network at: what differs between the two depends on the image."""


def _shape(size: tuple[int, int]) -> str:
    return f"[1,3,{size[0]},{size[1]}]f32"


def _with_constant_sizes(module: nn.Module, example: torch.Tensor) -> nn.Module:
    """The same function of images like ``example`` with sizes as numbers, where a trace would compute them again."""
    program = torch.export.export(module, (example,)).module()
    for node in list(program.graph.nodes):
        if node.target is torch.ops.aten.alias.default:  # a crop to the whole size; pnnx does not know it
            node.replace_all_uses_with(node.args[0])
            program.graph.erase_node(node)
    program.recompile()
    return program


def write_ncnn(network: Network, target: ExportTarget, file: Path) -> None:
    """Graph (text) and weights for ncnn, made by its converter pnnx of the traced network."""
    pnnx = optional_package("pnnx", "export")
    size = target.size or TRACE_SIZE
    module: nn.Module = inference_module(network, target)
    example = torch.zeros(1, 3, *size)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        if target.size:
            module = _with_constant_sizes(module, example)
        torch.jit.trace(module, example, check_trace=False).save(f"{folder}/network.pt")
        words = [pnnx.EXEC_PATH, "network.pt", f"inputshape={_shape(size)}", f"fp16={int(target.precision == 'fp16')}"]
        words += [] if target.size else [f"inputshape2={_shape(OTHER_SIZE)}"]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
        graph, weights = Path(folder) / "network.ncnn.param", Path(folder) / "network.ncnn.bin"
        if done.returncode or not graph.is_file() or not weights.is_file():
            raise ValueError(f"pnnx failed: {(done.stderr or done.stdout).strip()}")
        text = graph.read_text(encoding="utf-8").rstrip("\n")
        operators = [line.split()[0] for line in text.splitlines()[2:]]
        foreign = [name for name in operators if not name.isalnum()]  # such as F.pad, aten::alias
        if foreign:
            advice = "" if target.size else " for images of any size: fix the size with --size"
            raise ValueError(f"ncnn has no {foreign[0]}{advice}")
        file.write_text(f"{text}\n{METADATA} {metadata(network, target)}\n", encoding="utf-8")
        shutil.move(weights, file.with_suffix(".bin"))
