"""Facts read from the first bytes of a picture file, without a decoder and without allocating pixels.

Pillow reads the size of a JPEG, PNG, BMP or TIFF from its header alone, but its GIF and WebP readers allocate
the whole canvas while they open the file. For these two the size is read here first, so that a decompression
bomb is refused before anything is allocated.
"""

from __future__ import annotations

import re
import struct

# Magic numbers: JPEG T.81 B.1.1.3 (SOI and the next marker), PNG 1.2 section 3.1, GIF89a section 17,
# BMP `BITMAPFILEHEADER`, TIFF 6.0 section 2 and BigTIFF (43).
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
)
_ORIENTATION_TAG = 0x0112
# T.81 table B.1: a marker that ends entropy-coded data. RST and TEM have no length and end nothing; 0x02 to 0xBF are
# reserved, and libjpeg passes over them as if they were data.
_JPEG_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
_JPEG_SCAN = 0xDA
_JPEG_ENDS = (0xD8, 0xD9)  # end of image; a second start, at which libjpeg gives up
_MAX_JPEG_SEGMENTS = 10_000  # 65 kB of EXIF, ICC or comment each; a photo has some tens
_MAX_TIFF_FRAMES = 10_000  # a chain of directories is a linked list in hostile data: bound the walk


def sniff(data: bytes) -> str | None:
    """Return the format of a file by its magic number, or None when it is none of the six we decode.

    Example:
        >>> sniff(b"GIF89a....")
        'GIF'
        >>> sniff(b"<html>") is None
        True
    """
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return None


def jpeg_scans(data: bytes, most: int) -> int:
    """Count the scans of a JPEG by walking its marker segments as libjpeg does (T.81 B.1.1).

    Bytes of a comment or of entropy-coded data that look like a scan's header are none.

    Args:
        data: The whole file.
        most: The count ends at `most + 1`, so that a hostile file is not walked to its end.

    Returns:
        From 0 to `most + 1`.

    Raises:
        ValueError: it has more than 10,000 segments.
    """
    at, scans = 2, 0
    for _ in range(_MAX_JPEG_SEGMENTS):
        found = _JPEG_MARKER.search(data, at)
        if found is None:
            return scans
        marker = data[found.end() - 1]
        if marker in _JPEG_ENDS:
            return scans
        scans += marker == _JPEG_SCAN
        if scans > most:
            return scans
        at = found.end() + max(2, int.from_bytes(data[found.end() : found.end() + 2], "big"))
    raise ValueError(f"JPEG has more than {_MAX_JPEG_SEGMENTS} segments")


def gif_canvas(data: bytes) -> tuple[int, int, int]:
    """Return (width, height, frames) of a GIF by walking its blocks.

    The canvas is the logical screen, enlarged to hold the first frame where that sticks out, as Pillow does.
    A file cut inside a frame counts that frame.

    Raises:
        ValueError: the file is cut before its first frame.
    """
    if len(data) < 13:
        raise ValueError("GIF logical screen is cut")
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
    frames = 0
    while at < len(data):
        block = data[at]
        if block == 0x21:  # extension: label byte, then sub-blocks
            at = _after_sub_blocks(data, at + 2)
        elif block == 0x2C and at + 10 <= len(data):
            left, top, frame_width, frame_height, flags = struct.unpack_from("<HHHHB", data, at + 1)
            if not frames:
                width, height = max(width, left + frame_width), max(height, top + frame_height)
            frames += 1
            at += 10 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
            at = _after_sub_blocks(data, at + 1)  # one byte of LZW code size
        elif block == 0:  # padding between blocks, seen in the wild
            at += 1
        else:  # the trailer 0x3B, or junk, ends the file
            break
    if not frames:
        raise ValueError("GIF has no frame")
    return width, height, frames


def _after_sub_blocks(data: bytes, at: int) -> int:
    """Return the offset behind a chain of length-prefixed sub-blocks that starts at `at`."""
    while at < len(data) and data[at]:
        at += data[at] + 1
    return at + 1


def webp_canvas(data: bytes) -> tuple[int, int, int]:
    """Return (width, height, frames) of a WebP from its first chunk (RFC 9649, sections 2.5 to 2.7).

    Raises:
        ValueError: the header is cut or its first chunk is none of VP8, VP8L and VP8X.
    """
    kind = data[12:16]
    if len(data) < 30:
        raise ValueError("WebP header is cut")
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        return width, height, max(1, _webp_frames(data))
    if kind == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, 1
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF, 1
    raise ValueError(f"WebP starts with an unknown chunk {kind!r}")


def _webp_frames(data: bytes) -> int:
    """Count the ANMF chunks of an extended WebP."""
    at, frames = 12, 0
    while at + 8 <= len(data):
        frames += data[at : at + 4] == b"ANMF"
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + (size & 1)
    return frames


def tiff_frames(data: bytes) -> int:
    """Count the image directories of a TIFF or BigTIFF; cut, cyclic or endless chains end the count."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\x00", b"\x00+")
    offset_code, count_code, entry_bytes = ("Q", "Q", 20) if big else ("I", "H", 12)
    seen: set[int] = set()
    try:
        (at,) = struct.unpack_from(order + offset_code, data, 8 if big else 4)
        while at and at not in seen and len(seen) < _MAX_TIFF_FRAMES:
            (entries,) = struct.unpack_from(order + count_code, data, at)
            seen.add(at)
            at += struct.calcsize(order + count_code) + entries * entry_bytes
            (at,) = struct.unpack_from(order + offset_code, data, at)
    except (struct.error, OverflowError):
        pass  # a cut chain has the directories counted so far
    return max(1, len(seen))


def exif_orientation(exif: bytes) -> int:
    """Return the EXIF orientation, 1 to 8; 1 (upright) when the tag is absent, damaged or out of range.

    Read by hand because Pillow's `getexif` emits warnings on damaged blocks and parses every tag (EXIF 2.32
    section 4.6.2: a TIFF header, then directory 0 of 12-byte entries).
    """
    body = exif[6:] if exif.startswith(b"Exif\x00\x00") else exif
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(bytes(body[:4]))
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(order + "I", body, 4)
        (entries,) = struct.unpack_from(order + "H", body, at)
        for entry in range(entries):
            tag, kind, count = struct.unpack_from(order + "HHI", body, at + 2 + 12 * entry)
            if tag == _ORIENTATION_TAG and count == 1 and kind in (3, 4):
                (value,) = struct.unpack_from(order + ("H" if kind == 3 else "I"), body, at + 10 + 12 * entry)
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1


def looks_cut(data: bytes, file_format: str) -> bool:
    """Say whether a file that failed to decode ends before its format's own end mark or declared length.

    Only asked after a failure: many decodable files carry trailing bytes or a wrong length. TIFF declares no
    length, so a TIFF is judged by its decoder's message alone.
    """
    if file_format == "JPEG":
        return b"\xff\xd9" not in data[-1024:]
    if file_format == "PNG":
        return b"IEND" not in data[-1024:]
    if file_format == "GIF":
        return not data.rstrip(b"\x00").endswith(b";")
    if file_format == "WEBP":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if file_format == "BMP":
        return int.from_bytes(data[2:6], "little") > len(data)
    return False
