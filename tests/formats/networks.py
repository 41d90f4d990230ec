"""Writes Bayesian networks with the writers that people use, and what each writer's own model holds: networks.py FOLDER

NAME.json describes the file that it names by the writer's own model: each variable's states and parents, and its
probabilities as decimal text, one row for each configuration of the parents, of which the last changes fastest.
`every_network_that_a_writer_wrote_is_read_back_to_the_last_digit` (consumer/score/src/bayes/tests) compares.

    repository  the networks of the bnlearn repository, which pgmpy brings along, as its reader reads them
    pgmpy       BIFWriter and XMLBIFWriter
    bnlearn     write.bif of R's bnlearn 5.2, reimplemented here so that no R is needed
    pyagrum     saveBN, to BIF and XMLBIF

Left out: a network of aGrUM's in which a variable and all its parents have one state (its BIF has no distribution for that),
and one with '<' or '&' in a name (its XMLBIF does not escape them). Such files are refused.
"""

import gzip
import itertools
import json
import multiprocessing
import random
import re
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pgmpy
import pyagrum as gum
from pgmpy.factors.discrete import TabularCPD
from pgmpy.models import DiscreteBayesianNetwork
from pgmpy.readwrite import BIFReader, BIFWriter, XMLBIFWriter

# The network with the names that aGrUM's XMLBIF does not escape.
SYMBOLS = "symbols"

REPOSITORY = Path(pgmpy.__file__).parent / "utils" / "example_models"


class Variable:
    """A variable, and its distribution in each configuration of its parents, the last of which changes fastest."""

    def __init__(self, name, states, parents=(), rows=None, seed=0):
        self.name, self.states, self.parents = name, list(states), list(parents)
        count = int(np.prod([len(parent.states) for parent in self.parents], dtype=int))
        self.rows = rows or [drawn(len(self.states), f"{name} {seed} {row}") for row in range(count)]


def drawn(states, seed):
    """A distribution that sums to 1 except for rounding, with all digits of a float."""
    generator = random.Random(seed)
    weights = [generator.random() ** 4 for _ in range(states)]
    return [weight / sum(weights) for weight in weights]


def networks():
    """Networks by name, each with something that is hard to write or to read."""
    margin = Variable("Gross margin", ["very low", "low", "high", "very high"])
    late = Variable("late-payer", ["not at all", "a bit", "yes"], [margin])
    yield "blanks", [margin, late, Variable("is it a risk", ["no", "so so", "yes"], [late, margin])]

    grade = Variable("grade", [0, 1, 2])
    ratio = Variable("ratio", [-1.5, 0.0, 2.5], [grade])
    yield "numbers", [grade, ratio, Variable("x1", [10, 9], [ratio, grade])]

    flag = Variable("flag", [True, False])
    yield "booleans", [flag, Variable("other", [False, True], [flag])]

    parents = [Variable(f"p{place}", ["a", "b", "c"][: 2 + place % 2]) for place in range(8)]
    yield "parents", [*parents, Variable("child", ["yes", "no", "unknown"], parents)]

    a = Variable("a", ["y", "n"], rows=[[1.0, 0.0]])
    b = Variable("b", ["x", "y", "z"], [a], rows=[[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    yield "certain", [a, b, Variable("c", ["only"], [b], rows=[[1.0]] * 3)]

    noise = Variable("noise", ["a", "b"], rows=[[1.0000000000000002, 0.0]])
    tiny = Variable("tiny", ["a", "b", "c"], [noise], rows=[[1e-300, 5e-324, 1.0], [0.1 + 0.2, 0.1, 0.6]])
    thirds = Variable("thirds", ["a", "b", "c"], [tiny], rows=[[1 / 3] * 3, [1e-05, 0.00001234567891, 0.99997765432109], [2 / 3, 1 / 3, 0.0]])
    yield "rounding", [noise, tiny, thirds]

    large = Variable("large", [f"s{state}" for state in range(255)], rows=[[0.004] * 250 + [0.0] * 5])
    yield "large", [large, Variable("binary", ["s0", "s1"], [large])]

    umlaut = Variable("Größe", ["klein", "groß"])
    yield "letters", [umlaut, Variable("état", ["été", "hiver", "日本"], [umlaut])]

    cut = Variable("net worth (EUR)", pd.cut(np.array([1.0, 7.0, 12.0]), [0, 5, 10, 15]).categories)
    left = Variable("left", pd.cut(np.array([1.0, 7.0]), [0, 5, 10], right=False).categories, [cut])
    yield "intervals", [cut, left, Variable("y", ["[low]", "(high)"], [left, cut])]

    yield SYMBOLS, [Variable("x", ["<5", "5-10", "10+", "n/a", "50%", "a|b", "x:y", "R&D"])]

    for seed in range(20):
        yield f"drawn-{seed}", drawn_network(seed)


def drawn_network(seed):
    generator = random.Random(seed)
    variables = []
    for place in range(generator.randint(1, 12)):
        parents = generator.sample(variables, generator.randint(0, min(3, place)))
        states = [f"s{state}" for state in range(generator.randint(2, 5))]
        variables.append(Variable(f"v{generator.randint(0, 999)}_{place}", states, parents, seed=seed))
    return variables


def of_pgmpy(variables):
    model = DiscreteBayesianNetwork()
    model.add_nodes_from([variable.name for variable in variables])
    model.add_edges_from([(parent.name, variable.name) for variable in variables for parent in variable.parents])
    for variable in variables:
        family = [variable, *variable.parents]
        model.add_cpds(
            TabularCPD(
                variable.name,
                len(variable.states),
                np.array(variable.rows).T,
                [parent.name for parent in variable.parents] or None,
                [len(parent.states) for parent in variable.parents] or None,
                {member.name: member.states for member in family},
            )
        )
    return model


def variables_by_pgmpy(model, state=str):
    for name in sorted(model.nodes()):
        cpd = model.get_cpds(name)
        yield {
            "name": name,
            "states": [state(known) for known in cpd.state_names[name]],
            "parents": cpd.variables[1:],
            "probabilities": [[str(value) for value in row] for row in cpd.get_values().T],
        }


def rounded_by_pgmpy(model, digits):
    for variable in variables_by_pgmpy(model):
        rows = variable["probabilities"]
        yield variable | {"probabilities": [[str(np.round(float(value), digits)) for value in row] for row in rows]}


def of_pyagrum(variables):
    network = gum.BayesNet("drawn by us")
    for variable in variables:
        network.add(gum.LabelizedVariable(variable.name, "", [str(state) for state in variable.states]))
    for variable in variables:
        for parent in variable.parents:
            network.addArc(parent.name, variable.name)
        places = itertools.product(*(range(len(parent.states)) for parent in variable.parents))
        for place, row in zip(places, variable.rows, strict=True):
            names = [parent.name for parent in variable.parents]
            network.cpt(variable.name)[dict(zip(names, place))] = row
    return network


def variables_by_pyagrum(network, name=str, number=repr):
    for node in network.nodes():
        cpt = network.cpt(node)
        child, *parents = (cpt.variable(place) for place in range(cpt.nbrDim()))
        rows = itertools.product(*(range(parent.domainSize()) for parent in parents))
        at = gum.Instantiation(cpt)
        yield {
            "name": name(child.name()),
            "states": [name(label) for label in child.labels()],
            "parents": [name(parent.name()) for parent in parents],
            "probabilities": [
                [number(value(cpt, at, [(child, state), *zip(parents, row)])) for state in range(child.domainSize())]
                for row in rows
            ],
        }


def value(cpt, at, places):
    for variable, place in places:
        at.chgVal(variable, place)
    return cpt.get(at)


def bif_name_of_pyagrum(text):
    name = re.sub(r"[^_a-zA-Z0-9]+", "_", text)
    return f"_{name}" if name[0].isdigit() and not name.isdigit() else name


def six_digits(number):
    """As a C++ stream writes it."""
    return f"{number:.6g}"


def of_bnlearn(variables):
    """The text that write.bif of R's bnlearn writes, and the network that it stands for."""
    expected = [
        {
            "name": variable.name,
            "states": [sanitized(state) for state in variable.states],
            "parents": [parent.name for parent in variable.parents],
            "probabilities": [format_of_r(row) for row in variable.rows],
        }
        for variable in variables
    ]
    text = "network unknown {\n}\n"
    for variable in expected:
        name, states = variable["name"], variable["states"]
        text += f"variable {name} {{\n  type discrete [ {len(states)} ] {{ {', '.join(states)} }};\n}}\n"
    by_name = {variable["name"]: variable for variable in expected}
    for variable in expected:
        name, parents, rows = variable["name"], variable["parents"], variable["probabilities"]
        if not parents:
            text += f"probability ( {name} ) {{\n  table {', '.join(rows[0])};\n}}\n"
            continue
        text += f"probability ( {name} | {', '.join(parents)} ) {{\n"
        configurations = list(itertools.product(*(by_name[parent]["states"] for parent in parents)))
        # In R the first parent changes fastest.
        for place in sorted(range(len(rows)), key=lambda place: place_in_r(place, parents, by_name)):
            text += f"  ({', '.join(configurations[place])}) {', '.join(rows[place])};\n"
        text += "}\n"
    return text, expected


def place_in_r(place, parents, by_name):
    digits = []
    for parent in reversed(parents):
        place, digit = divmod(place, len(by_name[parent]["states"]))
        digits.append(digit)
    return digits


def sanitized(state):
    return re.sub(r"[,{}()#%]", "_", str(state))


def format_of_r(numbers):
    """format(numbers, nsmall = 1) of R: seven significant digits where one of them needs so many, all in one notation."""
    digits, exponents, whole = [], [], []
    for number in numbers:
        mantissa, exponent = f"{number:.6e}".split("e")
        digits.append(len(mantissa.replace(".", "").rstrip("0")) or 1)
        exponents.append(int(exponent))
        whole.append(max(1, exponents[-1] + 1))
    right = max(0, *(digit - exponent - 1 for digit, exponent in zip(digits, exponents)))
    fixed = max(whole) + right + (right > 0)
    wide = max(exponents) >= 100 or min(exponents) <= -100
    scientific = max(digits) + (max(digits) > 1) + (5 if wide else 4)
    if fixed <= scientific:
        texts = [f"{number:.{max(right, 1)}f}" for number in numbers]
    else:
        texts = [f"{number:.{max(digits) - 1}e}" for number in numbers]
    width = max(map(len, texts))
    return [text.rjust(width) for text in texts]


def read_by_pgmpy(packed):
    return list(variables_by_pgmpy(BIFReader(string=gzip.decompress(packed.read_bytes()).decode()).get_model()))


def main(folder):
    folder.mkdir(parents=True)

    def note(file, variables):
        expected = [variable | {"probabilities": plain(variable["probabilities"])} for variable in variables]
        (folder / f"{file}.json").write_text(json.dumps({"file": file, "variables": expected}))

    repository = sorted(REPOSITORY.glob("*.bif.gz"))
    with multiprocessing.Pool() as pool:
        for packed, expected in zip(repository, pool.imap(read_by_pgmpy, repository)):
            (folder / packed.name).write_bytes(packed.read_bytes())
            note(packed.name, expected)

    for name, variables in networks():
        model = of_pgmpy(variables)
        BIFWriter(model).write(folder / f"{name}.pgmpy.bif")
        note(f"{name}.pgmpy.bif", variables_by_pgmpy(model))
        BIFWriter(model, round_values=3).write(folder / f"{name}.rounded.pgmpy.bif")
        note(f"{name}.rounded.pgmpy.bif", rounded_by_pgmpy(model, 3))
        xml = XMLBIFWriter(model)
        xml.write(folder / f"{name}.pgmpy.xml")
        note(f"{name}.pgmpy.xml", variables_by_pgmpy(model, xml._make_valid_state_name))

        text, expected = of_bnlearn(variables)
        (folder / f"{name}.bnlearn.bif").write_text(text)
        note(f"{name}.bnlearn.bif", expected)

        by_pyagrum(folder, note, name, of_pyagrum(variables))

    by_pyagrum(folder, note, "types", gum.fastBN("a[0,3]->b[-1.5,0,2.5]->c{x|y|z}<-a;d{-2|0|7}->c"))


def by_pyagrum(folder, note, name, network):
    gum.saveBN(network, str(folder / f"{name}.pyagrum.bif"), allowModificationWhenSaving=True)
    note(f"{name}.pyagrum.bif", variables_by_pyagrum(network, bif_name_of_pyagrum))
    if name != SYMBOLS:
        gum.saveBN(network, str(folder / f"{name}.pyagrum.bifxml"))
        note(f"{name}.pyagrum.bifxml", variables_by_pyagrum(network, number=six_digits))


def plain(rows):
    """Decimal text that any reader of numbers takes, of the same value."""
    return [[str(Decimal(number.strip())) for number in row] for row in rows]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
