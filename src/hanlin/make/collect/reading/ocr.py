"""Text of a page's picture, by RapidOCR (PP-OCR's models under ONNX Runtime). The models come in its wheel: nothing is
fetched."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hanlin.make.collect.reading.parsers import needs, parsing

if TYPE_CHECKING:
    import numpy as np

_SAME_LINE_SHARE = 0.5
"""Boxes whose middles are nearer than this share of their height stand on one line."""


def is_installed() -> bool:
    return find_spec("rapidocr") is not None and find_spec("onnxruntime") is not None


def recognise(picture_HWC: np.ndarray) -> tuple[str, float]:
    """(text, mean confidence) of an RGB picture; lines from top to bottom, ("", 0.0) where none is found."""
    with parsing("OCR"):
        result = _engine()(picture_HWC)
        if result.txts is None or not len(result.txts):
            return "", 0.0
        boxes = [(box[:, 1].mean(), box[:, 0].min(), box[:, 1].max() - box[:, 1].min()) for box in result.boxes]
        scores = [float(score) for score in result.scores]
        # A line counts by its length: one sure digit is not worth a doubtful paragraph.
        weights = [max(1, len(text)) for text in result.txts]
        confidence = sum(score * weight for score, weight in zip(scores, weights)) / sum(weights)
        return "\n".join(_in_lines(list(zip(boxes, result.txts)))), confidence


def _in_lines(found: list[tuple[tuple[float, float, float], str]]) -> list[str]:
    lines: list[list[tuple[float, float, float, str]]] = []
    for (middle, left, height), text in sorted(found, key=lambda item: item[0][0]):
        if lines and abs(middle - lines[-1][-1][0]) < _SAME_LINE_SHARE * min(height, lines[-1][-1][2]):
            lines[-1].append((middle, left, height, text))
        else:
            lines.append([(middle, left, height, text)])
    return ["  ".join(part[3] for part in sorted(line, key=lambda part: part[1])) for line in lines]


@lru_cache(maxsize=1)
def _engine() -> Any:
    needs("onnxruntime", "ocr", "A page's picture")
    rapidocr = needs("rapidocr", "ocr", "A page's picture")
    return rapidocr.RapidOCR(params={"Global.log_level": "critical"})
