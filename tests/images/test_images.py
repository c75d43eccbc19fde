"""image_read() on files of every format, orientation, depth and colour model."""

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

H, W = 24, 32


def ramps():
    y, x = np.mgrid[0:H, 0:W]
    return np.stack([x * 8, y * 10, (x + y) * 4], -1).astype(np.uint8)


def luma(rgb):
    """ITU-R BT.601, rounded."""
    return (rgb.astype(int) @ [299, 587, 114] + 500) // 1000


RGB = ramps()
GREY = luma(RGB).astype(np.uint8)
AS_RGB = np.repeat(GREY[..., None], 3, -1)


def netpbm(magic, white, samples):
    dtype = ">u2" if white > 255 else "u1"
    return b"%s # by hand\n%d %d\n%d\n" % (magic, W, H, white) + samples.astype(dtype).tobytes()


def plain(magic, samples):
    return magic + b"\n32 24 255\n" + b"\n".join(b"%d" % s for s in samples.ravel()) + b"\n"


# name: what Pillow saves, options, what it shows, and how far off a lossy one may be
LOSSLESS, JPEG = 0, 6
saved = {
    "rgb.png": (RGB, {}, RGB, LOSSLESS),
    "rgb.bmp": (RGB, {}, RGB, LOSSLESS),
    "rgb.tiff": (RGB, {}, RGB, LOSSLESS),
    "lzw.tiff": (RGB, {"compression": "tiff_lzw"}, RGB, LOSSLESS),
    "deflate.tiff": (RGB, {"compression": "tiff_adobe_deflate"}, RGB, LOSSLESS),
    "rgb.webp": (RGB, {"lossless": True}, RGB, LOSSLESS),
    "rgb.ppm": (RGB, {}, RGB, LOSSLESS),
    "rgb.jpg": (RGB, {"quality": 98, "subsampling": 0}, RGB, JPEG),
    "progressive.jpg": (RGB, {"quality": 98, "subsampling": 0, "progressive": True}, RGB, JPEG),
    "grey.png": (GREY, {}, AS_RGB, LOSSLESS),
    "grey.bmp": (GREY, {}, AS_RGB, LOSSLESS),
    "grey.tiff": (GREY, {}, AS_RGB, LOSSLESS),
    "grey.gif": (GREY, {}, AS_RGB, LOSSLESS),
    "grey.pgm": (GREY, {}, AS_RGB, LOSSLESS),
    "grey.jpg": (GREY, {"quality": 98}, AS_RGB, JPEG),
    "grey16.png": (GREY.astype(np.uint16) * 257, {}, AS_RGB, LOSSLESS),
    "grey16.tiff": (GREY.astype(np.uint16) * 257, {}, AS_RGB, LOSSLESS),
}
written = {
    "raw16.ppm": (netpbm(b"P6", 65535, RGB.astype(int) * 257), RGB),
    "raw12.pgm": (netpbm(b"P5", 4095, (GREY.astype(int) * 4095 + 127) // 255), AS_RGB),
    "plain.pgm": (plain(b"P2", GREY), AS_RGB),
    "plain.ppm": (plain(b"P3", RGB), RGB),
}


@pytest.mark.parametrize("name", saved)
def test_a_saved_image_comes_out_as_it_is(reader, name):
    array, options, shown, off = saved[name]
    reader.save(name, array, **options)
    assert abs(reader.pixels(name, 3, H, W) - shown).max() <= off
    assert abs(reader.pixels(name, 1, H, W)[..., 0] - luma(shown)).max() <= off
    assert reader.facts(name)[:2] == (H, W)


@pytest.mark.parametrize("name", written)
def test_a_written_image_comes_out_as_it_is(reader, name):
    content, shown = written[name]
    reader.write(name, content)
    assert (reader.pixels(name, 3, H, W) == shown).all()


def test_largest_values_below_255_are_white(reader):
    reader.write("white.pgm", netpbm(b"P5", 100, np.full((H, W), 100)))
    assert (reader.pixels("white.pgm", 1, H, W) == 255).all()


@pytest.mark.parametrize("name", ["palette.png", "palette.bmp", "palette.gif"])
def test_palettes_are_looked_up(reader, name):
    image = Image.fromarray(RGB).quantize(200)
    image.save(reader.path(name).decode())
    assert (reader.pixels(name, 3, H, W) == np.asarray(image.convert("RGB"))).all()


@pytest.mark.parametrize("name", ["bits.png", "bits.bmp", "bits.tiff"])
def test_bits_are_black_and_white(reader, name):
    bits = GREY > 100
    Image.fromarray(bits).save(reader.path(name).decode())
    assert (reader.pixels(name, 1, H, W)[..., 0] == 255 * bits).all()


@pytest.mark.parametrize("name,options", [("alpha.png", {}), ("alpha.tiff", {}),
                                          ("alpha.webp", {"lossless": True, "exact": True})])
def test_what_is_transparent_lies_over_white(reader, name, options):
    alpha = np.linspace(0, 255, H * W).reshape(H, W).astype(np.uint8)
    reader.save(name, np.dstack([RGB, alpha]), **options)
    share = alpha[..., None] / 255
    # flattening may round down
    assert abs(reader.pixels(name, 3, H, W) - (RGB * share + 255 * (1 - share))).max() <= 1
    assert reader.facts(name) == (H, W, 4)


def deep_png(colour, samples, extra=b""):
    """A PNG of 16 bits, which Pillow does not save with alpha; samples [H, W, bands]."""
    def chunk(kind, data):
        return (struct.pack(">I", len(data)) + kind + data
                + struct.pack(">I", zlib.crc32(kind + data)))
    rows = b"".join(b"\0" + row.tobytes() for row in samples.astype(">u2"))
    header = struct.pack(">IIBBBBB", W, H, 16, colour, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


@pytest.mark.parametrize("colour,shown", [(4, AS_RGB), (6, RGB)], ids=["grey", "rgb"])
def test_deep_images_with_alpha_lie_over_white(reader, colour, shown):
    alpha = np.linspace(0, 65535, H * W).reshape(H, W, 1).astype(int)
    bands = shown[..., :1] if colour == 4 else shown
    reader.write("deep.png", deep_png(colour, np.dstack([bands.astype(int) * 257, alpha])))
    share = alpha / 65535
    # 8 bits of alpha are off by 1/510 of the way to white, and flattening may round down
    assert abs(reader.pixels("deep.png", 3, H, W) - (shown * share + 255 * (1 - share))).max() <= 2


def test_one_colour_of_a_deep_image_can_be_transparent(reader):
    clear = RGB[3, 3].astype(int) * 257
    content = deep_png(2, RGB.astype(int) * 257,
                       b"\0\0\0\6tRNS" + struct.pack(">HHH", *clear)
                       + struct.pack(">I", zlib.crc32(b"tRNS" + struct.pack(">HHH", *clear))))
    reader.write("clear.png", content)
    expected = np.where((RGB == RGB[3, 3]).all(-1)[..., None], 255, RGB)
    assert (reader.pixels("clear.png", 3, H, W) == expected).all()


def test_grey_with_alpha_lies_over_white(reader):
    Image.merge("LA", [Image.fromarray(GREY), Image.new("L", (W, H), 0)]).save(
        reader.path("la.png").decode())
    assert (reader.pixels("la.png", 3, H, W) == 255).all()


@pytest.mark.parametrize("name", ["cmyk.jpg", "cmyk.tiff"])
def test_cmyk_is_converted(reader, name):
    """Which profile is meant decides the exact colours: white, black and the ends of the hues."""
    inks = np.zeros((H, 4 * W, 4), np.uint8)  # white, cyan, yellow, all of them
    inks[:, W:2 * W, 0] = inks[:, 2 * W:3 * W, 2] = 255
    inks[:, 3 * W:] = 255
    Image.fromarray(inks, "CMYK").save(reader.path(name).decode())
    white, cyan, yellow, black = (
        reader.pixels(name, 3, H, 4 * W)[H // 2, W // 2 + i * W] for i in range(4))
    assert white.min() > 245 and black.max() < 60
    assert cyan[0] < 90 and cyan[2] > 180
    assert yellow[2] < 90 and yellow[:2].min() > 180


# --- TIFF's colours and further samples ---

@pytest.mark.parametrize("mode,number", [("YCbCr", 6), ("LAB", 8)])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_a_tiff_of_other_colours_is_refused(reader, mode, number, compression):
    image = Image.fromarray(RGB).convert("YCbCr")
    image = image if mode == "YCbCr" else Image.frombytes("LAB", (W, H), image.tobytes())
    image.save(reader.path("other.tiff").decode(), compression=compression)
    name = {"LAB": "CIELab"}.get(mode, mode)
    assert reader.error("other.tiff") == (
        f"its photometric interpretation is {number} ({name}); a TIFF may be grey, RGB, CMYK, of a "
        "palette, or YCbCr compressed as JPEG")


def test_a_tiff_of_ycbcr_in_jpeg_comes_out_as_it_is(reader):
    Image.fromarray(RGB).convert("YCbCr").save(reader.path("jpeg.tiff").decode(),
                                               compression="jpeg", quality=98)
    assert abs(reader.pixels("jpeg.tiff", 3, H, W) - RGB).max() <= JPEG


def tiff(order, wide, samples, extra):
    """Of 8 bits, RGB and further samples [H, W, bands], with tag 338 unless `extra` is None; `order`
    is struct's, a `wide` one has offsets of 8 bytes."""
    bands = samples.shape[2]
    tags = {256: (4, W), 257: (4, H), 258: (3, 0), 259: (3, 1), 262: (3, 2), 273: (4, 0),
            277: (3, bands), 278: (4, H), 279: (4, samples.size)}
    if extra is not None:
        tags[338] = (3, extra)
    inner = "Q" if wide else "I"
    start = 16 if wide else 8
    end = start + struct.calcsize(order + ("Q" if wide else "H") + inner) \
        + len(tags) * struct.calcsize(order + "HH" + 2 * inner)
    header = (b"II" if order == "<" else b"MM") + (
        struct.pack(order + "HHHQ", 43, 8, 0, start) if wide else struct.pack(order + "HI", 42, start))
    fields = b""
    for tag, (kind, value) in tags.items():
        count = bands if tag == 258 else 1
        content = struct.pack(order + ("H" if kind == 3 else "I"), value)
        if tag == 273:
            content = struct.pack(order + "I", end + 2 * bands)
        if tag == 258:
            bits = struct.pack(order + f"{bands}H", *[8] * bands)
            content = bits if wide and bands <= 4 else struct.pack(order + inner, end)
        fields += struct.pack(order + "HH" + inner, tag, kind, count)
        fields += content.ljust(struct.calcsize(inner), b"\0")
    return (header + struct.pack(order + ("Q" if wide else "H"), len(tags)) + fields
            + bytes(struct.calcsize(inner)) + struct.pack(order + f"{bands}H", *[8] * bands)
            + samples.tobytes())


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("wide", [False, True])
def test_a_further_sample_of_a_tiff_is_alpha_unless_it_says_that_it_is_unspecified(
        reader, order, wide):
    further = np.linspace(0, 255, H * W).reshape(H, W).astype(np.uint8)
    samples = np.dstack([RGB, further])
    share = further[..., None] / 255
    reader.write("alpha.tiff", tiff(order, wide, samples, 2))
    reader.write("unspecified.tiff", tiff(order, wide, samples, 0))
    assert abs(reader.pixels("alpha.tiff", 3, H, W)
               - (RGB * share + 255 * (1 - share))).max() <= 1  # flattening may round down
    assert (reader.pixels("unspecified.tiff", 3, H, W) == RGB).all()
    assert reader.facts("alpha.tiff") == (H, W, 4)
    assert reader.facts("unspecified.tiff") == (H, W, 3)


# --- frames ---

@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("left,top", [(0, 0), (5, 0), (0, 7), (5, 7)])
def test_what_the_first_frame_of_a_gif_leaves_free_is_white(reader, left, top, transparent):
    image = Image.fromarray(RGB).quantize(200)
    shown = np.full((H + 7, W + 5, 3), 255)
    shown[top:top + H, left:left + W] = np.asarray(image.convert("RGB"))
    options = {"comment": b"before the frame"}
    if transparent:
        options["transparency"] = clear = image.getpixel((3, 3))
        shown[top:top + H, left:left + W][np.asarray(image) == clear] = 255
    image.save(reader.path("frame.gif").decode(), **options)
    content = bytearray(open(reader.path("frame.gif"), "rb").read())
    frame = content.index(b"," + struct.pack("<HHHH", 0, 0, W, H))
    content[6:10] = struct.pack("<HH", W + 5, H + 7)
    content[frame + 1:frame + 5] = struct.pack("<HH", left, top)
    reader.write("frame.gif", content)
    assert reader.facts("frame.gif")[:2] == (H + 7, W + 5)
    assert (reader.pixels("frame.gif", 3, H + 7, W + 5) == shown).all()


def turned(array, orientation):
    """`array` as a viewer shows it: EXIF 2.32, tag 0x112."""
    return {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
        8: lambda a: np.rot90(a),
    }[orientation](array)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "webp"])
def test_images_are_turned_as_exif_says(reader, suffix, orientation):
    noise = np.random.default_rng(1).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x112] = orientation
    options = {"tiff": {"tiffinfo": {0x112: orientation}}, "png": {"exif": exif},
               "jpg": {"exif": exif}, "webp": {"exif": exif, "lossless": True}}[suffix]
    reader.save(f"stored.{suffix}", noise, **options)
    # What a lossy file holds is what is read from it without its tag.
    reader.save(f"untagged.{suffix}", noise, **({"lossless": True} if suffix == "webp" else {}))
    shown = turned(reader.pixels(f"untagged.{suffix}", 3, 60, 90), orientation)
    reader.save("turned.png", shown.astype(np.uint8))
    assert reader.facts(f"stored.{suffix}") == (*shown.shape[:2], 3)
    assert (reader.pixels(f"stored.{suffix}", 3, *shown.shape[:2]) == shown).all()
    for h, w, fit in [(17, 19, "crop"), (32, 24, "pad"), (20, 20, "stretch"), (200, 150, "crop")]:
        stored = reader.pixels(f"stored.{suffix}", 3, h, w, fit)
        # The sums go the other way.
        assert abs(stored - reader.pixels("turned.png", 3, h, w, fit)).max() <= 1


def test_the_first_frame_or_page_counts(reader):
    frames = [Image.fromarray(np.full((H, W), v, np.uint8)) for v in (10, 200)]
    for name in ("frames.gif", "frames.webp", "pages.tiff"):
        options = {"lossless": True} if name.endswith("webp") else {}
        frames[0].save(reader.path(name).decode(), save_all=True, append_images=frames[1:],
                       **options)
        assert (reader.pixels(name, 1, H, W) == 10).all()
        assert reader.facts(name)[:2] == (H, W)


# --- one and three components ---

@pytest.mark.parametrize("suffix,options", [("png", {}), ("jpg", {"quality": 85})])
@pytest.mark.parametrize("c,h,w,fit", [(1, 16, 16, "crop"), (3, 16, 16, "crop"), (3, 50, 64, "pad"),
                                       (1, 9, 40, "stretch")])
def test_grey_comes_out_alike_as_one_component_and_as_three(reader, suffix, options, c, h, w, fit):
    grey = np.random.default_rng(2).integers(0, 256, (40, 50), dtype=np.uint8)
    reader.save(f"one.{suffix}", grey, **options)
    reader.save(f"three.{suffix}", np.repeat(grey[..., None], 3, -1), **options)
    assert reader.facts(f"one.{suffix}")[2] == 1 and reader.facts(f"three.{suffix}")[2] == 3
    assert (reader.pixels(f"one.{suffix}", c, h, w, fit)
            == reader.pixels(f"three.{suffix}", c, h, w, fit)).all()


# --- sizes ---

def smooth(h, w):
    y, x = np.mgrid[0:h, 0:w] / max(h, w)
    return (127.5 + 60 * np.sin(7 * x + 2) + 60 * np.cos(5 * y + 3 * x)).astype(np.uint8)


@pytest.mark.parametrize("c", [1, 3])
@pytest.mark.parametrize("h,w", [(20, 30), (33, 17), (60, 90), (7, 5), (1, 1), (59, 2), (1, 89)])
def test_stretching_down_agrees_with_pillows_lanczos(reader, c, h, w):
    noise = np.random.default_rng(3).integers(60, 190, (60, 90, 3), dtype=np.uint8)
    noise = noise if c == 3 else noise[..., 0]
    reader.save("noise.png", noise)
    expected = np.asarray(Image.fromarray(noise).resize((w, h), Image.LANCZOS)).reshape(h, w, c)
    # Pillow rounds after each of two passes.
    assert abs(reader.pixels("noise.png", c, h, w, "stretch") - expected.astype(int)).max() <= 1


@pytest.mark.parametrize("h,w", [(61, 91), (120, 180), (97, 100), (60, 900), (700, 91)])
def test_stretching_up_agrees_with_pillows_bicubic(reader, h, w):
    noise = np.random.default_rng(3).integers(60, 190, (60, 90), dtype=np.uint8)
    reader.save("noise.png", noise)
    expected = np.asarray(Image.fromarray(noise).resize((w, h), Image.BICUBIC)).astype(int)
    assert abs(reader.pixels("noise.png", 1, h, w, "stretch")[..., 0] - expected).max() <= 1


@pytest.mark.parametrize("h,w", [(60, 30), (30, 90), (60, 91), (61, 90)])
def test_an_axis_of_the_same_size_stays_as_it_is(reader, h, w):
    noise = np.random.default_rng(4).integers(0, 256, (60, 90), dtype=np.uint8)
    reader.save("noise.png", noise)
    filter = Image.BICUBIC if h > 60 or w > 90 else Image.LANCZOS
    expected = np.asarray(Image.fromarray(noise).resize((w, h), filter)).astype(int)
    assert abs(reader.pixels("noise.png", 1, h, w, "stretch")[..., 0] - expected).max() <= 1


def test_crop_keeps_the_middle_and_the_aspect_ratio(reader):
    image = np.zeros((100, 300), np.uint8)
    image[:, 100:200] = 255
    reader.save("wide.png", image)
    reader.save("high.png", image.T)
    for name in ("wide.png", "high.png"):
        assert reader.pixels(name, 1, 50, 50)[2:-2, 2:-2].min() > 240
        assert reader.pixels(name, 1, 100, 100).min() == 255


def test_pad_shows_all_of_it_on_black(reader):
    reader.save("wide.png", np.full((100, 300), 200, np.uint8))
    pixels = reader.pixels("wide.png", 1, 60, 60, "pad")[..., 0]
    assert (pixels[20:40] == 200).all()
    assert (pixels[:20] == 0).all() and (pixels[40:] == 0).all()


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("h,w", [(1, 1), (1, 32768), (32768, 1), (3, 20000)])
def test_extreme_shapes_come_out(reader, h, w, fit):
    reader.save("line.png", np.full((h, w), 90, np.uint8))
    pixels = reader.pixels("line.png", 3, 64, 48, fit)
    assert pixels.max() == 90 and (fit == "pad" or pixels.min() == 90)


def test_large_jpegs_are_shrunk_well(reader):
    reader.save("large.jpg", smooth(1600, 2400), quality=98)
    expected = Image.fromarray(smooth(1600, 2400)).resize((48, 32), Image.LANCZOS)
    assert abs(reader.pixels("large.jpg", 1, 32, 48)[..., 0]
               - np.asarray(expected).astype(int)).max() <= 3


def test_halves_are_rounded_up_once(reader):
    reader.save("pair.png", np.array([[10, 11], [11, 11]], np.uint8))
    assert reader.pixels("pair.png", 1, 1, 2, "stretch")[..., 0].tolist() == [[11, 11]]
    reader.save("row.png", np.array([[10, 10, 10, 11, 11]], np.uint8))
    narrow = np.asarray(Image.fromarray(np.array([[10, 10, 10, 11, 11]], np.uint8)).resize(
        (1, 1), Image.LANCZOS))
    assert reader.pixels("row.png", 1, 1, 1, "stretch")[0, 0, 0] == narrow[0, 0] == 10


def test_what_stands_over_is_cut_off_alike_on_both_sides(reader):
    """One more at the start where it is an odd number."""
    noise = np.random.default_rng(6).integers(0, 256, (40, 61), dtype=np.uint8)
    reader.save("wide.png", noise)
    assert (reader.pixels("wide.png", 1, 40, 40)[..., 0] == noise[:, 11:51]).all()
    reader.save("high.png", noise.T)
    assert (reader.pixels("high.png", 1, 40, 40)[..., 0] == noise.T[11:51]).all()


def test_padding_is_alike_on_both_sides(reader):
    """One more at the end where it is an odd number; sizes are rounded, not cut."""
    reader.save("wide.png", np.full((11, 20), 90, np.uint8))
    black = (reader.pixels("wide.png", 1, 20, 20, "pad")[..., 0] == 0).all(axis=1)
    assert np.flatnonzero(~black).tolist() == list(range(4, 15))
    reader.save("high.png", np.full((20, 11), 90, np.uint8))
    black = (reader.pixels("high.png", 1, 20, 20, "pad")[..., 0] == 0).all(axis=0)
    assert np.flatnonzero(~black).tolist() == list(range(4, 15))
    for side, scaled in ((8, 4), (10, 6), (9, 5)):  # 4.4, 5.5 (to even), 4.95
        black = (reader.pixels("wide.png", 1, side, side, "pad")[..., 0] == 0).all(axis=1)
        assert (~black).sum() == scaled


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("h,w", [(40, 61), (61, 40), (41, 60), (60, 41)])
def test_a_turned_image_is_cropped_as_one_that_was_stored_so(reader, orientation, h, w):
    noise = np.random.default_rng(5).integers(0, 256, (h, w, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x112] = orientation
    reader.save("turned.png", noise, exif=exif)
    reader.save("upright.png", turned(noise, orientation))
    for size in (20, 40, 60):
        difference = (reader.pixels("turned.png", 3, size, size)
                      - reader.pixels("upright.png", 3, size, size))
        assert abs(difference).max() <= 1  # the sums go the other way


# --- names ---

def test_the_content_tells_the_format_not_the_name(reader):
    reader.save("image.png", RGB)
    os.rename(reader.path("image.png"), reader.path("image.txt"))
    assert (reader.pixels("image.txt", 3, H, W) == RGB).all()


@pytest.mark.parametrize("name", [b"a b[page=2]%d.png", b"\xff\xfe.png", "ä☃.png".encode()])
def test_names_are_just_bytes(reader, name):
    reader.save("image.png", RGB)
    os.rename(reader.path("image.png"), reader.path(name))
    assert (reader.pixels(name, 3, H, W) == RGB).all()
