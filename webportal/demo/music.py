"""Short pieces of music from a few numbers: plucked strings, bells and pads over chords. Pure, the same every time.

Whole notes are made once and mixed with `map` over arrays, which runs in C: a minute of stereo takes about a second.
"""

from __future__ import annotations

import math
import random
import struct
import sys
from array import array
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import repeat
from operator import add, floordiv, mul
from typing import NamedTuple

RATE = 24_000
"""Samples a second of each of the two channels."""
_LOUDEST = 26_000
_BASS, _CHORD, _MELODY = (2.2, 0.5), (1.1, 0.28), (1.6, 0.6)
"""How long (seconds) and how loud the notes of each part are."""
_ECHO_SECONDS, _ECHO_SHARE = 0.33, 3  # a third as loud


class Piece(NamedTuple):
    """`chords` are semitones above `root` (a MIDI key), one chord a bar of four beats; `scale` is what melodies walk on."""

    seed: int
    tempo: int
    root: int
    chords: Sequence[Sequence[int]]
    scale: Sequence[int]
    voice: str
    bars: int


def render(piece: Piece) -> bytes:
    """16-bit little-endian stereo samples."""
    beat = 60 / piece.tempo
    length = int((piece.bars * 4 * beat + 2.5) * RATE)
    near, far = array("i", bytes(4 * length)), array("i", bytes(4 * length))
    chance = random.Random(piece.seed)  # noqa: S311 (a melody, not a secret)
    step = len(piece.scale) // 2
    for bar in range(piece.bars):
        chord = piece.chords[bar % len(piece.chords)]
        at = bar * 4 * beat
        last = bar == piece.bars - 1
        _mix(far, _note(piece.voice, piece.root - 12 + chord[0], *_BASS), at)
        for index in range(1 if last else 8):
            _mix(far, _note(piece.voice, piece.root + chord[index % len(chord)], *_CHORD), at + index * beat / 2)
        for quarter in range(1 if last else 4):
            if last or quarter == 0 or chance.random() < 0.7:
                step = max(0, min(len(piece.scale) - 1, step + chance.choice((-2, -1, -1, 0, 1, 1, 2))))
                key = 12 + (chord[0] if last else piece.scale[step])
                _mix(
                    near, _note(piece.voice, piece.root + key, *_MELODY), at + quarter * beat + (chance.random() < 0.2) * beat / 2
                )
    for channel in (near, far):
        _echo(channel)
    return _stereo(near, far)


@lru_cache(maxsize=64)
def _note(voice: str, key: int, seconds: float, loudness: float) -> array[int]:
    """One note, made once for all pieces of a voice that come one after the other."""
    return _VOICES[voice](440 * 2 ** ((key - 69) / 12), int(seconds * RATE), loudness * 9_000)


def _string(frequency: float, length: int, loudness: float) -> array[int]:
    """A plucked string after Karplus and Strong (1983): noise in a delay line that is smoothed each time round."""
    chance = random.Random(round(frequency))  # noqa: S311
    line = [chance.uniform(-1, 1) for _ in range(max(2, round(RATE / frequency)))]
    for _ in range(2):  # a softer pluck
        line = [(a + b) / 2 for a, b in zip(line, line[1:] + line[:1], strict=True)]
    samples: list[float] = []
    while len(samples) < length:
        samples += line
        line = [0.498 * (a + b) for a, b in zip(line, line[1:] + line[:1], strict=True)]
    return _shaped(samples[:length], loudness * 1.6, attack=0.002)


def _bell(frequency: float, length: int, loudness: float) -> array[int]:
    """Two sines, one bending the other (frequency modulation): an electric piano."""
    turn = 2 * math.pi * frequency / RATE
    fade = [math.exp(-3.2 * index / length) for index in range(length)]
    return _shaped(
        [math.sin(turn * index + 1.4 * level * level * math.sin(2 * turn * index)) * level for index, level in enumerate(fade)],
        loudness,
        attack=0.004,
    )


def _pad(frequency: float, length: int, loudness: float) -> array[int]:
    """Three soft partials that come and go slowly."""
    turn = 2 * math.pi * frequency / RATE
    return _shaped(
        [
            (math.sin(turn * index) + 0.4 * math.sin(2.003 * turn * index) + 0.2 * math.sin(2.997 * turn * index))
            * math.sin(math.pi * index / length)
            for index in range(length)
        ],
        loudness * 0.9,
        attack=0.08,
    )


_VOICES: dict[str, Callable[[float, int, float], array[int]]] = {"string": _string, "bell": _bell, "pad": _pad}


def _shaped(samples: Sequence[float], loudness: float, *, attack: float) -> array[int]:
    """As integers, without clicks at either end."""
    rise, fall = int(attack * RATE) or 1, RATE // 20
    end = len(samples)
    shape = [loudness] * end
    shape[:rise] = [loudness * at / rise for at in range(rise)]
    shape[-fall:] = [loudness * at / fall for at in range(fall, 0, -1)]
    return array("i", map(int, map(mul, samples, shape)))


def _mix(channel: array[int], note: array[int], seconds: float) -> None:
    start = int(seconds * RATE)
    note = note[: len(channel) - start]
    channel[start : start + len(note)] = array("i", map(add, channel[start : start + len(note)], note))


def _echo(channel: array[int]) -> None:
    delay = int(_ECHO_SECONDS * RATE)
    late = map(floordiv, channel[:-delay], repeat(_ECHO_SHARE))
    channel[delay:] = array("i", map(add, channel[delay:], late))


def _stereo(near: array[int], far: array[int]) -> bytes:
    """Melody a little left, chords a little right; as loud as it may be."""
    both = array("i", bytes(8 * len(near)))
    both[0::2] = array("i", map(add, near, map(floordiv, far, repeat(2))))
    both[1::2] = array("i", map(add, far, map(floordiv, near, repeat(2))))
    peak = max(max(both), -min(both), 1)
    both = array("h", map(floordiv, map(mul, both, repeat(_LOUDEST)), repeat(peak)))
    if sys.byteorder == "big":
        both.byteswap()
    return both.tobytes()


def tagged_wave(samples: bytes, tags: dict[str, str]) -> bytes:
    """A WAV file of `render`'s samples with an ID3v2.4 chunk of text frames (`TIT2`, `TALB`, …)."""
    frames = b"".join(_frame(name, text) for name, text in tags.items())
    id3 = b"ID3\4\0\0" + _syncsafe(len(frames)) + frames
    form = struct.pack("<HHIIHH", 1, 2, RATE, 4 * RATE, 4, 16)
    chunks = _chunk(b"fmt ", form) + _chunk(b"id3 ", id3) + _chunk(b"data", samples)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def _frame(name: str, text: str) -> bytes:
    data = b"\3" + text.encode()  # 3: UTF-8
    return name.encode() + _syncsafe(len(data)) + b"\0\0" + data


def _syncsafe(size: int) -> bytes:
    """Seven bits a byte (ID3v2.4, 6.2)."""
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
