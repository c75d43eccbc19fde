"""Random graphs, as configs: all node types, odd sizes, and edges that try the plan's sharing of
memory. A value may be read many times, joined with itself, changed in place while another reads
it; sections may stand in any order.
"""
CHANNELS = (1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 17, 24, 33)
ACTIVATIONS = ("relu", "relu6", "leaky_relu", "elu", "sigmoid", "tanh", "gelu", "silu", "hardswish")
MOST_VALUES, MOST_CHANNELS = 3000, 48  # of an image in one node; of a convolution's input


class Graph:
    def __init__(self, random):
        """random: a random.Random, which decides everything."""
        self.random = random
        self.classes = random.choice((2, 3, 5, 10))
        self.batch = random.choice((2, 3, 4, 5, 7, 9, 16, 17))
        self.threads = random.choice((1, 2, 3, 4))
        side = random.choice((1, 3, 5, 6, 7, 8, 9, 12))
        self.shape = (random.choice((1, 1, 2, 3, 3, 4, 5, 6, 7, 12, 16)), side,
                      random.choice((side, side, max(1, side - 2), side + 3)))
        self.shapes = {"input": self.shape}
        self.unused = []
        self.sections = []  # [name, keys, inputs]
        for _ in range(random.randint(2, 14)):
            random.choice(self.GROWTH)(self)
        self.finish()

    # What a node may be.

    def node(self, kind, inputs, shape, **keys):
        name = f"n{len(self.sections)}"
        self.sections.append([name, {"type": kind, **keys}, inputs])
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
            if random.random() < 0.3:
                kernel[1] = random.randint(1, most_kernel)
            if random.random() < 0.2:
                stride[1] = random.choice((1, 2, 3))
            dilation = 1 if is_pool else random.choice((1, 1, 1, 2, 3))
            extent = [(k - 1) * dilation + 1 for k in kernel]
            keys = {"kernel": f"{kernel[0]}x{kernel[1]}", "stride": f"{stride[0]}x{stride[1]}"}
            form = random.choice(("valid", "same", "same_lower", "N", "HxW", "explicit"))
            most = min(kernel) - 1 if is_pool else 3
            t, l, b, r = [random.randint(0, most) for _ in range(4)]
            ceil = is_pool and form not in ("same", "same_lower") and random.random() < 0.3
            if form == "N":
                l = b = r = t
            if form == "HxW":
                b, r = t, l
            if form == "valid":
                t = l = b = r = 0
            keys["padding"] = {"N": f"{t}", "HxW": f"{t}x{l}",
                               "explicit": f"{t}, {l}, {b}, {r}"}.get(form, form)
            if dilation > 1:
                keys["dilation"] = str(dilation)
            if ceil:
                keys["ceil"] = "true"
            size = []
            for axis, before, after, i in ((shape[1], t, b, 0), (shape[2], l, r, 1)):
                if form in ("same", "same_lower"):
                    size.append(-(-axis // stride[i]))
                    continue
                span = axis + before + after - extent[i]
                out = span // stride[i] + 1 if span >= 0 else 0
                if ceil and span % stride[i] and out and out * stride[i] < axis + before:
                    out += 1
                size.append(out)
            if min(size) >= 1:
                return keys, size

    def conv(self, source=None, channels=None, keep_size=False):
        random = self.random
        source = source or self.pick()
        c, h, w = self.shapes[source]
        if c > MOST_CHANNELS:
            return self.vector(source)
        channels = channels or random.choice(CHANNELS)
        if keep_size:
            k = random.choice((1, 3, 4))
            keys, size = {"kernel": k, "padding": random.choice(("same", "same_lower"))}, (h, w)
        else:
            keys, size = self.window((c, h, w), 5, False)
        if channels * size[0] * size[1] > MOST_VALUES:
            channels = 1 + channels % 3
        groups = [g for g in range(2, c + 1) if c % g == 0 and channels % g == 0]
        if groups and random.random() < 0.4:
            keys["groups"] = random.choice(groups)
        elif random.random() < 0.1 and not keep_size and c * size[0] * size[1] < MOST_VALUES:
            keys["groups"] = channels = c  # depthwise
        if random.random() < 0.4:
            keys["bias"] = "false"
        if random.random() < 0.6:
            keys["activation"] = random.choice(ACTIVATIONS)
        return self.node("conv", [source], (channels, *size), filters=channels, **keys)

    def pool(self):
        source = self.pick()
        keys, size = self.window(self.shapes[source], 4, True)
        kind = self.random.choice(("maxpool", "maxpool", "avgpool"))
        return self.node(kind, [source], (self.shapes[source][0], *size), **keys)

    def pointwise(self, source=None):
        source = source or self.pick()
        c, h, w = self.shapes[source]
        kind, keys = self.random.choice((*ACTIVATIONS, "relu", "batchnorm", "dropout")), {}
        if kind == "batchnorm" and h * w < 4:  # few values have hardly a variance
            kind = "relu"
        if kind == "batchnorm":
            keys = {"momentum": self.random.choice((0.1, 0.3, 1)), "eps": "1e-3"}
        if kind == "dropout":
            keys = {"rate": 0}
        if kind == "leaky_relu":
            keys = {"slope": self.random.choice((0, 0.01, 0.3, 1.5))}
        if kind == "elu":
            keys = {"alpha": self.random.choice((1, 0.6))}
        return self.node(kind, [source], (c, h, w), **keys)

    def chain(self):
        """One change after another, which all may happen in place; a bystander may read between."""
        name = self.pick()
        for _ in range(self.random.randint(2, 5)):
            name = self.pointwise(name)
        return name

    def add(self):
        first = self.pick()
        inputs = [first] + [self.pick(self.shapes[first])
                            for _ in range(self.random.choice((1, 1, 2, 3)))]
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
        inputs = [first] + [self.random.choice(fitting) for _ in range(self.random.randint(1, 3))]
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
            keys = {"units": self.random.choice((1, 3, 8, 17))}
            if self.random.random() < 0.5:
                keys["activation"] = self.random.choice(ACTIVATIONS)
            if self.random.random() < 0.3:
                keys["bias"] = "false"
            return self.node(kind, [source], (keys["units"], 1, 1), **keys)
        return self.node(kind, [source], (c if kind == "globalavgpool" else c * h * w, 1, 1))

    GROWTH = (conv, conv, conv, pool, pointwise, chain, add, add, residual, residual, concat,
              vector)

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

    def text(self):
        sections = list(self.sections)
        if self.random.random() < 0.4:  # only the last one has its place
            sections = self.random.sample(sections[:-1], len(sections) - 1) + sections[-1:]
        lines, above = [], "input"
        for name, keys, inputs in sections:
            lines += ["", f"[{name}]"]
            if inputs != [above] or self.random.random() < 0.2:
                lines.append(f"inputs = {', '.join(inputs)}")
            lines += [f"{key} = {value}" for key, value in keys.items()]
            above = name
        return "\n".join(lines[1:]) + "\n"
