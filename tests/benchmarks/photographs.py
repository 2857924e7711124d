"""Synthetic photographs of MNIST digits: what a phone, a scanner or a drawing program would send.

A digit is enlarged to crisp ink, or redrawn with a pen of another width along its skeleton, laid on a
canvas of paper, lit, blurred, given noise and encoded. Every Scene is drawn from a seeded generator,
so the same seed gives the same files.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from tests.benchmarks.serving.messages import encoded
from training.thinning import skeletons

FloatImage = NDArray[np.float32]
Colour = tuple[int, int, int]

WHITE: Colour = (255, 255, 255)
BLACK: Colour = (0, 0, 0)
CANVASES = ((32, 32), (64, 48), (200, 300), (280, 280), (1050, 800), (1152, 648), (1600, 1200), (3000, 2250))
PAPERS: tuple[Colour, ...] = (
    (255, 255, 255),
    (240, 235, 220),
    (250, 240, 160),
    (180, 210, 235),
    (150, 150, 150),
)
INKS: tuple[Colour, ...] = ((20, 20, 30), (20, 40, 140), (180, 20, 30), (20, 110, 50), (90, 80, 80))


@dataclass(frozen=True, slots=True)
class Scene:
    """One photograph. Lengths are in pixels, or in shares where said; angles in degrees."""

    canvas: tuple[int, int] = (800, 600)
    height: float = 0.5  # of the digit's 20-pixel box, as a share of the canvas's shorter side
    centre: tuple[float, float] = (0.5, 0.5)  # of the box, as shares of the canvas
    pen: float | None = None  # None: the digit's own strokes; else a pen's width in pixels along the skeleton
    swell: float = 0.0  # strokes widened (or, below 0, narrowed) on each side, as a share of the height
    paper: Colour = WHITE
    ink: Colour = BLACK
    shading: float = 0.0  # how much darker the far corner is
    vignette: float = 0.0  # how much darker the corners are
    ruled: Colour | None = None
    blur: float = 0.0  # as a share of the height
    noise: float = 0.0  # standard deviation, of 255
    rotation: float = 0.0
    jpeg: int | None = None  # quality; None: PNG


def photograph(digit: NDArray[np.uint8], scene: Scene, random: Generator) -> bytes:
    """A digit, uint8 [28,28] in MNIST's form → an encoded photograph of it."""
    side = max(8, round(scene.height * min(scene.canvas)))
    picture = _paper(scene)
    _lay(picture, _ink(digit, side, scene), scene)
    if scene.shading or scene.vignette:
        light = Image.fromarray((_light(scene) * 255).astype(np.uint8))
        picture = ImageChops.multiply(picture, Image.merge("RGB", (light, light, light)))
    if scene.blur:
        picture = picture.filter(ImageFilter.GaussianBlur(scene.blur * side))
    if scene.noise:
        grain = random.standard_normal((picture.height, picture.width), np.float32) * scene.noise
        picture = Image.fromarray(np.clip(np.asarray(picture) + grain[..., None], 0, 255).astype(np.uint8))
    return encode(picture, scene.jpeg)


def encode(picture: Image.Image, quality: int | None) -> bytes:
    """PNG, or JPEG of a quality."""
    pixels = np.asarray(picture)
    return encoded(pixels, compress_level=1) if quality is None else encoded(pixels, "JPEG", quality=quality)


def _ink(digit: NDArray[np.uint8], side: int, scene: Scene) -> Image.Image:
    """Coverage by ink, mode "L", of a square 1.4 times the box, turned by the scene's angle."""
    square = round(side * 1.4)
    drawn = _redrawn(digit, square, scene.pen) if scene.pen else _enlarged(digit, square, scene.swell)
    return drawn.rotate(scene.rotation, Image.Resampling.BICUBIC) if scene.rotation else drawn


def _enlarged(digit: NDArray[np.uint8], square: int, swell: float) -> Image.Image:
    smooth = Image.fromarray(digit).resize((140, 140), Image.Resampling.BICUBIC)
    grown = round(abs(swell) * 100)
    if grown:
        kind = ImageFilter.MaxFilter if swell > 0 else ImageFilter.MinFilter
        smooth = smooth.filter(kind(2 * grown + 1))
    smooth = smooth.resize((square, square), Image.Resampling.BICUBIC)
    steepness = max(1.0, square / 28 / 2)  # an edge about two pixels wide, however large the digit
    return smooth.point([round(min(max((v - 127.5) * steepness + 127.5, 0), 255)) for v in range(256)])


def _redrawn(digit: NDArray[np.uint8], square: int, pen: float) -> Image.Image:
    """The digit's skeleton drawn with a round pen, `pen` pixels wide, without antialiasing when that is 1."""
    fine = 4
    large = Image.fromarray(digit).resize((28 * fine, 28 * fine), Image.Resampling.BICUBIC)
    bones = skeletons(np.asarray(large)[None] > 127)[0]
    scale = square / (28 * fine)
    sheet = Image.new("L", (square, square))
    draw = ImageDraw.Draw(sheet)
    rows, columns = np.nonzero(bones)
    present = set(zip(rows.tolist(), columns.tolist(), strict=True))
    for row, column in present:
        ends = [
            (row + r, column + c)
            for r, c in ((0, 1), (1, 0), (1, 1), (1, -1))
            if (row + r, column + c) in present
        ]
        here = ((column + 0.5) * scale, (row + 0.5) * scale)
        for r, c in ends:
            draw.line((here, ((c + 0.5) * scale, (r + 0.5) * scale)), fill=255, width=round(pen))
        if pen >= 3:
            draw.ellipse(
                (here[0] - pen / 2, here[1] - pen / 2, here[0] + pen / 2, here[1] + pen / 2), fill=255
            )
    return sheet


def _lay(picture: Image.Image, ink: Image.Image, scene: Scene) -> None:
    """Lay the ink on the canvas about its centre; what falls outside is cut off."""
    left = round(scene.centre[0] * picture.width - ink.width / 2)
    top = round(scene.centre[1] * picture.height - ink.height / 2)
    picture.paste(scene.ink, (left, top, left + ink.width, top + ink.height), ink)


def _paper(scene: Scene) -> Image.Image:
    paper = Image.new("RGB", scene.canvas, scene.paper)
    if scene.ruled is not None:
        draw = ImageDraw.Draw(paper)
        spacing, thickness = max(8, paper.height // 12), max(1, paper.height // 300)
        for top in range(spacing // 2, paper.height, spacing):
            draw.rectangle((0, top, paper.width, top + thickness - 1), fill=scene.ruled)
    return paper


def _light(scene: Scene) -> FloatImage:
    """How much light falls on each pixel, 0…1."""
    width, height = scene.canvas
    x = np.linspace(-1, 1, width, dtype=np.float32)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    slope = (x + y + 2) / 4 * scene.shading
    corners = (x**2 + y**2) / 2 * scene.vignette
    return np.maximum(1 - slope - corners, np.float32(0.05))


def _somewhere(random: Generator, scene: Scene) -> Scene:
    """The digit of a random size, anywhere on the canvas, whole."""
    height = random.uniform(0.2, 0.7)
    width, tall = scene.canvas
    reach = height * min(scene.canvas) * 0.55
    x = random.uniform(reach / width, 1 - reach / width) if reach * 2 < width else 0.5
    y = random.uniform(reach / tall, 1 - reach / tall) if reach * 2 < tall else 0.5
    return replace(scene, height=height, centre=(x, y))


def _at_the_border(random: Generator, scene: Scene) -> Scene:
    """The box's edge on an edge of the canvas, so that ink touches it."""
    reach = scene.height * min(scene.canvas) / 2
    shares = (reach / scene.canvas[0], reach / scene.canvas[1])
    side = random.integers(4)
    along = random.uniform(0.35, 0.65)
    edge = shares[side % 2] if side < 2 else 1 - shares[side % 2]
    return replace(scene, centre=(edge, along) if side % 2 == 0 else (along, edge))


def _everything(random: Generator, scene: Scene) -> Scene:
    width, height = random.permutation([random.integers(300, 1600), random.integers(300, 1600)])
    scene = _somewhere(random, replace(scene, canvas=(int(width), int(height))))
    for name in ("turned", "shaded", "noisy", "JPEG", "coloured"):
        scene = DISTORTIONS[name](random, scene)
    if random.random() < 0.5:
        scene = DISTORTIONS["blurred"](random, scene)
    pen = random.choice(("own", "thick", "thin pen"))
    scene = scene if pen == "own" else DISTORTIONS[pen](random, scene)
    return replace(scene, paper=scene.ink, ink=scene.paper) if random.random() < 0.5 else scene


def _coloured(random: Generator, scene: Scene) -> Scene:
    return replace(scene, paper=PAPERS[random.integers(len(PAPERS))], ink=INKS[random.integers(len(INKS))])


Distortion = Callable[[Generator, Scene], Scene]
DISTORTIONS: dict[str, Distortion] = {
    "clean canvas": lambda random, scene: scene,
    "canvas size": lambda random, scene: replace(
        scene, canvas=CANVASES[random.integers(len(CANVASES))], height=0.7
    ),
    "32 × 32": lambda random, scene: replace(scene, canvas=(32, 32), height=random.uniform(0.6, 0.9)),
    "position": _somewhere,
    "at the border": _at_the_border,
    "hairline": lambda random, scene: replace(
        scene, canvas=(1050, 800), height=random.uniform(0.2, 0.8), pen=1
    ),
    "thin pen": lambda random, scene: replace(
        scene, pen=random.uniform(0.01, 0.05) * scene.height * min(scene.canvas)
    ),
    "thick": lambda random, scene: replace(scene, swell=random.uniform(0.01, 0.04)),
    "white on black": lambda random, scene: replace(scene, canvas=(1152, 648), paper=BLACK, ink=WHITE),
    "coloured": _coloured,
    "shaded": lambda random, scene: replace(
        scene, shading=random.uniform(0.2, 0.7), vignette=random.uniform(0, 0.3)
    ),
    "ruled": lambda random, scene: replace(scene, ruled=(150, 180, 220)),
    "blurred": lambda random, scene: replace(scene, blur=random.uniform(0.01, 0.04)),
    "noisy": lambda random, scene: replace(scene, noise=random.uniform(5, 25)),
    "turned": lambda random, scene: replace(scene, rotation=random.uniform(-10, 10)),
    "JPEG": lambda random, scene: replace(scene, jpeg=int(random.integers(50, 91))),
    "all together": _everything,
}
