"""The map of an item's bytes: its files side by side, each as wide as it is large, with what has arrived. Pure.

`static/portal/live.js` draws the same map from the gate's live state; keep the two alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ftpgate.proof.coverage import Span

WIDTH = 1000
"""Of the drawing's own coordinates; pages scale it."""
HEIGHT = 10
"""See `WIDTH`."""
_GAP = 3.0
"""Between two files, at the most."""
_GAPS = 150.0  # all of them together, however many files there are
_NARROWEST = 4.0  # of what is unconfirmed: the hatching has to be seen, however little it is
_FINEST = 0.25  # what is nearer to its neighbour is drawn with it: an eye sees no finer, and paths stay short


def columns(sizes: Sequence[int]) -> list[tuple[float, float]]:
    """Where each file lies: its left edge and its width, of `WIDTH`."""
    gap = min(_GAP, _GAPS / len(sizes)) if len(sizes) > 1 else 0.0
    scale = (WIDTH - gap * (len(sizes) - 1)) / (sum(sizes) or 1)
    found, x = [], 0.0
    for size in sizes:
        found.append((x, size * scale))
        x += size * scale + gap
    return found


def ground(sizes: Sequence[int]) -> str:
    """The path of all files, as if nothing had arrived."""
    return "".join(_box(x, width) for x, width in columns(sizes))


def arrived(sizes: Sequence[int], spans: Iterable[Sequence[Span]]) -> str:
    """The path of what has arrived of each file."""
    return "".join(_box(left, right - left) for left, right, _ in _placed(sizes, spans))


def unconfirmed(sizes: Sequence[int], spans: Iterable[Sequence[Span]]) -> str:
    """The path of what is unconfirmed of each file, none of it too narrow to be seen."""
    return "".join(
        _box(min(left, max(0.0, end - _NARROWEST)), max(right - left, _NARROWEST)) for left, right, end in _placed(sizes, spans)
    )


def _placed(sizes: Sequence[int], spans: Iterable[Sequence[Span]]) -> Iterator[tuple[float, float, float]]:
    """Left and right edge of each range, and the right edge of its file."""
    for (x, width), size, of_file in zip(columns(sizes), sizes, spans, strict=True):
        if size:
            yield from ((x + left, x + right, x + width) for left, right in _drawn(of_file, width / size))


def _drawn(spans: Sequence[Span], scale: float) -> list[tuple[float, float]]:
    joined: list[tuple[float, float]] = []
    for start, end in spans:
        left, right = start * scale, end * scale
        if joined and left - joined[-1][1] < _FINEST:
            joined[-1] = (joined[-1][0], right)
        else:
            joined.append((left, right))
    return joined


def _box(x: float, width: float) -> str:
    return f"M{x:.2f} 0h{width:.2f}v{HEIGHT}h-{width:.2f}z"
