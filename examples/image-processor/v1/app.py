"""Thumbnails of JPEG and PNG pictures, 128 dots at their longer side."""

import base64
from io import BytesIO
from typing import Any

from PIL import Image, UnidentifiedImageError

SIDE = 128
WHITE = (255, 255, 255)
"""What shows through where a picture is transparent, which JPEG cannot be."""


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """The body of the request is a picture, the answer is its thumbnail."""
    try:
        picture = Image.open(BytesIO(base64.b64decode(event.get("body", ""))))
    except UnidentifiedImageError:
        return {"statusCode": 400, "body": "the body is not a picture that can be read\n"}
    made = BytesIO()
    thumbnail(picture).save(made, "JPEG", quality=75)
    return {
        "statusCode": 200,
        "headers": {"content-type": "image/jpeg"},
        "body": base64.b64encode(made.getvalue()).decode(),
        "isBase64Encoded": True,
    }


def thumbnail(picture: Image.Image) -> Image.Image:
    picture.draft("RGB", (SIDE, SIDE))  # lets the JPEG decoder leave out what would be thrown away
    small = opaque(picture)
    small.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR)
    return small


def opaque(picture: Image.Image) -> Image.Image:
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    ground = Image.new("RGB", picture.size, WHITE)
    ground.paste(layer, mask=layer)
    return ground
