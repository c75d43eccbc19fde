"""What `check` finds in data that were made to have it, and that it is silent about clean ones."""
import numpy as np
import pytest

h5py = pytest.importorskip("h5py")

CONFIG = """\
[data]
source = hdf5
path = data.h5

[train]
epochs = 1

[fc]
type = dense
units = classes
"""


def pictures(count, seed, side=24, channels=3):
    """Smooth random pictures, each unlike the others: coarse noise, enlarged."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 6, 6, channels)).astype(float)
    ramp = np.linspace(0, 5, side)
    low = np.minimum(ramp.astype(int), 4)
    share = ramp - low
    rows = (coarse[:, low] * (1 - share)[None, :, None, None]
            + coarse[:, low + 1] * share[None, :, None, None])
    both = (rows[:, :, low] * (1 - share)[None, None, :, None]
            + rows[:, :, low + 1] * share[None, None, :, None])
    return both.round().astype(np.uint8)


class Data:
    """Clean data: 60 training and 20 test images of 4 classes. Tests spoil them."""

    def __init__(self):
        images = pictures(80, 1)
        self.train, self.test = images[:60].copy(), images[60:].copy()
        self.train_labels, self.test_labels = np.arange(60) % 4, np.arange(20) % 4
        self.classes = None

    def check(self, program, *arguments, status=0):
        with h5py.File(program.folder / "data.h5", "w") as file:
            file["train/images"], file["train/labels"] = self.train, self.train_labels
            file["test/images"], file["test/labels"] = self.test, self.test_labels
            if self.classes:
                file["classes"] = self.classes
        config = program.config(text=CONFIG)
        text = program.run("check", config, *arguments, status=status).stdout
        [result] = program.json("check", config, *arguments, status=status)
        return text, result


@pytest.fixture
def data():
    return Data()


def findings(result):
    return {item["kind"]: (item["severity"], item["count"]) for item in result["findings"]}


def pairs(result, kind):
    def place(item):
        return f"{item['split']}[{item['index']}]"
    return [(place(copy["image"]), place(copy["original"])) for copy in result["copies"]
            if copy["kind"] == kind]


def nearly(image):
    """Brighter, with a little noise."""
    noise = np.random.default_rng(9).integers(-2, 3, image.shape)
    return np.clip(image * 1.05 + 6 + noise, 0, 255).astype(np.uint8)


def test_clean_data_are_clean(program, data):
    text, result = data.check(program)
    assert result["findings"] == [] and result["copies"] == []
    assert text.startswith("60 training and 20 test images, 3x24x24, 4 classes: nothing is wrong")
    assert result["train"] == 60 and result["test"] == 20 and result["shape"] == [3, 24, 24]
    assert result["classes"] == [{"name": str(i), "train": 15, "test": 5, "validation": 0}
                                 for i in range(4)]


def test_images_with_their_channels_first_are_doubted(program, data):
    doubt = ("/train/images is read as [N, H, W, C]: 3x24 pixels of 24 channels; if it is "
             "[N, C, H, W], transpose it (0, 2, 3, 1)\n")
    data.train, data.test = (images.transpose(0, 3, 1, 2) for images in (data.train, data.test))
    text, result = data.check(program)
    assert findings(result)["transposed"] == ("warning", 1)
    assert doubt in text
    for verb in ("summary", "train"):
        error = program.run(verb, "small.ini").stderr
        assert f"small.ini:3: warning: {doubt}" in error
    data.train, data.test = data.train[:, :, :, :4], data.test[:, :, :, :4]
    assert "transposed" not in findings(data.check(program)[1])
    data.train, data.test = (images.transpose(0, 2, 3, 1) for images in (data.train, data.test))
    assert "transposed" not in findings(data.check(program)[1])


def test_the_number_of_threads_changes_nothing(program, data):
    data.train[5], data.test[7] = nearly(data.train[1]), data.train[3]
    results = [data.check(program, "--threads", n, status=1)[1] for n in (1, 3)]
    assert results[0] == results[1]


def test_the_same_image_in_train_and_test_is_an_error(program, data):
    data.test[3], data.test[8] = data.train[11], data.train[20]
    text, result = data.check(program, status=1)
    assert findings(result) == {"same_in_train_and_test": ("error", 2)}
    assert pairs(result, "same_in_train_and_test") == [("test[3]", "train[11]"),
                                                       ("test[8]", "train[20]")]
    assert "ERROR    2 test images are training images too" in text
    assert "test[3] (3) = train[11] (3)\n" in text


def test_the_same_image_with_two_labels_is_said_so(program, data):
    data.test[3] = data.train[12]
    data.train[33] = data.train[8]
    text, result = data.check(program, status=1)
    assert findings(result) == {"same_in_train_and_test": ("error", 1),
                                "same_with_two_labels": ("warning", 1)}
    assert "test[3] (3) = train[12] (0): two labels" in text
    assert "train[33] (1) = train[8] (0): two labels" in text


def test_copies_within_a_split_are_warned_of(program, data):
    data.train[14] = data.train[30] = data.train[2]
    data.test[9] = data.test[5]
    _, result = data.check(program)
    assert findings(result) == {"same": ("warning", 3)}
    assert pairs(result, "same") == [("train[14]", "train[2]"), ("train[30]", "train[2]"),
                                     ("test[9]", "test[5]")]


def test_near_copies_are_found_and_are_not_called_the_same(program, data):
    data.test[1] = nearly(data.train[5])
    data.train[13] = nearly(data.train[9])
    data.train[22] = nearly(data.train[16])
    text, result = data.check(program)
    assert findings(result) == {"near_in_train_and_test": ("warning", 1),
                                "near_with_two_labels": ("warning", 1), "near": ("note", 1)}
    assert pairs(result, "near_in_train_and_test") == [("test[1]", "train[5]")]
    assert pairs(result, "near_with_two_labels") == [("train[22]", "train[16]")]
    assert pairs(result, "near") == [("train[13]", "train[9]")]
    assert all(0.996 <= copy["likeness"] <= 1 for copy in result["copies"])
    assert "test[1] (1) ~ train[5] (1)\n" in text


def test_one_value_makes_the_same_image_nearly_the_same(program, data):
    data.test[1] = data.train[5]
    data.test[1, 11, 12, 0] ^= 1
    assert pairs(data.check(program)[1], "near_in_train_and_test") == [("test[1]", "train[5]")]


def test_an_original_of_each_split_and_label_is_listed(program, data):
    data.train[4] = data.train[9] = data.test[2] = data.test[5] = data.train[0]
    _, result = data.check(program, status=1)
    assert findings(result) == {"same_in_train_and_test": ("error", 2),
                                "same_with_two_labels": ("warning", 2), "same": ("warning", 1)}
    assert pairs(result, "same_in_train_and_test") == [
        ("test[2]", "train[0]"), ("test[5]", "train[0]"), ("test[5]", "train[9]")]
    assert pairs(result, "same") == [("train[4]", "train[0]")]
    assert pairs(result, "same_with_two_labels") == [("train[9]", "train[0]"),
                                                     ("test[5]", "test[2]")]


def test_a_note_alone_is_no_fault(program, data):
    data.train[13] = nearly(data.train[9])
    text, _ = data.check(program)
    assert "nothing is wrong" in text and "NOTE     1 image is nearly the same" in text


def test_blank_images_are_named_and_no_copies(program, data):
    data.train[7] = [3, 2, 1]
    data.train[8] = data.test[2] = 0
    data.train[9] = 0
    data.train[9, 23, 23, 2] = 4  # one value of all
    text, result = data.check(program)
    assert findings(result) == {"blank": ("warning", 3)}
    assert [(i["split"], i["index"]) for i in result["blank"]] == [("train", 7), ("train", 8),
                                                                   ("test", 2)]
    assert "train[7]: 3" in text


def test_noise_on_one_colour_is_blank(program, data):
    noise = np.random.default_rng(5).integers(0, 4, (4, 24, 24, 3), dtype=np.uint8)
    data.train[4:7] = noise[:3]
    data.train[5] += np.uint8([0, 100, 252])
    data.train[6, 11, 12, 1] = 4
    data.test[1] = 255 - noise[3]
    text, result = data.check(program)
    assert [(i["split"], i["index"]) for i in result["blank"]] == [("train", 4), ("train", 5),
                                                                   ("test", 1)]
    assert "3 images are blank: their values are at most 3 levels apart" in text


def test_labels_out_of_range_are_listed_and_the_rest_is_looked_at(program, data):
    data.classes = ["a", "b", "c", "d"]
    data.train_labels[[4, 9]], data.test_labels[2] = [-1, 4], 2**40
    data.train[14] = data.train[2]
    text, result = data.check(program, status=1)
    assert findings(result) == {"label_out_of_range": ("error", 3), "same": ("warning", 1)}
    assert [(i["split"], i["index"], i["label"]) for i in result["labels_out_of_range"]] == [
        ("train", 4, -1), ("train", 9, 4), ("test", 2, 2**31 - 1)]
    assert "train[9]: label 4" in text and "labels here are 0 to 3" in text
    assert result["classes"][0] == {"name": "a", "train": 14, "test": 5, "validation": 0}


def test_a_test_label_that_training_lacks_is_out_of_range(program, data):
    data.test_labels[6] = 4
    _, result = data.check(program, status=1)
    assert findings(result) == {"label_out_of_range": ("error", 1)}


def test_absent_classes_and_imbalance_are_warned_of(program, data):
    data.train_labels[:] = 0
    data.train_labels[:4] = 1
    data.test_labels[:] = np.arange(20) % 3
    data.classes = ["a", "b", "c"]
    text, result = data.check(program)
    assert findings(result) == {"class_absent": ("warning", 1), "imbalance": ("warning", 1)}
    assert "c: none in train" in text and "more than 10 times" in text


def test_ten_to_one_is_not_yet_out_of_balance(program, data):
    data.train_labels[:] = np.arange(60) % 12 == 0  # 55 : 5
    data.test_labels %= 2
    assert findings(data.check(program)[1]) == {"imbalance": ("warning", 1)}
    data.train_labels[1] = 1  # 54 : 6
    assert findings(data.check(program)[1]) == {}


VALIDATION = ("--set", "data.validation=0.1")


def held_back(program, data):
    """The indices of the six training images that are: each alone in its class tells."""
    labels = data.train_labels
    data.train_labels = np.arange(60)
    _, result = data.check(program, *VALIDATION)
    data.train_labels = labels
    return [i for i in range(60) if result["classes"][i]["validation"]]


def test_a_class_that_validation_takes_away_is_warned_of(program, data):
    first, second = held_back(program, data)[:2]
    data.train_labels = np.arange(60) % 3
    data.train_labels[[first, second]] = 3
    text, result = data.check(program, *VALIDATION)
    assert findings(result) == {"class_absent": ("warning", 1)}
    assert "3: none to train on: validation holds back all 2" in text
    assert result["classes"][3] == {"name": "3", "train": 2, "test": 5, "validation": 2}
    assert sum(item["validation"] for item in result["classes"]) == 6
    assert "class_absent" not in findings(data.check(program)[1])


def test_copies_that_validation_parts_are_warned_of(program, data):
    held = held_back(program, data)
    kept = [i for i in range(60) if i not in held]
    data.train_labels = np.zeros(60, int)
    data.train_labels[-1] = data.train_labels[0] = 1
    data.test_labels = np.arange(20) % 2
    data.train[held[0]] = data.train[kept[7]]
    data.train[held[1]] = nearly(data.train[kept[9]])
    data.train[held[3]] = data.train[held[2]]
    data.train[kept[3]] = data.train[kept[2]]
    _, result = data.check(program, *VALIDATION)
    found = findings(result)
    assert found["same_in_train_and_validation"] == found["near_in_train_and_validation"] == (
        "warning", 1)
    assert found["same"] == ("warning", 2)
    def of(a, b):
        return [(f"train[{max(a, b)}]", f"train[{min(a, b)}]")]
    assert pairs(result, "same_in_train_and_validation") == of(held[0], kept[7])
    assert pairs(result, "near_in_train_and_validation") == of(held[1], kept[9])
    assert findings(data.check(program)[1])["same"] == ("warning", 3)


def test_long_lists_are_cut_and_counted(program, data):
    data.train[:12] = 0
    text, result = data.check(program)
    assert "and 4 more" in text and len(result["blank"]) == 12


def test_a_wrong_network_is_told_after_the_data(program, data):
    data.train_labels[4] = 7
    text, result = data.check(program, "--set", "fc.units=4", status=2)
    assert findings(result)["class_absent"][1] == 4  # 4 to 6, and 7 in test
    message = program.run("check", "small.ini", "--set", "fc.units=4", status=2).stderr
    assert "8" in message and "4" in message
    assert "did you mean" in program.run("check", "small.ini", "--set", "fc.unit=4",
                                         status=2).stderr


def test_data_that_cannot_be_opened_are_a_failure(program):
    message = program.run("check", program.config(text=CONFIG), status=1)
    assert "data.h5" in message.stderr and message.stdout == ""


@pytest.mark.parametrize("source", ["cifar10", "cifar100"])
def test_cifar_labels_out_of_range_are_listed(program, source):
    names = ([f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
             if source == "cifar10" else ["train.bin", "test.bin"])
    images = pictures(2 * len(names), 3, side=32).transpose(0, 3, 1, 2).reshape(len(names), 2, -1)
    for i, name in enumerate(names):
        labels = np.full((2, 1 if source == "cifar10" else 2), 1, np.uint8)
        if i == 0:
            labels[1] = 200
        (program.folder / name).write_bytes(np.hstack([labels, images[i]]).tobytes())
    config = program.config(text=CONFIG.replace("hdf5", source).replace("data.h5", "."))
    [result] = program.json("check", config, status=1)
    assert [(i["index"], i["label"]) for i in result["labels_out_of_range"]] == [(1, 200)]
