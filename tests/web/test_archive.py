"""ZIP files of visitors: photographs come out, and nothing else happens."""

import io
import stat
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from prune.web.archive import ArchiveLimits, unpack
from tests.conftest import refused


def picture(side: int = 8) -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((side, side), 40).convert("RGB").save(stream, format="PNG")
    return stream.getvalue()


def packed(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_photographs_come_out_in_order_and_the_rest_stays(tmp_path: Path) -> None:
    image = picture()
    files = {
        "b/2.png": image,
        "1.JPG": image,
        "notes.txt": b"x",
        "__MACOSX/1.jpg": b"",
        ".hidden.png": image,
        "b/": b"",
    }
    found = unpack(packed(tmp_path / "a.zip", files), tmp_path / "out")
    assert [file.relative_to(tmp_path / "out").as_posix() for file in found] == ["1.JPG", "b/2.png"]
    assert found[1].read_bytes() == image and sum(file.is_file() for file in (tmp_path / "out").rglob("*")) == 2


@pytest.mark.parametrize("name", ["../a.png", "/etc/a.png", "a/../../b.png", "C:a.png", "a\\..\\b.png"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    with refused("expected names within the ZIP file"):
        unpack(packed(tmp_path / "a.zip", {"good.png": picture(), name: picture()}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_are_refused(tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("a.png")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    with refused("found the link or device 'a.png'"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_bombs_are_refused(tmp_path: Path) -> None:
    bomb = packed(tmp_path / "a.zip", {"a.png": bytes(3 * 2**20)})
    with refused("found a.png, which grows too much"):
        unpack(bomb, tmp_path / "out")
    with refused("expected at most 2 MiB in the ZIP file, found 3 MiB unpacked"):
        unpack(bomb, tmp_path / "out", ArchiveLimits(mib=2))
    many = packed(tmp_path / "b.zip", {f"{i}.png": picture() for i in range(4)})
    with refused("expected at most 3 photographs in the ZIP file, found 4"):
        unpack(many, tmp_path / "out", ArchiveLimits(photographs=3))
    assert not (tmp_path / "out").exists()


def test_a_table_that_lies_about_sizes_does_not_help(tmp_path: Path) -> None:
    file = packed(tmp_path / "a.zip", {"0.png": picture(), "a.png": bytes(2**20)}, zipfile.ZIP_STORED)
    content = file.read_bytes()
    file.write_bytes(content.replace((2**20).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with refused("expected a ZIP file of photographs, found: "):
        unpack(file, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.png"))


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"no archive")
    with refused("expected a ZIP file of photographs, found: File is not a zip file"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    with refused("expected photographs in the ZIP file, found none"):
        unpack(packed(tmp_path / "b.zip", {"a.txt": b"x"}), tmp_path / "out")
