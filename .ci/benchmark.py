# SPDX-License-Identifier: MIT
"""Measure what README.md claims. It needs requirements.txt and scikit-learn.

    python .ci/benchmark.py spam.csv --seeds 10     all parts, about 25 minutes
    python .ci/benchmark.py --part speed            one part; this one needs no file
"""
import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

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

class WordVocabulary(Vocabulary):
    """Encode words only, without the three tokens about the message."""

    def encode(self, message: str) -> torch.Tensor:
        ids = super().encode(message)[3:]
        return ids if len(ids) > 0 else torch.tensor([0])

def fit_network(frame: pd.DataFrame, seed: int, network: Callable = ElmanRNN,
                vocabulary_class: type[Vocabulary] = Vocabulary, **options) -> Callable:
    """Train a network of 32 units as `python elman_min.py train` does, but with this seed."""
    torch.manual_seed(seed)
    vocabulary = vocabulary_class(build_vocabulary(frame).idx_to_token)
    model = network(len(vocabulary), 32)
    elman_min.train(model, vocabulary, frame, report=lambda *_: None, **options)
    return partial(elman_min.predict, model, vocabulary)

def fit_balanced(frame: pd.DataFrame, seed: int) -> Callable:
    """Train on as many ham as spam messages, as the blog post did."""
    spam = int(frame["target"].sum())
    return fit_network(frame.groupby("target").head(spam), seed)

def fit_sklearn(frame: pd.DataFrame, seed: int, model: pipeline.Pipeline) -> Callable:
    model.fit(frame["message"], frame["target"])
    if hasattr(model, "predict_proba"):
        return lambda messages: torch.tensor(model.predict_proba(messages)[:, 1])
    # An SVM decides for spam above 0, where the sigmoid is above .5.
    return lambda messages: torch.tensor(model.decision_function(messages)).sigmoid()

def sklearn_model(*steps: object) -> Fit:
    return partial(fit_sklearn, model=pipeline.make_pipeline(*steps))

def words(message: str) -> list[str]:
    return tokenize(message)[3:]

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

def run_balance(rows: pd.DataFrame) -> None:
    """Print what it costs to leave out ham until there is as much spam."""
    print("\n5 folds, seeds 0 and 1")
    print_header("training on", "F1", "precision", "recall")
    for name, fit in (("all messages", fit_network), ("as much ham as spam", fit_balanced)):
        runs = cross_validate(fit, rows, 2)
        print_row(name, mean_sd(runs["f1"]), mean_sd(runs["precision"]), mean_sd(runs["recall"]))

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

# ---- Command line ----

def run(args: argparse.Namespace) -> None:
    parts = args.part or ["speed", "accuracy", "balance"]
    rows = pd.DataFrame() if parts == ["speed"] else elman_min.read_messages(args.csv)
    print(f"One thread of {os.cpu_count()} cores ({platform.machine()}), torch {torch.__version__}")
    if "speed" in parts:
        run_speed()
    if "accuracy" in parts:
        run_accuracy(rows, args.seeds)
    if "balance" in parts:
        run_balance(rows)

if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description="Measure what README.md claims.")
    add = parser.add_argument
    add("csv", nargs="?", default="spam.csv", help="labeled messages (default: %(default)s)")
    add("--part", action="append", choices=["speed", "accuracy", "balance"],
        help="measure this part; can be repeated (default: all)")
    add("--seeds", type=int, default=4, choices=range(1, 11), metavar="1..10",
        help="5-fold cross-validations in accuracy; README.md: 10 (default: %(default)s)")
    try:
        run(parser.parse_args())
    except (OSError, ValueError) as error:
        sys.exit(f"benchmark.py: {error}")
