"""Small pictures and what Pillow makes of them: RandAugment's operations as published. See README.md."""

import json
import random
import sys

import PIL
from PIL import Image, ImageDraw, ImageEnhance, ImageOps


def enhance(kind):
    return lambda image, value: kind(image).enhance(value)


def affine(image, matrix):
    return image.transform(image.size, Image.Transform.AFFINE, matrix)


def cut(image, box):
    """Lines and columns, both ends meant."""
    top, bottom, left, right = box
    image = image.copy()
    ImageDraw.Draw(image).rectangle((left, top, right, bottom), (125, 123, 114) if image.mode == "RGB" else 123)
    return image


OPERATIONS = {
    "identity": (lambda image, _: image, [0]),
    "autocontrast": (lambda image, _: ImageOps.autocontrast(image), [0]),
    "equalize": (lambda image, _: ImageOps.equalize(image), [0]),
    "rotate": (lambda image, value: image.rotate(value), [-30, -17.3, -0.4, 0, 5, 12.625, 29.9]),
    "solarize": (lambda image, value: ImageOps.solarize(image, value), [0, 77.7, 128, 256]),
    "color": (enhance(ImageEnhance.Color), [0, 0.05, 0.37, 0.95, 1, 1.63]),
    "posterize": (lambda image, value: ImageOps.posterize(image, value), [1, 4, 7, 8]),
    "contrast": (enhance(ImageEnhance.Contrast), [0, 0.05, 0.41, 0.95, 1, 1.9]),
    "brightness": (enhance(ImageEnhance.Brightness), [0.05, 0.33, 0.95, 1, 1.77]),
    "sharpness": (enhance(ImageEnhance.Sharpness), [0, 0.05, 0.52, 1, 1.9]),
    "shear-x": (lambda image, value: affine(image, (1, value, 0, 0, 1, 0)), [-0.3, -0.07, 0, 0.113, 0.3]),
    "shear-y": (lambda image, value: affine(image, (1, 0, 0, value, 1, 0)), [-0.3, -0.07, 0, 0.113, 0.3]),
    "translate-x": (lambda image, value: affine(image, (1, 0, value, 0, 1, 0)), [-2.4, -0.6, 0, 0.3, 1.75, 3]),
    "translate-y": (lambda image, value: affine(image, (1, 0, 0, 0, 1, value)), [-2.4, -0.6, 0, 0.3, 1.75, 3]),
    "cut": (cut, [(0, 0, 0, 0), (1, 2, 0, 1)]),
}


def pictures():
    """Names, modes, sizes (width, height) and bytes, interleaved."""
    numbers = random.Random(5)

    def level(low, high):
        return numbers.randint(low, high)

    yield "colour", "RGB", (7, 11), [level(0, 255) for _ in range(231)]
    yield "dull", "RGB", (5, 4), [level(90, 140) for _ in range(60)]
    yield "grey", "L", (18, 17), [level(20, 90) + 5 * (place % 18) for place in range(306)]
    yield "flat", "RGB", (3, 4), [77] * 36
    yield "line", "L", (2, 3), [level(0, 255) for _ in range(6)]


def planes(image):
    return "".join(channel.tobytes().hex() for channel in image.split())


def main(path):
    cases = []
    for name, mode, size, data in pictures():
        image = Image.frombytes(mode, size, bytes(data))
        for operation, (function, values) in OPERATIONS.items():
            if name == "grey":
                values = values[1:3] if len(values) > 2 else values
            if name in ("flat", "line"):
                values = values[-1:]
            for value in values:
                cases.append(
                    {"picture": name, "operation": operation, "value": value, "pixels": planes(function(image, value))}
                )
    result = {
        "doc": "planes [channels, height, width] in hexadecimal; values in degrees, pixels, levels, bits or factors; "
        "of cut the first and last line and column",
        "source": f"Pillow {PIL.__version__}",
        "pictures": {
            name: {
                "channels": len(mode) if mode == "RGB" else 1,
                "height": size[1],
                "width": size[0],
                "pixels": planes(Image.frombytes(mode, size, bytes(data))),
            }
            for name, mode, size, data in pictures()
        },
        "cases": cases,
    }
    with open(path, "w") as file:
        json.dump(result, file, indent=0)
        file.write("\n")


main(sys.argv[1])
