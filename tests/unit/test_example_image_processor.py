"""The example's function, with the pictures that it ships."""

import base64
import importlib.util
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from hotswap import manifest

EXAMPLE = Path(__file__).parents[2] / "examples" / "image-processor"
PICTURES = sorted((EXAMPLE / "pictures").iterdir())


def has_palette(path: Path) -> bool:
    with Image.open(path) as picture:
        return picture.mode == "P"


WITH_A_PALETTE = [path for path in PICTURES if has_palette(path)]


def load(version: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"image_processor_{version}", EXAMPLE / version / "app.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def invoke(version: str, body: bytes) -> dict[str, Any]:
    event = {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    answer: dict[str, Any] = load(version).handler(event, None)
    return answer


def thumbnail(version: str, path: Path) -> Image.Image:
    answer = invoke(version, path.read_bytes())
    assert (answer["statusCode"], answer["headers"]["content-type"]) == (200, "image/jpeg")
    return Image.open(BytesIO(base64.b64decode(answer["body"])))


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_every_picture_has_a_thumbnail(version: str, path: Path) -> None:
    made = thumbnail(version, path)
    assert max(made.size) == 128
    assert made.mode == "RGB"


def test_one_picture_in_five_has_a_palette() -> None:
    assert len(WITH_A_PALETTE) * 5 == len(PICTURES)


@pytest.mark.parametrize("path", WITH_A_PALETTE, ids=lambda path: path.name)
def test_version_4_fails_with_a_palette(path: Path) -> None:
    with pytest.raises(OSError, match="cannot write mode P as JPEG"):
        invoke("v4", path.read_bytes())


@pytest.mark.parametrize("path", sorted({*PICTURES} - {*WITH_A_PALETTE}), ids=lambda path: path.name)
def test_version_4_works_with_every_other_picture(path: Path) -> None:
    assert max(thumbnail("v4", path).size) == 128


def test_what_is_transparent_becomes_white() -> None:
    corner = thumbnail("v1", EXAMPLE / "pictures" / "15-sign.png").getpixel((0, 0))
    assert isinstance(corner, tuple)
    assert min(corner) > 250


def test_version_2_shows_while_it_loads() -> None:
    assert "progressive" in thumbnail("v2", PICTURES[0]).info
    assert "progressive" not in thumbnail("v1", PICTURES[0]).info


def test_version_3_turns_a_picture_as_the_camera_was_held() -> None:
    upright = EXAMPLE / "pictures" / "04-upright.jpg"
    assert thumbnail("v2", upright).size == (128, 96)
    assert thumbnail("v3", upright).size == (96, 128)


def test_what_is_no_picture_is_the_callers_fault() -> None:
    assert invoke("v1", b"no picture")["statusCode"] == 400


@pytest.mark.parametrize("version", ["v1", "v2", "v3", "v4"])
def test_the_sample_payload_of_each_version_is_answered(version: str) -> None:
    payload = manifest.read(EXAMPLE / version).sample_payload
    assert isinstance(payload, msgspec.Raw)
    assert load(version).handler(msgspec.json.decode(payload), None)["statusCode"] == 200
