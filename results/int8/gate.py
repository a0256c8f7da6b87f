"""Train every network of results/networks as there, and make INT8 files of them by several means.

    python results/int8/gate.py ../shared/data/dev/concrete800 --work /somewhere

Each network is trained on crops of 64 px as in that comparison; all but DeepLabV3-ResNet101 lose half of their channels by
Taylor and are fine-tuned. Checkpoints and reports stay in the folder ``--work``, so it goes on where it was stopped. Writes
gate_networks.csv, .json, and .md beside this file.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd

import prune
from prune.errors import UserError
from prune.tables import markdown_table

NETWORKS = {
    "hrsegnet_b16": (10, 50),
    "lraspp_mobilenet_v3_large": (10, 50),
    "deeplabv3_mobilenet_v3_large": (10, 50),
    "hrsegnet_b48": (5, 50),
    "deeplabv3_resnet101": (3, 0),
    "deeplabv3_resnet50": (3, 50),
    "fcn_resnet50": (3, 50),
    "unet": (1, 50),
    "attention_unet": (3, 50),
    "hrsegnet_b32": (10, 50),
    "hrsegnet_b64": (3, 50),
    "unet_resnet34": (3, 50),
    "unet_resnet50": (1, 50),
    "unet_resnet101": (1, 50),
    "unet_vgg16": (3, 50),
    "unet_efficientnet_lite0": (5, 50),
}
"""Epochs of training (three where one left a network without cracks), and percent of the channels that are removed. The first
five are those whose files had failed."""
WAYS = {"onnx": ("minmax", "auto"), "openvino": ("auto",)}
"""``auto`` takes the first of the means that passes on training photographs."""
TRAINED = {
    "hrsegnet_b16": ("onnx", "openvino"),
    "lraspp_mobilenet_v3_large": ("onnx", "openvino"),
    "deeplabv3_mobilenet_v3_large": ("onnx",),
}
"""Runtimes with a file by quantization-aware training (qat), which takes the longest by far."""
SUFFIX = {"onnx": ".onnx", "openvino": ".xml"}
RUNTIMES = {"onnx": "ONNX Runtime", "openvino": "OpenVINO"}
TRAIN = {"crop_size": 64, "batch_size": 4, "lr": 1e-3, "weights": "none", "workers": 0, "cache": True, "patience": 0}
QAT_EPOCHS = 3


def network(name: str, data: str, work: Path) -> Path:
    """The checkpoint to export, trained where it is missing."""
    epochs, percent = NETWORKS[name]
    dense, tuned = work / f"{name}.pth", work / f"{name}_tuned.pth"
    if not dense.is_file():
        prune.train(data, model=name, classes="crack", checkpoint=dense, epochs=epochs, **TRAIN)
    if not percent:
        return dense
    if not tuned.is_file():
        small = prune.prune(dense, data=data, importance="Taylor", ratio=percent, crop_size=64)
        prune.train(data, start=small, checkpoint=tuned, epochs=epochs, **TRAIN)
    return tuned


def report(name: str, file: Path, runtime: str, way: str, data: str, work: Path, images: int) -> dict[str, Any]:
    """What one INT8 file loses; a file that fails is not written, but its report is."""
    path = work / f"{name}_{way}{SUFFIX[runtime]}"
    said = path.with_name(f"{path.name}.json")
    how: dict[str, Any] = {"qat_epochs": QAT_EPOCHS} if way == "qat" else {"int8_means": way}
    if not said.is_file():
        try:
            prune.export(file, path, data=data, precision="int8", parity_images=images, **how)
        except UserError as error:
            print(error)
    content: dict[str, Any] = json.loads(said.read_text("utf-8"))
    return content


def row(name: str, runtime: str, way: str, data: str, found: dict[str, Any]) -> dict[str, Any]:
    """A line of the table; losses in points, negative = gained (and never −0)."""
    parity, percent = found["parity"], NETWORKS[name][1]
    before, after = parity["reference"], parity["exported"]
    taken = found["int8"]["means"]
    return {
        "network": name,
        "channels_removed_percent": percent,
        "data": Path(data).name,
        "test_images": parity["images"],
        "runtime": RUNTIMES[runtime],
        "means": f"{way}: {taken}" if way == "auto" else way,
        "agreement_percent": round(100 * parity["agreement"], 3),
        "miou": round(before["miou"], 4),
        "crack_lt_iou_4": round(before["crack_lt_iou_4"], 4),
        "miou_lost_points": round(100 * (before["miou"] - after["miou"]), 2) + 0.0,
        "crack_lt_iou_4_lost_points": round(100 * (before["crack_lt_iou_4"] - after["crack_lt_iou_4"]), 2) + 0.0,
        "passed": found["passed"],
        "mib": round(found["mib"], 2),
        "seconds": found["seconds"],
    }


def best(rows: list[dict[str, Any]]) -> str:
    """A line for each network: what the file of the means that ``auto`` takes loses on each runtime."""
    header = ["network", "removed", "mIoU", "crack ltIoU@4"]
    for runtime in RUNTIMES.values():
        header += [runtime, "lost, mIoU / ltIoU@4"]
    lines: dict[str, list[Any]] = {}
    for found in rows:
        name = found["network"]
        if name not in lines:
            scores = (f"{found[score]:.3f}" for score in ("miou", "crack_lt_iou_4"))
            lines[name] = [f"`{name}`", f"{found['channels_removed_percent']}%", *scores]
        if found["means"].startswith("auto"):
            lost = (f"{found[f'{score}_lost_points']:.2f}".replace("-", "−") for score in ("miou", "crack_lt_iou_4"))
            lines[name] += [
                f"`{found['means'].split()[-1]}`",
                " / ".join(lost) + ("" if found["passed"] else ", fails"),
            ]
    return markdown_table(header, list(lines.values()))


def main() -> None:
    """Make what is missing, and the table of everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--images", type=int, default=64, help="test images")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--runtimes", default=",".join(WAYS))
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    rows, last = [], {}
    for name in given.networks.split(","):
        file = network(name, given.data, given.work)
        for runtime in given.runtimes.split(","):
            for way in (*WAYS[runtime], *(["qat"] if runtime in TRAINED.get(name, ()) else [])):
                last = report(name, file, runtime, way, given.data, given.work, given.images)
                rows.append(row(name, runtime, way, given.data, last))
                print(*rows[-1].values(), flush=True)
    here, table = Path(__file__).parent, pd.DataFrame(rows)
    table.to_csv(here / "gate_networks.csv", index=False, lineterminator="\n")
    facts = {"training": TRAIN | {"epochs": NETWORKS, "qat_epochs": QAT_EPOCHS}, "machine": last["machine"]}
    content = json.dumps(facts | {"versions": last["versions"], "rows": rows}, indent=1)
    (here / "gate_networks.json").write_text(content + "\n", "utf-8")
    (here / "gate_networks.md").write_text(best(rows) + "\n", "utf-8")


if __name__ == "__main__":
    main()
