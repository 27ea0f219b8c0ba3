"""Draws the pictures of this example: landscapes, skies, fractals and logos, in the formats that people upload.

    .venv/bin/python examples/image-processor/draw_pictures.py

Every fifth one is a PNG with a palette and a transparent colour, as logos are; the rest are JPEG and true-colour PNG.
"""

import random
from collections.abc import Callable
from math import pi, sin
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter

PICTURES = Path(__file__).parent / "pictures"
ORIENTATION = 0x0112
"""EXIF tag; 6 says that the camera was held upright."""

Colour = tuple[int, int, int]
Draw = Callable[[random.Random, tuple[int, int]], Image.Image]


def landscape(chance: random.Random, size: tuple[int, int]) -> Image.Image:
    """Ranges of hills before an evening sky, the nearer the darker, with the grain of film."""
    width, height = size
    picture = gradient(size, (255, 190, 120), (70, 110, 190))
    pen = ImageDraw.Draw(picture)
    sun = (chance.uniform(0.2, 0.8) * width, height * 0.35)
    pen.ellipse([sun[0] - 40, sun[1] - 40, sun[0] + 40, sun[1] + 40], fill=(255, 240, 200))
    for layer in range(5):
        phases = [chance.uniform(0, 2 * pi) for _ in range(4)]
        base, rise = height * (0.45 + 0.12 * layer), height * 0.09
        ridge = [(x, base - rise * hills(x / width, phases)) for x in range(0, width + 8, 8)]
        shade = 1 - layer / 6
        colour = (int(90 * shade), int(110 * shade), int(120 * shade))
        pen.polygon([(0, height), *ridge, (width, height)], fill=colour)
    return grained(picture, chance)


def hills(x: float, phases: list[float]) -> float:
    return sum(sin(2 * pi * x * (1 << octave) + phase) / (1 << octave) for octave, phase in enumerate(phases))


def sky(chance: random.Random, size: tuple[int, int]) -> Image.Image:
    """Clouds: noise at five scales, laid over each other."""
    clouds = Image.new("L", size, 0)
    for octave in range(5):
        cells = (4 * 2**octave, 3 * 2**octave)
        noise = Image.frombytes("L", cells, chance.randbytes(cells[0] * cells[1])).resize(
            size, Image.Resampling.BICUBIC
        )
        clouds = ImageChops.add(clouds, noise.point(lambda level, share=2 ** (octave + 1): level // share))
    picture = gradient(size, (170, 205, 240), (40, 90, 180))
    picture.paste((250, 250, 252), mask=clouds.point(lambda level: max(0, level - 90) * 2))
    return picture


def fractal(chance: random.Random, size: tuple[int, int]) -> Image.Image:
    """A part of the Mandelbrot set, drawn by Pillow at a quarter of the size."""
    x, y = chance.choice([(-0.745, 0.113), (-0.16, 1.04), (0.285, 0.01)])
    reach = chance.uniform(0.01, 0.06)
    depth = Image.effect_mandelbrot((size[0] // 4, size[1] // 4), (x - reach, y - reach, x + reach, y + reach), 90)
    bands = [depth.point(lambda level, times=times: level * times % 256) for times in (3, 5, 9)]
    return Image.merge("RGB", bands).resize(size, Image.Resampling.BICUBIC)


def logo(chance: random.Random, size: tuple[int, int]) -> Image.Image:
    """Overlapping discs in few colours on nothing: a palette, one colour of it transparent."""
    picture = Image.new("P", size, 0)
    picture.putpalette([level for _ in range(8) for level in chance.sample(range(30, 255), 3)])
    pen = ImageDraw.Draw(picture)
    for colour in range(1, 8):
        radius = min(size) * chance.uniform(0.1, 0.3)
        x, y = chance.uniform(radius, size[0] - radius), chance.uniform(radius, size[1] - radius)
        pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour)
    picture.info["transparency"] = 0
    return picture


def gradient(size: tuple[int, int], bottom: Colour, top: Colour) -> Image.Image:
    share = Image.linear_gradient("L").resize(size)
    return Image.composite(Image.new("RGB", size, bottom), Image.new("RGB", size, top), share)


def grained(picture: Image.Image, chance: random.Random) -> Image.Image:
    width, height = picture.size
    noise = speckled((width // 2, height // 2), chance).resize(picture.size)
    grain = noise.filter(ImageFilter.GaussianBlur(1)).point(lambda level: level // 12)
    return ImageChops.add(picture, Image.merge("RGB", [grain] * 3), offset=-10)


def speckled(size: tuple[int, int], chance: random.Random) -> Image.Image:
    return Image.frombytes("L", size, chance.randbytes(size[0] * size[1]))


def save(picture: Image.Image, name: str, *, upright: bool = False) -> None:
    path = PICTURES / name
    if path.suffix == ".png":
        picture.save(path, optimize=True)
        return
    exif = picture.getexif()
    if upright:
        exif[ORIENTATION] = 6
    picture.save(path, quality=82, exif=exif)


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    drawn: list[tuple[str, Draw, tuple[int, int]]] = [
        ("01-hills.jpg", landscape, (1600, 1067)),
        ("02-clouds.jpg", sky, (1280, 853)),
        ("03-fractal.png", fractal, (640, 480)),
        ("04-upright.jpg", landscape, (1024, 768)),
        ("05-logo.png", logo, (800, 800)),
        ("06-valley.jpg", landscape, (1280, 853)),
        ("07-fractal.jpg", fractal, (1200, 900)),
        ("08-morning.jpg", sky, (1600, 1067)),
        ("09-spiral.png", fractal, (720, 540)),
        ("10-badge.png", logo, (1000, 640)),
        ("11-ridge.jpg", landscape, (1024, 683)),
        ("12-haze.jpg", sky, (1024, 683)),
        ("13-coast.jpg", fractal, (960, 720)),
        ("14-range.jpg", landscape, (1440, 960)),
        ("15-sign.png", logo, (640, 640)),
    ]
    for seed, (name, draw, size) in enumerate(drawn):
        save(draw(random.Random(seed), size), name, upright="upright" in name)


if __name__ == "__main__":
    main()
