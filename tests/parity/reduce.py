"""Makes a case that fails smaller, as long as it fails: what is left shows where to look.

Knows nothing of programs: whether a case still fails is asked. A candidate need not be a network at
all; whoever is asked says no to such a one.
"""
import time

REQUIRED = ("type", "filters", "kernel", "units")


def reduce(case, fails, seconds=120):
    """The smallest case that was found, and how many were tried. No single candidate is left that
    fails, unless the time was up."""
    search = Search(fails, time.monotonic() + seconds)
    stage = 0
    while stage < len(STAGES):
        smaller = search.exhaust(case, STAGES[stage])
        stage = stage + 1 if smaller is case or stage == 0 else 0  # what was in the way may be gone
        case = smaller
    return case, search.tries


class Search:
    def __init__(self, fails, end):
        self.fails, self.end, self.tries = fails, end, 0

    def exhaust(self, case, changes):
        """Goes round the candidates until none fails."""
        place, since = 0, 0  # candidates since one failed
        smaller = candidates(case, changes)
        while since < len(smaller) and time.monotonic() < self.end:
            place %= len(smaller)
            self.tries += 1
            if self.fails(smaller[place]):
                case, since = smaller[place], 0
                smaller = candidates(case, changes)
            else:
                place, since = place + 1, since + 1
        return case


def candidates(case, changes):
    """Cases with a little less each."""
    return [smaller for change in changes for smaller in change(case)]


def with_nodes(case, nodes):
    """The case of those nodes that lead to the last one."""
    inputs = {name: sources for name, _, sources in nodes}
    needed, open_names = set(), [nodes[-1][0]]
    while open_names:
        name = open_names.pop()
        if name != "input" and name not in needed:
            needed.add(name)
            open_names += inputs[name]
    smaller = case.copy()
    smaller.nodes = [[name, dict(keys), list(sources)] for name, keys, sources in nodes
                     if name in needed]
    return smaller


def cut_behind(case):
    """Logits from the middle of the network."""
    before = [node for node in case.nodes if node[0] != "logits"]
    logits = [[*before, ["logits", {"type": "dense", "units": "classes"}, [name]]]
              for name in ["input", *(node[0] for node in before)]]
    made = [with_nodes(case, nodes) for nodes in logits]
    return [smaller for smaller in made if len(smaller.nodes) < len(case.nodes)]


def rewire(case, name, source):
    """What read node `name` reads `source`."""
    return with_nodes(case, [
        [other, keys, [source if i == name else i for i in sources]]
        for other, keys, sources in case.nodes])


def cut_before(case):
    """A node reads the data itself."""
    return [with_nodes(case, case.nodes[:i] + [[name, keys, ["input"] * len(sources)]] +
                       case.nodes[i + 1:])
            for i, (name, keys, sources) in enumerate(case.nodes) if set(sources) != {"input"}]


def bypass(case):
    """One node less: who read it reads what it read; instead of the last one, what that read."""
    made = [rewire(case, name, source) for name, _, sources in case.nodes[:-1]
            for source in dict.fromkeys(sources)]
    for source in set(case.nodes[-1][2]) - {"input"}:
        made.append(with_nodes(case, sorted(case.nodes[:-1], key=lambda node: node[0] == source)))
    return made


def drop_input(case):
    made = []
    for at, (name, keys, sources) in enumerate(case.nodes):
        for i in range(len(sources) if len(sources) > 2 else 0):
            less = [name, keys, sources[:i] + sources[i + 1:]]
            made.append(with_nodes(case, case.nodes[:at] + [less] + case.nodes[at + 1:]))
    return made


def in_order(case):
    """Every node below those that it reads."""
    placed, nodes = {"input"}, []
    while len(nodes) < len(case.nodes):
        name, keys, sources = next(node for node in case.nodes
                                   if node[0] not in placed and placed.issuperset(node[2]))
        placed.add(name)
        nodes.append([name, keys, sources])
    return [with_nodes(case, nodes)] if nodes != case.nodes else []


def simplify_training(case):
    made = []
    for key in case.train:
        smaller = case.copy()
        del smaller.train[key]
        made.append(smaller)
    return made


def numbers_below(number):
    return sorted({1, 2, 3, number // 2, number - 1} & set(range(1, number)))


def simplify_keys(case):
    made = []
    for i, (_, keys, _) in enumerate(case.nodes):
        for key, value in keys.items():
            smaller = case.copy()
            if key not in REQUIRED:
                del smaller.nodes[i][1][key]
                made.append(smaller)
            numbers = str(value).split("x")
            for place, text in enumerate(numbers):
                for less in numbers_below(int(text)) if text.isdecimal() else []:
                    smaller = case.copy()
                    smaller.nodes[i][1][key] = "x".join(
                        [*numbers[:place], str(less), *numbers[place + 1:]])
                    made.append(smaller)
    return made


def shrink(case):
    """Less data."""
    made = []
    for i in range(3):
        for less in numbers_below(case.shape[i]):
            smaller = case.copy()
            smaller.shape = (*case.shape[:i], less, *case.shape[i + 1:])
            made.append(smaller)
    for field, least in (("threads", 1), ("images", 1), ("batch", 1), ("classes", 2)):
        for less in numbers_below(getattr(case, field)):
            smaller = case.copy()
            setattr(smaller, field, max(less, least))
            if smaller != case:
                made.append(smaller)
    return made


# Much less first; less data last, for which then nothing stands in the way.
STAGES = ((cut_behind, cut_before, bypass, drop_input, in_order),
          (simplify_training, simplify_keys), (shrink,))
