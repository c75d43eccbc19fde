"""What `check` finds in folders of image files that were made to have it."""
import io
import struct
import zlib

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image", reason="python3-pil is missing")

CONFIG = """\
[data]
source = folder
path = pictures
size = 16x16

[train]
epochs = 1

[fc]
type = dense
units = classes
"""


def picture(seed, height=40, width=56, noise=4, channels=3):
    """Coarse random patches, enlarged, and noise on them: no two are alike."""
    random = np.random.default_rng(seed)
    coarse = random.integers(20, 236, (6, 6, channels)).astype(np.uint8)
    bands = [np.asarray(Image.fromarray(coarse[..., i]).resize((width, height), Image.BILINEAR))
             for i in range(channels)]
    image = np.stack(bands, -1) + random.normal(0, noise, (height, width, channels))
    return np.clip(image, 0, 255).astype(np.uint8)


def jpeg(image, **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", **options)
    return file.getvalue()


class Pictures:
    """Two classes of 8 training and 3 test images. Tests spoil them and add to them."""

    def __init__(self, folder):
        self.folder = folder / "pictures"
        for number in range(22):
            split, name = ("train", number) if number < 16 else ("test", number - 16)
            self.write(f"{split}/{'ab'[name % 2]}/{name:02}.jpg", jpeg(picture(number)))

    def write(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def save(self, name, image):
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(self.folder / name)

    @staticmethod
    def check(program, *arguments, status=0):
        config = program.config(text=CONFIG)
        text = program.run("check", config, *arguments, status=status).stdout
        [result] = program.json("check", config, *arguments, status=status)
        return text, result


@pytest.fixture
def pictures(program):
    return Pictures(program.folder)


def findings(result):
    return {item["kind"]: (item["severity"], item["count"]) for item in result["findings"]}


def messages(result, kind):
    return {item["file"]: item["message"] for item in result[kind]}


END = b"\xff\xd9"


def half(content):
    """Up to the middle of the coded image."""
    start = content.index(b"\xff\xda")
    return content[:(start + len(content)) // 2]


def test_sound_files_are_sound(program, pictures):
    white = picture(50, 300, 300)
    white[40:] = 255
    assert 65 * b"\0" in jpeg(white, optimize=True)  # its shortest codes say: as the last block
    sound = [jpeg(white, optimize=True), jpeg(picture(51)[..., 0]),
             jpeg(picture(52, noise=30), quality=98), jpeg(picture(53), subsampling=0),
             jpeg(picture(54), progressive=True), jpeg(picture(55)) + bytes(500)]
    for i, content in enumerate(sound):
        comment = b"\xff\xfe\0\x66" + bytes(100)
        pictures.write(f"train/a/{i}.jpg", content)
        pictures.write(f"train/b/{i}.jpg", content[:2] + comment + jpeg(picture(70 + i))[2:])
    assert pictures.check(program)[1]["findings"] == []


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}],
                         ids=["baseline", "optimized", "progressive"])
def test_jpegs_that_lack_data_are_damaged_and_trained_on(program, pictures, options):
    whole = jpeg(picture(60, 200, 200), quality=90, **options)
    kept = half(whole)
    zeros = bytes(len(whole) - len(kept) - 2)
    cut = kept + END if "progressive" not in options else whole[:-200] + 200 * b"\x55" + END
    pictures.write("train/a/cut.jpg", cut)
    pictures.write("train/a/zeros.jpg", kept + zeros + END)
    text, result = pictures.check(program)
    assert findings(result)["damaged"] == ("warning", 2)
    found = messages(result, "damaged")
    assert set(found) == {"pictures/train/a/cut.jpg", "pictures/train/a/zeros.jpg"}
    assert "Corrupt JPEG data" in found["pictures/train/a/cut.jpg"]
    for name, message in found.items():
        assert message.startswith(f"{name}: is damaged") and message in text
    assert "2 images are damaged, and training would not tell" in text
    program.run("train", "small.ini")


def test_zeros_that_the_decoder_takes_for_data_are_damage(program, pictures):
    """Of so fine a picture half the bytes, were they zeros, would be more than half the blocks."""
    whole = jpeg(picture(61, 200, 200, noise=30), quality=95)
    kept = half(whole)
    lost = len(whole) - len(kept) - 2
    pictures.write("test/b/zeros.jpg", kept + bytes(lost) + END)
    pictures.write("test/b/none.jpg", kept + bytes(lost + 2))
    found = messages(pictures.check(program)[1], "damaged")
    assert len(found) == 2
    assert found["pictures/test/b/zeros.jpg"].endswith(
        f"is damaged: {lost} bytes in a row of its image data are zero")


def test_what_training_refuses_is_unreadable_and_not_damaged(program, pictures):
    pictures.write("train/a/cut.jpg", half(jpeg(picture(62))))
    _, result = pictures.check(program, status=1)
    assert findings(result) == {"unreadable": ("error", 1)} and result["damaged"] == []


def test_what_is_passed_over_is_named(program, pictures):
    pictures.write("train/Thumbs.db", b"thumbs")
    pictures.write("train/a/cut.jpg", half(jpeg(picture(63))))
    config = program.config(text=CONFIG)
    skip = ("--set", "data.on_bad_image=skip")
    done = program.run("check", config, *skip, status=1)
    assert done.stderr.startswith("skipped: pictures/train/Thumbs.db: is in no class's folder\n")
    assert "ERROR    1 image cannot be read\n         pictures/train/a/cut.jpg: " in done.stdout
    [result] = program.json("check", config, *skip, status=1)
    assert list(messages(result, "unreadable")) == ["pictures/train/a/cut.jpg"]
    message = program.run("check", config, status=1).stderr
    assert "pictures/train/Thumbs.db: is in no class's folder" in message


def png16(samples):
    """Of grey (h, w), grey and alpha or RGB (h, w, bands)."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    height, width, bands = (*samples.shape, 1)[:3]
    rows = samples.reshape(height, -1).astype(">u2")
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2}[bands], 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
            + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))
            + chunk(b"IEND", b""))


def test_deep_images_with_few_levels_are_named(program, pictures):
    twelve = [picture(80 + i)[..., 0].astype(np.uint16) * 16 + 15 for i in range(4)]
    for image in twelve:
        image[0, 0] = 4095
    opaque = np.full_like(twelve[0], 65535)
    pictures.write("train/a/grey.png", png16(twelve[0]))
    pictures.write("train/b/alpha.png", png16(np.stack([twelve[1], opaque], -1)))
    pictures.write("test/a/rgb.png", png16(np.stack(3 * [twelve[2]], -1)))
    pictures.save("test/b/grey.tiff", twelve[3])
    few = {"train/a/grey.png", "train/b/alpha.png", "test/a/rgb.png", "test/b/grey.tiff"}
    # Of these one uses its range, one says what its range is, one reaches just an eighth.
    pictures.write("train/a/full.png", png16(picture(90)[..., 0].astype(np.uint16) * 257))
    pictures.write("train/b/said.pgm", b"P5 56 40 4095 "
                   + (picture(91)[..., 0].astype(np.uint16) * 16).astype(">u2").tobytes())
    eighth = picture(92)[..., 0].astype(np.uint16) * 16
    eighth[3, 3] = 8192
    pictures.write("train/a/eighth.png", png16(eighth))
    text, result = pictures.check(program)
    assert findings(result) == {"few_levels": ("warning", 4)}
    assert {item["file"] for item in result["few_levels"]} == {f"pictures/{name}" for name in few}
    assert all(item["largest"] == 4095 for item in result["few_levels"])
    assert "4 images of more than 8 bits stay below an eighth of their range" in text
    assert "pictures/train/a/grey.png: a: at most 4095 of 65535\n" in text


def test_the_depth_tells_the_class(program, pictures):
    for path in list(pictures.folder.glob("*/a/*")):
        deep = np.asarray(Image.open(path).convert("RGB")).astype(np.uint16) * 257
        path.write_bytes(png16(deep))
    leaks = {item["name"] for item in pictures.check(program)[1]["properties"] if item["leak"]}
    assert leaks == {"depth"}


# --- what tells the class ---

def album(program, labels, size=lambda i, label: (8, 8), channels=lambda i, label: 1):
    """Images of labels that are letters, every fifth to test; what `check` says of the properties."""
    for i, label in enumerate(labels):
        (height, width), bands = size(i, label), channels(i, label)
        path = program.folder / "pictures" / ("train" if i % 5 else "test") / label / f"{i}.pnm"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.resize(picture(1000 + i, 8, 8), (height, width, bands))
        path.write_bytes(b"P%d %d %d 255 " % (5 if bands == 1 else 6, width, height)
                         + pixels.tobytes())
    text, result = Pictures.check(program)
    properties = {item["name"]: item for item in result["properties"]}
    leaks = {name for name, item in properties.items() if item["leak"]}
    assert findings(result).get("leak", ("", 0))[1] == len(leaks)
    return leaks, properties, text


LETTERS = "abcdefghijklmnopqrstuvwx"


def test_unique_sizes_tell_the_class_by_their_area(program):
    def size(i, label):
        return (20 + i // 2, 20 + i // 2 * 7 % 70) if label == "a" else (
            120 + i // 2, 120 + i // 2 * 7 % 70)
    leaks, properties, text = album(program, 70 * "ab", size=size)
    assert leaks == {"area"}
    assert properties["size"]["distinct"] == 140 and properties["size"]["accuracy"] == 0.5
    assert properties["area"]["accuracy"] > 0.95 and properties["area"]["chance"] == 0.5
    assert "area: guessing the class by it alone finds 9" in text and "pixels in " in text


def test_a_format_tells_the_class_by_its_aspect(program):
    def size(i, label):
        long, short = 60 + i % 40, 50 + i % 40
        return (long, short) if (label == "a") == (i % 20 < 17) else (short, long)
    leaks, properties, _ = album(program, 100 * "ab", size=size)
    assert "aspect" in leaks and "area" not in leaks
    assert 0.8 < properties["aspect"]["accuracy"] < 0.9


def test_a_rare_class_is_told_by_its_channels(program):
    labels = ["b" if i % 25 == 3 else "a" for i in range(250)]
    leaks, properties, text = album(program, labels, channels=lambda i, label: 1 + 2 * (label == "b"))
    assert leaks == {"channels"}
    assert properties["channels"]["accuracy"] == 1
    assert {"class": "b", "recall": 1, "rest": 0} in properties["channels"]["told"]
    assert "b: 3 in 100.0 % of 10" in text
    assert "b is told from the rest: 100.0 % of it are, and 0.0 % of the rest are taken for it" in text


@pytest.mark.parametrize("count", [1, 3])
def test_some_of_many_classes_are_told(program, count):
    marked = LETTERS[:count]
    leaks, properties, _ = album(program, 10 * LETTERS,
                                 channels=lambda i, label: 1 + 2 * (label in marked))
    told = properties["channels"]["told"]
    assert leaks == {"channels"} and properties["channels"]["chance"] == pytest.approx(1 / 24)
    assert [item["class"] for item in told] == list(marked)
    assert all(item["recall"] == 1 and item["rest"] == pytest.approx((count - 1) / 23)
               for item in told)


@pytest.mark.parametrize("labels", [100 * "ab", 10 * LETTERS, "ab" + 98 * "a" + "b" + 99 * "a"],
                         ids=["two", "many", "rare"])
@pytest.mark.parametrize("seed", range(3))
def test_sizes_and_channels_at_random_tell_nothing(program, labels, seed):
    random = np.random.default_rng(seed)
    sizes = random.integers(6, 120, (len(labels), 2))
    bands = random.integers(0, 10, len(labels)) == 0
    leaks, properties, _ = album(program, labels, size=lambda i, label: sizes[i],
                                 channels=lambda i, label: 1 + 2 * int(bands[i]))
    assert leaks == set()
    assert all(item["told"] == [] for item in properties.values())


def test_a_property_that_goes_a_little_with_the_class_is_no_leak(program):
    """Of things of one kind more may be upright: 55 % here, 45 % there."""
    def size(i, label):
        return (60, 40) if i // 2 % 20 < (11 if label == "a" else 9) else (40, 60)
    leaks, properties, _ = album(program, 400 * "ab", size=size)
    assert leaks == set() and 0.54 < properties["aspect"]["accuracy"] < 0.56
