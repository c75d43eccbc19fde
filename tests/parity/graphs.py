"""Random graphs, as configs: all node types and their keys, odd sizes, and edges that try the plan's
sharing of memory. A value may be read many times, joined with itself, changed in place while
another reads it; sections may stand in any order.

A Case is all that one comparison needs, in parts that can be taken away.
"""
import copy
import dataclasses

CHANNELS = (1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 17, 24, 33)
ACTIVATIONS = ("relu", "relu6", "leaky_relu", "elu", "sigmoid", "tanh", "gelu", "silu", "hardswish")
NORMS = ("batchnorm", "groupnorm", "layernorm", "lrn")
WEIGHTED = ("conv", "dense", "batchnorm", "groupnorm", "layernorm", "prelu")
FROZEN = "frozen"  # stands among a node's keys for its name in [train] freeze
INITIALIZERS = ("he", "xavier", "lecun", "uniform", "zero")
MOST_VALUES, MOST_CHANNELS = 3000, 48  # of an image in one node; of a convolution's input


@dataclasses.dataclass
class Case:
    shape: tuple  # of an image: channels, height, width
    classes: int
    batch: int
    images: int  # to train on
    seed: int  # of images and weights
    threads: int
    train: dict  # keys of [train]
    nodes: list  # [name, keys, names of the inputs], in the order of the file

    def text(self):
        train = {"epochs": 1, "batch": self.batch, **self.train}
        if frozen := [name for name, keys, _ in self.nodes if FROZEN in keys]:
            train["freeze"] = ", ".join(frozen)
        lines, above = ["[train]", *(f"{key} = {value}" for key, value in train.items())], "input"
        for name, keys, inputs in self.nodes:
            lines += ["", f"[{name}]"]
            if inputs != [above]:
                lines.append(f"inputs = {', '.join(inputs)}")
            lines += [f"{key} = {value}" for key, value in keys.items() if key != FROZEN]
            above = name
        return "\n".join(lines) + "\n"

    def copy(self):
        return copy.deepcopy(self)


def draw_training(random):
    """Keys of [train]: an optimizer with some of its own, and what any may have."""
    def perhaps(share, **keys):
        return keys if random.random() < share else {}

    name = random.choice(("sgd", "sgd", "adam", "adamw", "rmsprop"))
    keys = {"optimizer": name, "lr": {"sgd": 0.03, "rmsprop": 0.002}.get(name, 0.005)}
    if name in ("sgd", "rmsprop"):
        keys |= perhaps(0.6, momentum=random.choice((0.5, 0.9)))
    if name == "sgd" and "momentum" in keys:
        keys |= perhaps(0.4, nesterov="true")
    if name in ("adam", "adamw"):
        keys |= perhaps(0.3, beta1=random.choice((0, 0.7)))
    if name != "sgd":
        keys |= perhaps(0.3, beta2=random.choice((0.9, 0.95)))
        keys |= perhaps(0.3, eps=random.choice((1e-3, 1e-5)))
    keys |= perhaps(0.3, weight_decay=random.choice((0.01, 0.2)))
    keys |= perhaps(0.3, label_smoothing=random.choice((0.1, 0.5)))
    keys |= perhaps(0.4, clip_norm=random.choice((0.5, 2)))
    keys |= perhaps(0.2, schedule=random.choice(("cosine", "linear", "onecycle")))
    return keys


class Graph:
    """Grows at random; case() is what has grown."""

    def __init__(self, random):
        """random: a random.Random, which decides everything."""
        self.random = random
        self.classes = random.choice((2, 3, 5, 10))
        self.batch = random.choice((2, 3, 4, 5, 7, 9, 16, 17))
        side = random.choice((1, 3, 5, 6, 7, 8, 9, 12))
        self.shape = (random.choice((1, 1, 2, 3, 3, 4, 5, 6, 7, 12, 16)), side,
                      random.choice((side, side, max(1, side - 2), side + 3)))
        self.shapes = {"input": self.shape}
        self.unused = []
        self.nodes = []
        for _ in range(random.randint(2, 14)):
            random.choice(self.GROWTH)(self)
        self.finish()

    def case(self, seed):
        random, nodes = self.random, copy.deepcopy(self.nodes)
        if random.random() < 0.4:  # only the last one has its place
            nodes = random.sample(nodes[:-1], len(nodes) - 1) + nodes[-1:]
        for _, keys, _ in nodes[:-1] if random.random() < 0.15 else []:
            if keys["type"] in WEIGHTED and keys.get("units") != "classes" and random.random() < 0.4:
                keys[FROZEN] = True
        images = 2 * self.batch + max(2, self.batch // 2)  # the last mini-batch is short
        return Case(self.shape, self.classes, self.batch, images, seed,
                    random.choice((1, 2, 3, 4)), draw_training(random), nodes)

    # What a node may be.

    def node(self, kind, inputs, shape, **keys):
        name = f"n{len(self.nodes)}"
        self.nodes.append([name, {"type": kind, **keys}, inputs])
        self.shapes[name] = shape
        self.unused = [other for other in self.unused if other not in inputs] + [name]
        return name

    def pick(self, like=None):
        """A value to read: often the newest, sometimes one that is read already."""
        names = [name for name in self.shapes if like in (None, self.shapes[name])]
        return names[-1] if self.random.random() < 0.5 else self.random.choice(names)

    def window(self, shape, most_kernel, is_pool):
        """Keys of a window that fits, and the size that comes out."""
        random = self.random
        while True:
            kernel = [random.randint(1, most_kernel)] * 2
            stride = [random.choice((1, 1, 1, 2, 2, 3))] * 2
            dilation = [1 if is_pool else random.choice((1, 1, 1, 2, 3))] * 2
            if random.random() < 0.3:
                kernel[1] = random.randint(1, most_kernel)
            if random.random() < 0.2:
                stride[1] = random.choice((1, 2, 3))
            if random.random() < 0.2 and not is_pool:
                dilation[1] = random.choice((1, 2, 3))
            if is_pool and random.random() < 0.3:
                stride = kernel
            form = random.choice(("valid", "same", "same_lower", "N", "HxW", "explicit"))
            t, l, b, r = (random.randint(0, kernel[i % 2] - 1 if is_pool else 3) for i in range(4))
            if form == "N":
                l = b = r = t = min(t, l)
            if form == "HxW":
                b, r = t, l
            if form == "valid":
                t = l = b = r = 0
            ceil = is_pool and random.random() < 0.3
            size = [self.axis(form, ceil, *numbers) for numbers in zip(
                shape[1:], (t, l), (b, r), kernel, stride, dilation)]
            if min(size) < 1:
                continue
            keys = {"kernel": self.pair(kernel), "padding": {
                "N": f"{t}", "HxW": f"{t}x{l}", "explicit": f"{t}, {l}, {b}, {r}"}.get(form, form)}
            if not is_pool or stride != kernel:
                keys["stride"] = self.pair(stride)
            if dilation != [1, 1]:
                keys["dilation"] = self.pair(dilation)
            if ceil:
                keys["ceil"] = "true"
            return keys, size

    def pair(self, numbers):
        h, w = numbers
        return f"{h}" if h == w and self.random.random() < 0.5 else f"{h}x{w}"

    @staticmethod
    def axis(form, ceil, size, before, after, kernel, stride, dilation):
        """How many windows there are, by the documented rules; 0: none fits."""
        if form in ("same", "same_lower"):
            return -(-size // stride)
        span = size + before + after - (kernel - 1) * dilation - 1
        if span < 0:
            return 0
        out = span // stride + 1
        hangs = ceil and span % stride and out * stride < size + before
        return out + 1 if hangs else out

    def conv(self, source=None, channels=None, keep_size=False):
        random = self.random
        source = source or self.pick()
        c, h, w = self.shapes[source]
        if c > MOST_CHANNELS:
            return self.vector(source)
        free = channels is None
        channels = channels or random.choice(CHANNELS)
        if keep_size:
            k = random.choice((1, 3, 4))
            keys, size = {"kernel": k, "padding": random.choice(("same", "same_lower"))}, (h, w)
        else:
            keys, size = self.window((c, h, w), 5, False)
        if channels * size[0] * size[1] > MOST_VALUES:
            channels = 1 + channels % 3
        multiplier = random.choice((1, 1, 2))
        if free and random.random() < 0.2 and multiplier * c * size[0] * size[1] <= MOST_VALUES:
            keys["groups"], channels = c, multiplier * c  # depthwise
        elif random.random() < 0.4:
            groups = [g for g in range(1, c + 1) if c % g == 0 and channels % g == 0]
            keys["groups"] = random.choice(groups)
        return self.node("conv", [source], (channels, *size), filters=channels, **keys,
                         **self.layer_keys())

    def layer_keys(self):
        random, keys = self.random, {}
        if random.random() < 0.4:
            keys["bias"] = random.choice(("false", "false", "true"))
        if random.random() < 0.6:
            keys["activation"] = random.choice((*ACTIVATIONS, "none"))
        if random.random() < 0.2:  # read, though the weights come from a file
            keys["init"] = random.choice(INITIALIZERS)
        return keys

    def pool(self):
        source = self.pick()
        keys, size = self.window(self.shapes[source], 4, True)
        if self.shapes[source][0] * size[0] * size[1] > MOST_VALUES:
            return self.vector(source)
        kind = self.random.choice(("maxpool", "avgpool"))
        return self.node(kind, [source], (self.shapes[source][0], *size), **keys)

    def pointwise(self, source=None):
        """A node that keeps the shape."""
        random = self.random
        source = source or self.pick()
        shape = self.shapes[source]
        kind, keys = random.choice((*ACTIVATIONS, *NORMS, "prelu", "softmax", "dropout")), {}
        if kind == "leaky_relu":
            keys = {"slope": random.choice((0, 0.01, 0.3, 1.5))}
        if kind == "elu":
            keys = {"alpha": random.choice((1, 0.6))}
        if kind == "prelu":
            keys = {"shared": random.choice(("true", "false"))}
        if kind == "dropout":
            keys = {"rate": 0}
        if kind == "lrn":
            keys = {"size": random.choice((1, 2, 3, 4, 5, 7)),
                    "alpha": random.choice((1e-4, 0.05, 1)),
                    "beta": random.choice((0.5, 0.75, 1, 1.3)), "k": random.choice((1, 2, 0.5))}
        if kind == "batchnorm":
            keys = {"momentum": random.choice((0, 0.1, 0.3, 1))}
        if kind == "groupnorm":
            keys = {"groups": random.choice([g for g in range(1, shape[0] + 1)
                                             if shape[0] % g == 0])}
        if kind in ("batchnorm", "groupnorm", "layernorm"):
            keys["eps"] = random.choice(("1e-5", "1e-3", "0.1"))
        shown = {key: value for key, value in keys.items()
                 if key in ("rate", "groups") or random.random() < 0.7}
        return self.node(kind, [source], shape, **shown)

    def chain(self):
        """One change after another, which all may happen in place; a bystander may read between."""
        name = self.pick()
        for _ in range(self.random.randint(2, 5)):
            name = self.pointwise(name)
        return name

    def add(self):
        first = self.pick()
        inputs = [first] + [self.pick(self.shapes[first])
                            for _ in range(self.random.choice((1, 1, 2, 3, 9)))]
        self.random.shuffle(inputs)
        name = self.node("add", inputs, self.shapes[first])
        if self.random.random() < 0.6:
            self.pointwise(name)

    def residual(self):
        """x + f(x), with one to three layers in f."""
        start = name = self.pick()
        c = self.shapes[start][0]
        if c > MOST_CHANNELS:
            return
        for _ in range(self.random.randint(1, 3)):
            name = self.conv(name, c, keep_size=True)
            if self.shapes[name] != self.shapes[start]:
                return
            if self.random.random() < 0.4:
                name = self.pointwise(name)
        inputs = [name, start] + ([name] if self.random.random() < 0.2 else [])
        self.random.shuffle(inputs)
        name = self.node("add", inputs, self.shapes[start])
        if self.random.random() < 0.6:
            self.pointwise(name)

    def concat(self):
        first = self.pick()
        size = self.shapes[first][1:]
        fitting = [name for name, shape in self.shapes.items() if shape[1:] == size]
        inputs = [first] + [self.random.choice(fitting)
                            for _ in range(self.random.choice((1, 1, 2, 3, 8)))]
        self.random.shuffle(inputs)
        channels = sum(self.shapes[name][0] for name in inputs)
        if channels * size[0] * size[1] <= MOST_VALUES:
            self.node("concat", inputs, (channels, *size))

    def vector(self, source=None):
        """A value without height and width."""
        source = source or self.pick()
        c, h, w = self.shapes[source]
        kind = self.random.choice(("globalavgpool", "flatten", "dense", "dense"))
        if kind == "dense":
            units = self.random.choice((1, 3, 8, 17))
            return self.node(kind, [source], (units, 1, 1), units=units, **self.layer_keys())
        return self.node(kind, [source], (c if kind == "globalavgpool" else c * h * w, 1, 1))

    GROWTH = (conv, conv, conv, pool, pointwise, pointwise, chain, add, add, residual, residual,
              concat, vector)

    def finish(self):
        """All that nothing reads yet comes together, in logits."""
        names = [name if self.shapes[name][1:] == (1, 1) else self.vector(name)
                 for name in self.unused or ["input"]]
        if len(names) > 1 and self.random.random() < 0.5:
            channels = sum(self.shapes[name][0] for name in names)
            names = [self.node("concat", names, (channels, 1, 1))]
        logits = [self.node("dense", [name], (self.classes, 1, 1), units="classes")
                  for name in names]
        if len(logits) > 1:
            self.node("add", logits, (self.classes, 1, 1))
