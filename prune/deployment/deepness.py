"""ONNX files as *Deepness* wants them, the plugin of QGIS that runs networks on orthophotos.

What it reads was taken from its source (github.com/PUTvision/qgis-plugin-deepness, ``processing/models/model_base.py`` and
``segmentor.py``, version of December 2024): one input (N, 3, S, S) of a fixed square size, which it fills with pixels / 255,
standardized by the mean and standard deviation in the metadata; one output (N, C, S, S) of probabilities, which it
compares with a threshold; and metadata whose values are JSON.
"""

import json
from pathlib import Path

from prune.data.labels import ClassSet
from prune.data.preprocessing import Preprocessing
from prune.deployment.target import ExportTarget, optional_package
from prune.errors import UserError
from prune.inference.metadata import METADATA
from prune.inference.seal import seal, unsealed

OVERLAP_PERCENT = 25
"""What neighboring tiles have in common, as for photographs that are cut into tiles."""
OUTPUT = "probabilities"


def check_deepness(target: ExportTarget) -> None:
    """Find out whether a file for this target can be one for Deepness.

    Raises:
        UserError: for another runtime than ONNX, a class map, and an input that is not of one square size.
    """
    if target.runtime != "onnx":
        raise UserError(f"--for deepness: expected an ONNX file, found {target.runtime}")
    if target.argmax:
        raise UserError("--for deepness: expected probabilities in the file, found --argmax")
    if target.size is None or target.size[0] != target.size[1]:
        found = "any size" if target.size is None else f"{target.size[0]} × {target.size[1]} px"
        raise UserError(f"--for deepness: expected one square size, such as --size 512, found {found}")


def deepness_metadata(
    classes: ClassSet, preprocessing: Preprocessing, side: int, mm_per_pixel: float | None
) -> dict[str, str]:
    """The metadata that Deepness reads, as JSON by key.

    Args:
        classes: What the output channels mean.
        preprocessing: Of the network.
        side: Of the input in px.
        mm_per_pixel: Size of a pixel on the ground that the network is meant for; None = not stored, the user chooses.
    """
    content = {
        "model_type": "Segmentor",
        "class_names": {str(number): name for number, name in enumerate(classes.classes)},
        "tile_size": side,
        "tiles_size": side,  # its documentation calls it so, its source the other way
        "tiles_overlap": OVERLAP_PERCENT,
        "standardization_mean": list(preprocessing.mean),
        "standardization_std": list(preprocessing.std),
    }
    if mm_per_pixel is not None:
        content["resolution"] = mm_per_pixel / 10  # cm per px
    return {key: json.dumps(value, ensure_ascii=False) for key, value in content.items()}


def make_deepness(
    file: Path, classes: ClassSet, preprocessing: Preprocessing, mm_per_pixel: float | None = None
) -> None:
    """Turn an ONNX file that gives logits, at one square size, into one that Deepness reads; it is written in place.

    A softmax is added at its end and the metadata beside ours. The most probable class of every pixel stays the same.
    """
    onnx = optional_package("onnx", "export")
    model = onnx.load(str(file))
    (output,) = model.graph.output
    side = model.graph.input[0].type.tensor_type.shape.dim[-1].dim_value
    model.graph.node.append(onnx.helper.make_node("Softmax", [output.name], [OUTPUT], name="softmax", axis=1))
    result = onnx.ValueInfoProto()
    result.CopyFrom(output)
    result.name = OUTPUT
    del model.graph.output[:]
    model.graph.output.append(result)
    for entry in model.metadata_props:
        if entry.key == METADATA:
            entry.value = unsealed(json.dumps(json.loads(entry.value) | {"output": OUTPUT}))
    for key, value in deepness_metadata(classes, preprocessing, side, mm_per_pixel).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(model)
    onnx.save(model, str(file))
    seal(file)
