"""Damaged and hostile files: an error that names the file, within bounds of memory."""

import os
import struct
import subprocess
import zlib

import numpy as np
import pytest

from conftest import READ_IMAGE

SMALL = (np.indices((9, 11)).sum(0) * 12).astype(np.uint8)
TALL = (np.indices((40, 11)).sum(0) * 5).astype(np.uint8)


@pytest.mark.parametrize("image", [SMALL, TALL], ids=["small", "tall"])
@pytest.mark.parametrize("name,options", [
    ("cut.jpg", {}), ("progressive.jpg", {"progressive": True}), ("cut.png", {}), ("cut.gif", {}),
    ("cut.bmp", {}), ("cut.tiff", {}), ("lzw.tiff", {"compression": "tiff_lzw"}), ("cut.webp", {}),
    ("cut.pgm", {})])
def test_a_file_cut_anywhere_is_an_error_or_lacks_nothing(reader, image, name, options):
    reader.save(name, image, **options)
    done = subprocess.run([READ_IMAGE, "prefixes", reader.path(name)], capture_output=True,
                          timeout=300, check=True)
    assert done.stderr == b""
    readable, with_other_pixels = map(int, done.stdout.split())
    assert with_other_pixels == 0
    # After its last pixel PNG has a chunk of 12 bytes, GIF one byte, and TIFF's LZW an end mark.
    assert readable <= {"cut.png": 12, "cut.gif": 1, "lzw.tiff": 4}.get(name, 0)


@pytest.mark.parametrize("suffix,left", [("png", 0.5), ("png", 0.9), ("jpg", 0.5), ("jpg", 0.9)])
def test_a_file_cut_below_what_a_crop_shows_is_an_error(reader, suffix, left):
    reader.save(f"whole.{suffix}", np.random.default_rng(1).integers(0, 256, (300, 40, 3), np.uint8))
    with open(reader.path(f"whole.{suffix}"), "rb") as file:
        content = file.read()
    reader.write(f"cut.{suffix}", content[:int(left * len(content))])
    for size in (40, 32):
        pixels, message = reader.read(f"cut.{suffix}", 3, size, size, "crop")
        assert pixels is None and f"cut.{suffix}" in message


def png(w, h, depth=8, colour=2, interlaced=0, rows=b""):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, interlaced)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows)
            + chunk(b"IEND", b""))


def gif(w, h):
    return (b"GIF89a" + struct.pack("<HH", w, h) + b"\x80\0\0" + b"\0\0\0\xff\xff\xff" + b","
            + struct.pack("<HHHH", 0, 0, w, h) + b"\0\x02\x02\x4c\x01\0;")


def bmp(w, h):
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 58, 0, 0, 54, 40, w, h, 1, 24, 0, 0, 0, 0, 0,
                               0) + b"\0" * 4


def tiff(w, h):
    tags = [(256, 4, 1, w), (257, 4, 1, h), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
            (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, h), (279, 4, 1, 4)]
    return (b"II*\0" + struct.pack("<IH", 8, len(tags))
            + b"".join(struct.pack("<HHII", *tag) for tag in tags) + b"\0\0\0\0")


def jpeg(w, h):
    return (b"\xff\xd8\xff\xc0\0\x11\x08" + struct.pack(">HH", h, w)
            + b"\3\1\x22\0\2\x11\1\3\x11\1\xff\xd9")


hostile = {
    "zero.png": (png(0, 10), "is damaged, cut short or no PNG"),
    "zero.ppm": (b"P6 0 7 255\n", "has 7x0 pixels"),
    "zero.bmp": (bmp(0, 0), "is damaged, cut short or no BMP"),
    "zero.tiff": (tiff(0, 0), "is damaged, cut short or no TIFF"),
    "zero.jpg": (jpeg(0, 0), "is damaged, cut short or no JPEG"),
    "wide.png": (png(65535, 1, rows=zlib.compress(bytes(65535 * 3 + 1))),
                 "has 1x65535 pixels; a side may have 32768"),
    "wide.jpg": (jpeg(65535, 65535), "is damaged, cut short or no JPEG"),
    "wide.gif": (gif(65535, 65535), "has 65535x65535 pixels; a side may have 32768"),
    "wide.bmp": (bmp(65535, 65535), "is damaged, cut short or no BMP"),
    "wide.tiff": (tiff(65535, 65535), "has 65535x65535 pixels; a side may have 32768"),
    "large.png": (png(30000, 30000), "has 30000x30000 pixels; an image may have 134217728"),
    "huge.png": (png(2**31 - 1, 2**31 - 1), "is damaged, cut short or no PNG"),
    "huge.tiff": (tiff(2**32 - 1, 2**32 - 1), "is damaged, cut short or no TIFF"),
    "huge.ppm": (b"P6 99999999999 1 255\n",
                 "its header lacks width, height or the largest value"),
    "large.ppm": (b"P6 30000 30000 255\n123",
                  "is cut short: it has 22 bytes for 2700000000 samples"),
    "white.pgm": (b"P5 1 1 70000\n\0\0", "its largest value is 70000; it may be 1 to 65535"),
    "black.pgm": (b"P5 1 1 0\n\0", "its largest value is 0; it may be 1 to 65535"),
    "above.pgm": (b"P2 1 1 9\n10\n", "sample 0 is 10; the largest value is 9"),
    "letters.pgm": (b"P2 2 1 9\n1 x\n", "is damaged or cut short: it has 1 of 2 samples"),
    "part.tiff": (tiff(9000, 9000), "is damaged, cut short or no TIFF"),
    "empty.jpg": (b"", "is empty"),
    "start.jpg": (b"\xff\xd8\xff", "is damaged, cut short or no JPEG"),
    "notes.txt": (b"not an image", "is no image: neither JPEG, PNG, WebP, BMP, TIFF, GIF, PGM nor "
                                   "PPM"),
    "photo.heic": (b"\0\0\0\x18ftypheic\0\0\0\0", "is HEIC, which is not read here: convert it"),
    "photo.jpg": (b"\0\0\0\x18ftypmif1\0\0\0\0", "is HEIF, which is not read here: convert it"),
    "photo.avif": (b"\0\0\0\x20ftypavif", "is AVIF, which is not read here: convert it"),
    "short.heic": (b"\0\0\0\x18ftyphei", "is no image: neither JPEG"),
    "clip.mp4": (b"\0\0\0\x18ftypisom\0\0\0\0", "is no image: neither JPEG"),
    "page.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is no image: neither JPEG"),
}


@pytest.mark.parametrize("name", hostile)
def test_a_hostile_file_is_an_error_that_names_it(reader, name):
    content, message = hostile[name]
    reader.write(name, content)
    assert reader.error(name).startswith(message)


def test_a_bomb_within_the_limits_stays_within_the_memory(reader):
    """A PNG of a hundred kilobytes, 11,585 x 11,585 in 8 bits, row by row."""
    side = 11585
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + 3 * side)) for _ in range(side)) + packer.flush()
    reader.write("bomb.png", png(side, side, rows=rows))
    pixels, facts = reader.read("bomb.png", 3, 32, 32, "crop")
    assert facts == (side, side, 3) and (pixels == 0).all()


def test_floating_point_is_refused(reader):
    reader.save("float.tiff", SMALL.astype(np.float32))
    assert reader.error("float.tiff") == "its samples are no whole numbers of at most 16 bits"


def test_damaged_bytes_are_an_error_or_an_image(reader):
    """Never a crash, and (at the end) never a word beside."""
    rng = np.random.default_rng(5)
    for suffix in ("jpg", "png", "gif", "bmp", "tiff", "webp", "pgm"):
        reader.save(f"sound.{suffix}", SMALL)
        sound = open(reader.path(f"sound.{suffix}"), "rb").read()
        for i in range(20):
            damaged = bytearray(sound)
            for _ in range(1 + i % 4):
                damaged[rng.integers(4, len(sound))] = rng.integers(256)
            reader.write(f"damaged.{suffix}", bytes(damaged))
            reader.read(f"damaged.{suffix}", 3, 8, 8, "crop")


# --- what is no readable file ---

def test_folders_pipes_and_missing_files_are_errors(reader):
    os.mkdir(reader.path("folder.jpg"))
    os.mkfifo(reader.path("pipe.jpg"))
    os.symlink("nowhere", reader.path("link.jpg"))
    assert reader.error("folder.jpg") == "is a folder, not an image file"
    assert reader.error("pipe.jpg") == "is a pipe or a device, not an image file"
    assert reader.error("link.jpg") == "No such file or directory"
    assert reader.error("missing.jpg") == "No such file or directory"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_an_error(reader):
    reader.save("secret.png", SMALL)
    os.chmod(reader.path("secret.png"), 0)
    assert reader.error("secret.png") == "Permission denied"


def test_a_file_beyond_the_limit_is_an_error(reader):
    reader.write("large.jpg", b"\xff\xd8\xff")
    os.truncate(reader.path("large.jpg"), 2**29 + 1)
    assert reader.error("large.jpg") == "has 536870913 bytes; an image file may have 536870912"
