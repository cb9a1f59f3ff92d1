# SPDX-License-Identifier: MIT
"""Measure what README.md claims. It needs requirements.txt and scikit-learn.

    python .ci/benchmark.py spam.csv --seeds 10     all parts, about an hour
    python .ci/benchmark.py --part memory           one part; this one needs no file
"""
import argparse
import importlib.util
import os
import platform
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import ModuleType

import pandas as pd
import torch
from torch import nn

try:
    from sklearn import dummy, metrics, naive_bayes, pipeline, svm
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
except ImportError:
    sys.exit("benchmark.py needs scikit-learn: pip install scikit-learn")

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import elman_min
from elman_min import ElmanRNN, Vocabulary, build_vocabulary, tokenize

PROJECT = Path(elman_min.__file__).parent

# ---- Models ----
# A model is a function of the messages to train on and a seed. It returns another function,
# from messages to their probabilities of spam (N,).

Fit = Callable[[pd.DataFrame, int], Callable[[Iterable[str]], torch.Tensor]]


class Layers(nn.Module):
    """A network of torch's own layers around `cell`."""

    def __init__(self, input_size: int, hidden_size: int, cell: Callable = nn.LSTM):
        super().__init__()
        self.embedding = nn.Embedding(input_size, hidden_size)
        self.cell = cell(hidden_size, hidden_size, batch_first=True)
        self.output = nn.Linear(hidden_size, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
        states, _ = self.cell(self.embedding(x))
        return self.output(states), None


class WithoutRecurrence(ElmanRNN):
    """tanh of the sum of the rows of all tokens so far: their order does not matter."""

    def forward(self, x: torch.Tensor, hidden: object = None) -> tuple[torch.Tensor, torch.Tensor]:
        sums = nn.functional.embedding(x, self.W_xh).cumsum(dim=1)
        states = torch.tanh(sums + self.b_h)
        return states @ self.W_hy + self.b_y, states


class GRU(ElmanRNN):
    """The gated recurrent unit of README.md's exercise."""

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__(input_size, 3 * hidden_size)
        k = hidden_size**-0.5
        self.W_hh = nn.Parameter(torch.empty(hidden_size, 3 * hidden_size))
        self.W_hy = nn.Parameter(torch.empty(hidden_size, 1))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -k, k)

    def forward(self, x: torch.Tensor, hidden: object = None) -> tuple[torch.Tensor, torch.Tensor]:
        xW_plus_b = nn.functional.embedding(x, self.W_xh) + self.b_h
        h = xW_plus_b.new_zeros(len(x), len(self.W_hh))
        history = []
        for xW_plus_b_t in xW_plus_b.unbind(dim=1):
            x_z, x_r, x_n = xW_plus_b_t.chunk(3, dim=1)
            h_z, h_r, h_n = (h @ self.W_hh).chunk(3, dim=1)
            z = torch.sigmoid(x_z + h_z)
            r = torch.sigmoid(x_r + h_r)
            n = torch.tanh(x_n + r * h_n)
            h = z * h + (1 - z) * n
            history.append(h)
        states = torch.stack(history, dim=1)
        return states @ self.W_hy + self.b_y, states


class WordVocabulary(Vocabulary):
    """Encode words only, without the tokens about the message."""

    def encode(self, message: str) -> torch.Tensor:
        ids = super().encode(message)[3:-1]
        return ids if len(ids) > 0 else torch.tensor([0])


class ShuffledVocabulary(Vocabulary):
    """Encode the words in random order, between the tokens about the message."""

    def encode(self, message: str) -> torch.Tensor:
        ids = super().encode(message)
        words = ids[3:-1]
        return torch.cat([ids[:3], words[torch.randperm(len(words))], ids[-1:]])


def fit_network(frame: pd.DataFrame, seed: int, network: Callable = ElmanRNN,
                vocabulary_class: type[Vocabulary] = Vocabulary, **options) -> Callable:
    """Train a network of 32 units as `python elman_min.py train` does, but with this seed."""
    torch.manual_seed(seed)
    vocabulary = vocabulary_class(build_vocabulary(frame).idx_to_token)
    model = network(len(vocabulary), 32)
    elman_min.train(model, vocabulary, frame, report=lambda *_: None, **options)
    return partial(elman_min.predict, model, vocabulary)


def fit_shuffled(frame: pd.DataFrame, seed: int) -> Callable:
    """Train on words in random order, to be tested on the messages as they are."""
    torch.manual_seed(seed)
    vocabulary = build_vocabulary(frame)
    model = ElmanRNN(len(vocabulary), 32)
    elman_min.train(model, ShuffledVocabulary(vocabulary.idx_to_token), frame,
                    report=lambda *_: None)
    return partial(elman_min.predict, model, vocabulary)


def fit_module(frame: pd.DataFrame, seed: int, module: ModuleType) -> Callable:
    """Train as fit_network does, with another version of elman_min."""
    torch.manual_seed(seed)
    vocabulary = module.build_vocabulary(frame)
    model = module.ElmanRNN(len(vocabulary), 32)
    module.train(model, vocabulary, frame, report=lambda *_: None)
    return partial(module.predict, model, vocabulary)


def fit_sklearn(frame: pd.DataFrame, seed: int, model: pipeline.Pipeline) -> Callable:
    model.fit(frame["message"], frame["target"])
    if hasattr(model, "predict_proba"):
        return lambda messages: torch.tensor(model.predict_proba(messages)[:, 1])
    # An SVM decides for spam above 0, where the sigmoid is above .5.
    return lambda messages: torch.tensor(model.decision_function(messages)).sigmoid()


def sklearn_model(*steps: object) -> Fit:
    return partial(fit_sklearn, model=pipeline.make_pipeline(*steps))


def words(message: str) -> list[str]:
    return tokenize(message)[3:-1]


def bigrams(tokens: Callable) -> TfidfVectorizer:
    return TfidfVectorizer(tokenizer=tokens, token_pattern=None, lowercase=False,
                           ngram_range=(1, 2), sublinear_tf=True)


COUNTS = CountVectorizer(tokenizer=words, token_pattern=None, lowercase=False)
CHARACTERS = TfidfVectorizer(analyzer="char", ngram_range=(2, 5), sublinear_tf=True)
BOTH = pipeline.make_union(bigrams(tokenize), CHARACTERS)
MODELS: list[tuple[str, Fit, int]] = [  # the number is that of seeds for Almeida
    ("always ham", sklearn_model(dummy.DummyClassifier()), 1),
    ("words only: naive Bayes", sklearn_model(COUNTS, naive_bayes.MultinomialNB()), 1),
    ("words only: linear SVM, bigrams", sklearn_model(bigrams(words), svm.LinearSVC()), 1),
    ("words only: Elman", partial(fit_network, vocabulary_class=WordVocabulary), 5),
    ("linear SVM, bigrams", sklearn_model(bigrams(tokenize), svm.LinearSVC()), 1),
    ("linear SVM, bigrams and 2 to 5 characters", sklearn_model(BOTH, svm.LinearSVC()), 1),
    ("LSTM", partial(fit_network, network=Layers), 5),
    ("Elman without recurrence", partial(fit_network, network=WithoutRecurrence), 5),
    ("Elman trained on shuffled words", fit_shuffled, 5),
    ("Elman without word dropout", partial(fit_network, word_dropout=0.0), 5),
    ("Elman", fit_network, 20),
]

# ---- Measuring ----


def measure(fit: Fit, frame: pd.DataFrame, test: pd.DataFrame, seed: int) -> dict[str, float]:
    """Train on `frame`. Return the metrics on `test` and the seconds of training."""
    start = time.perf_counter()
    predict = fit(frame, seed)
    seconds = time.perf_counter() - start
    probability = predict(test["message"])
    result = elman_min.evaluate(probability, test["target"])
    result["auc"] = metrics.roc_auc_score(test["target"], probability)
    result["seconds"] = seconds
    print(".", end="", file=sys.stderr, flush=True)
    return result


def cross_validate(fit: Fit, rows: pd.DataFrame, seeds: int) -> pd.DataFrame:
    """Return the metrics of 5 folds for each seed. All folds have the same share of spam."""
    runs = []
    for seed in range(seeds):
        frame = rows.drop_duplicates("message").sample(frac=1, random_state=seed)
        fold = frame.groupby("target").cumcount() % 5
        for k in range(5):
            runs.append(measure(fit, frame[fold != k], frame[fold == k], seed))
    return pd.DataFrame(runs)


def mean_sd(values: pd.Series) -> str:
    """Return such as 0.9712 ± 0.0101, or the mean alone if the values do not differ."""
    spread = f" ± {values.std():.4f}" if values.std() > 0 else ""
    return f"{values.mean():.4f}{spread}"


def print_row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def print_header(*names: str) -> None:
    print()
    print_row(*names)
    print_row(*["---" for _ in names])


def run_accuracy(rows: pd.DataFrame, seeds: int) -> None:
    """Print cross-validation, of which README.md has five rows, and Almeida's protocol."""
    cut = round(0.3 * len(rows))
    print(f"\n{rows['message'].nunique():,} distinct messages, 5 folds, seeds 0 to {seeds - 1}; "
          f"Almeida: the first {cut:,} of {len(rows):,} rows to train")
    print_header("model", "F1", "MCC", "AUC", "training", "Almeida accuracy", "Almeida MCC")
    for name, fit, almeida_seeds in MODELS:
        runs = cross_validate(fit, rows, seeds)
        almeida = pd.DataFrame([measure(fit, rows[:cut], rows[cut:], seed)
                                for seed in range(almeida_seeds)])
        print_row(name, mean_sd(runs["f1"]), mean_sd(runs["mcc"]), mean_sd(runs["auc"]),
                  f"{runs['seconds'].median():.1f} s", mean_sd(almeida["accuracy"]),
                  mean_sd(almeida["mcc"]))


def time_once(model: nn.Module, x: torch.Tensor) -> float:
    """Return the seconds of one forward and backward pass."""
    model.zero_grad()
    start = time.perf_counter()
    logits, _ = model(x)
    logits.sum().backward()
    return time.perf_counter() - start


def run_speed() -> None:
    """Print the time of ElmanRNN as a share of that of nn.Embedding, nn.RNN and nn.Linear."""
    print("\nforward and backward, ElmanRNN / torch's layers, median of 100 pairs")
    print_header("messages x words x units", "ratio")
    for B, T, H in ((32, 25, 32), (32, 25, 64), (64, 120, 64), (64, 30, 128)):
        ours = ElmanRNN(3500, H)
        theirs = Layers(3500, H, nn.RNN)
        x = torch.randint(3500, (B, T))
        ratios = [time_once(ours, x) / time_once(theirs, x) for _ in range(100)]
        print_row(f"{B} x {T} x {H}", f"{pd.Series(ratios).median():.2f}")


# ---- Memory ----
FILLERS = "please right now if you can as soon possible".split()


def with_words_between(count: int, words: list[str]) -> pd.DataFrame:
    """Return the toy with `count` random words between the two things of every message."""
    generator = random.Random(0)
    frame = elman_min.toy_messages()
    frame["message"] = [
        re.sub(r"(your \w+).*( for my)",
               rf"\1 {' '.join(generator.choices(words, k=count))}\2", message)
        for message in frame["message"]]
    return frame


def accuracy(predict: Callable, frame: pd.DataFrame) -> float:
    return elman_min.evaluate(predict(frame["message"]), frame["target"])["accuracy"]


def print_ranges(name: str, runs: list[list[float]]) -> None:
    print_row(name, *[f"{min(values):.2f} to {max(values):.2f}" for values in zip(*runs)])


def run_memory() -> None:
    """Print over how many words Elman's network and the GRU learn to hold the first thing."""
    networks = (("Elman", ElmanRNN), ("GRU", GRU))
    counts = [4, 10, 20, 40]
    print("\nheld-out accuracy with so many words between in training, five seeds "
          "(the second thing alone: .78)")
    print_header("words between", *[str(count) for count in counts])
    for name, network in networks:
        runs = []
        for seed in range(5):
            parts = [elman_min.split(with_words_between(count, FILLERS)) for count in counts]
            runs.append([accuracy(fit_network(fit, seed, network), held_out)
                         for fit, held_out in parts])
        print_ranges(name, runs)
    counts = [4, 6, 10, 15, 20]
    print("\naccuracy after training on zero to four words between, tested on new words")
    print_header("words between", *[str(count) for count in counts])
    fit, _ = elman_min.split(elman_min.toy_messages())
    tests = [with_words_between(count, ["very"]).drop_duplicates() for count in counts]
    for name, network in networks:
        runs = []
        for seed in range(5):
            predict = fit_network(fit, seed, network)
            runs.append([accuracy(predict, test) for test in tests])
        print_ranges(name, runs)


# ---- Broken networks ----
BREAKS = [  # name; then texts of elman_min.py and what replaces them
    ("as it is", []),
    ("without tanh", [("torch.tanh(xW_plus_b_t + h @ self.W_hh)", "xW_plus_b_t + h @ self.W_hh")]),
    ("W_hh transposed", [("h @ self.W_hh)", "h @ self.W_hh.T)")]),
    ("sigmoid in place of tanh", [("torch.tanh(", "torch.sigmoid(")]),
    ("h.detach(), as in 1990", [("+ h @", "+ h.detach() @")]),
    ("mask off by one", [("< lengths[:, None]", "< lengths[:, None] - 1")]),
    ("h_0 at every step", [("            h = torch.tanh", "            state = torch.tanh"),
                           ("history.append(h)", "history.append(state)")]),
]


def load_module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("broken", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def failing_tests(folder: Path) -> list[str]:
    """Run the tests in `folder`, without the simulations and README's, and return which fail."""
    shutil.copy(PROJECT / "test_elman_min.py", folder)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--tb=no", "-k", "not simulation and not readme"],
        cwd=folder, stdout=subprocess.PIPE, text=True)
    assert result.returncode in (0, 1), result.stdout  # else the tests could not be run
    return list(dict.fromkeys(re.findall(r"^(?:FAILED|ERROR) \S+::(\w+)", result.stdout, re.M)))


def run_broken(rows: pd.DataFrame) -> None:
    """Print what accuracy tells of a network with one mistake in it, and what the tests do."""
    source = (PROJECT / "elman_min.py").read_text(encoding="utf-8")
    fit, held_out = elman_min.split(elman_min.toy_messages())
    print("\nF1 and AUC of 5 folds, seed 0")
    print_header("change", "F1", "AUC", "toy: accuracy", "failing tests")
    for name, changes in BREAKS:
        with tempfile.TemporaryDirectory() as folder:
            text = source
            for old, new in changes:
                assert text.count(old) == 1
                text = text.replace(old, new)
            path = Path(folder) / "elman_min.py"
            path.write_text(text, encoding="utf-8")
            fit_broken = partial(fit_module, module=load_module(path))
            runs = cross_validate(fit_broken, rows, 1)
            toy = accuracy(fit_broken(fit, 0), held_out)
            failing = failing_tests(Path(folder))
            print_row(name, f"{runs['f1'].mean():.3f}", f"{runs['auc'].mean():.4f}", f"{toy:.2f}",
                      f"{len(failing)} {', '.join(failing)}")


# ---- Command line ----
PARTS = ["speed", "accuracy", "memory", "broken"]


def run(args: argparse.Namespace) -> None:
    parts = args.part or PARTS
    needs_file = {"accuracy", "broken"} & set(parts)
    rows = elman_min.read_messages(args.csv) if needs_file else pd.DataFrame()
    print(f"One thread of {os.cpu_count()} cores ({platform.machine()}), torch {torch.__version__}")
    if "speed" in parts:
        run_speed()
    if "accuracy" in parts:
        run_accuracy(rows, args.seeds)
    if "memory" in parts:
        run_memory()
    if "broken" in parts:
        run_broken(rows)


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description="Measure what README.md claims.")
    add = parser.add_argument
    add("csv", nargs="?", default="spam.csv", help="labeled messages (default: %(default)s)")
    add("--part", action="append", choices=PARTS,
        help="measure this part; can be repeated (default: all)")
    add("--seeds", type=int, default=4, choices=range(1, 11), metavar="1..10",
        help="5-fold cross-validations in accuracy; README.md: 10 (default: %(default)s)")
    try:
        run(parser.parse_args())
    except (OSError, ValueError) as error:
        sys.exit(f"benchmark.py: {error}")
