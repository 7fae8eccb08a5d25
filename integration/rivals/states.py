"""The states that compare.py saves: made here, with the shapes of published benchmarks; at a scale of 1 of 10 to 100 MB."""

from dataclasses import dataclass


@dataclass(frozen=True)
class State:
    """Cells that make a state, look at it, change one thing, and change it back; and one that uses it after a load."""

    name: str
    shape: str
    imports: str
    build: str
    names: tuple[str, ...]
    read: str
    change: str
    back: str
    use: str


def states(scale: float) -> list[State]:
    """All of them; small is small at any scale."""

    def n(count: float) -> int:
        return max(1, int(count * scale))

    return [
        State(
            name="small", shape="a few numbers and strings, a frame of 100 rows", imports="import pandas as pd",
            build="x = {'a': 1, 'b': [1.5, 'two']}\n"
                  "df = pd.DataFrame({'v': range(100), 'w': [str(i) for i in range(100)]})",
            names=("x", "df"), read="len(x['b'])", change="x['a'] = 2", back="x['a'] = 1", use="x['b'][1]",
        ),
        State(
            name="arrays", shape="Chipmink's agripred and msciedaw: an array and a frame of numbers",
            imports="import numpy as np\nimport pandas as pd",
            build="rng = np.random.default_rng(1)\n"
                  f"big = rng.random({n(8e6)})\n"
                  f"df = pd.DataFrame(rng.random(({n(4e5)}, 10)), columns=list('abcdefghij'))\n"
                  "first = float(big[0])\n"
                  "del rng",
            names=("big", "df", "first"), read="float(big.sum())", change="big[0] = 7.0", back="big[0] = first",
            use="float(big[-1] + df.a[5])",
        ),
        State(
            name="tweets", shape="Chipmink's skltweet: texts, a vocabulary, a sparse matrix", imports="import scipy.sparse",
            build=f"texts = [f'tweet number {{i}} of somebody about {{i * 7919 % 10007}}' for i in range({n(2e5)})]\n"
                  f"vocabulary = {{f'word{{i}}': i for i in range({n(1e5)})}}\n"
                  f"counts = scipy.sparse.random({n(2e4)}, 5000, density=0.002, format='csr', random_state=3)",
            names=("texts", "vocabulary", "counts"), read="len(texts) + counts.nnz",
            change="vocabulary['one more'] = 1", back="del vocabulary['one more']", use="texts[-1] + str(counts.nnz)",
        ),
        State(
            name="objects", shape="Chipmink's ai4code: dicts in lists in a dict", imports="",
            build="notebooks = {}\n"
                  f"for i in range({n(6e3)}):\n"
                  "    cells = [{'id': f'{i}-{j}', 'type': 'code', 'source': f'x{j} = {i} + {j}'} for j in range(10)]\n"
                  "    notebooks[f'nb{i}'] = {'cells': cells, 'rank': list(range(i, i + 10))}\n"
                  "del i, cells\n"
                  "first = notebooks['nb0']['cells'][0]['source']",
            names=("notebooks", "first"), read="len(notebooks['nb0']['cells'])",
            change="notebooks['nb0']['cells'][0]['source'] = 'changed'",
            back="notebooks['nb0']['cells'][0]['source'] = first", use="notebooks['nb1']['cells'][2]['source']",
        ),
        State(
            name="append", shape="Chipmink's nb_append: a list that grows", imports="",
            build=f"numbers = [i * 7919 % 1000003 for i in range({n(5e5)})]",
            names=("numbers",), read="len(numbers)", change="numbers.append(7)", back="del numbers[-1]", use="numbers[-1]",
        ),
        State(
            name="update", shape="Chipmink's nb_update: a list of which an element changes", imports="",
            build=f"values = [i * 0.37 for i in range({n(5e5)})]\nfirst = values[1000]",
            names=("values", "first"), read="len(values)", change="values[1000] = -1.0", back="values[1000] = first",
            use="values[-1]",
        ),
        State(
            name="mixed", shape="An array, a frame and many dicts, together", imports="import numpy as np\nimport pandas as pd",
            build="rng = np.random.default_rng(4)\n"
                  f"big = rng.random({n(6e6)})\n"
                  f"df = pd.DataFrame({{'a': rng.random({n(1e6)}), 'b': rng.random({n(1e6)})}})\n"
                  f"rows = [{{'i': i, 'n': str(i)}} for i in range({n(75e3)})]\n"
                  "del rng",
            names=("big", "df", "rows"), read="len(rows)", change="df['f'] = df.a + df.b", back="del df['f']",
            use="float(big[-1]) + rows[-1]['i']",
        ),
    ]
