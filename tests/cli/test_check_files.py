"""What `check` finds in folders of image files that were made to have it."""
import io

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
