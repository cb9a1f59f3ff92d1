# SPDX-License-Identifier: MIT
"""Measure what README.md claims, and draw its pictures.

    python .ci/benchmark.py spam.csv --seeds 10     all parts, about 25 minutes
    python .ci/benchmark.py --part speed            one part; this one needs no file
    python .ci/benchmark.py --pictures .github      the pictures only, a minute

Needs requirements.txt, scikit-learn, scipy and matplotlib.
"""
import argparse
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from pathlib import Path

import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.transforms import Bbox
from scipy.cluster import hierarchy
from sklearn import dummy, metrics, naive_bayes, pipeline, svm
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import elman_min
from elman_min import ElmanRNN, Vocabulary, tokenize

experiments = import_module("test_elman_min")  # mypy does not follow this import

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

def fit_elman(frame: pd.DataFrame, seed: int, **options) -> Callable:
    model, vocabulary = elman_min.train(frame, seed=seed, **options)
    return partial(elman_min.predict, model, vocabulary)

def fit_variant(frame: pd.DataFrame, seed: int, network: Callable = ElmanRNN,
                vocabulary_class: Callable = Vocabulary) -> Callable:
    """Train another network, or one with another vocabulary, in the same way."""
    torch.manual_seed(seed)
    vocabulary = vocabulary_class(frame["message"])
    model = network(len(vocabulary), 32)
    return fit_elman(frame, seed, model=model, vocabulary=vocabulary)

def fit_balanced(frame: pd.DataFrame, seed: int) -> Callable:
    """Train on as many ham as spam messages, as the blog post did."""
    spam = int(frame["target"].sum())
    return fit_elman(frame.groupby("target").head(spam), seed)

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
MODELS: list[tuple[str, Fit | None, int]] = [  # the number is that of seeds for Almeida
    ("always ham", sklearn_model(dummy.DummyClassifier()), 1),
    ("*words only*", None, 0),
    ("naive Bayes on words", sklearn_model(COUNTS, naive_bayes.MultinomialNB()), 1),
    ("linear SVM on words and bigrams", sklearn_model(bigrams(words), svm.LinearSVC()), 1),
    ("Elman on words", partial(fit_variant, vocabulary_class=WordVocabulary), 5),
    ("*with the three message tokens*", None, 0),
    ("linear SVM on words and bigrams", sklearn_model(bigrams(tokenize), svm.LinearSVC()), 1),
    ("… and character 2- to 5-grams", sklearn_model(BOTH, svm.LinearSVC()), 1),
    ("LSTM", partial(fit_variant, network=Layers), 5),
    ("Elman without word dropout", partial(fit_elman, word_dropout=0.0), 5),
    ("Elman", fit_elman, 10),
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
    """Return such as .9712 ± .0101, or the mean alone if the values do not differ."""
    spread = f" ± {values.std():.4f}" if values.std() > 0 else ""
    return f"{values.mean():.4f}{spread}".replace("0.", ".")

def print_row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)

def print_header(*names: str) -> None:
    print()
    print_row(*names)
    print_row(*["---" for _ in names])

def run_accuracy(rows: pd.DataFrame, seeds: int) -> None:
    """Print the table of README.md: cross-validation and Almeida's protocol."""
    cut = round(0.3 * len(rows))
    print(f"\n{rows['message'].nunique():,} distinct messages, 5 folds, seeds 0 to {seeds - 1}; "
          f"Almeida: the first {cut:,} of {len(rows):,} rows to train")
    print_header("model", "F1", "MCC", "AUC", "training", "Almeida accuracy", "Almeida MCC")
    for name, fit, almeida_seeds in MODELS:
        if fit is None:
            print_row(name, "", "", "", "", "", "")
            continue
        runs = cross_validate(fit, rows, seeds)
        almeida = pd.DataFrame([measure(fit, rows[:cut], rows[cut:], seed)
                                for seed in range(almeida_seeds)])
        print_row(name, mean_sd(runs["f1"]), mean_sd(runs["mcc"]), mean_sd(runs["auc"])[:5],
                  f"{runs['seconds'].median():.1f} s", mean_sd(almeida["accuracy"]),
                  mean_sd(almeida["mcc"]))

def run_balance(rows: pd.DataFrame) -> None:
    """Print what it costs to leave out ham until there is as much spam."""
    print("\n5 folds, seeds 0 and 1")
    print_header("training on", "F1", "precision", "recall")
    for name, fit in (("all messages", fit_elman), ("as much ham as spam", fit_balanced)):
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

# ---- Pictures ----
# A page may show them 360 pixels wide, on white or on black: opaque, narrow, in large type.

RED, BLUE, GREEN = "#c0281c", "#1f5fb4", "#1b7f3b"

def draw_tree(folder: Path) -> None:
    """Draw Figure 7 of the paper, and count how often word classes are whole subtrees."""
    groups = {"VERBS": experiments.VERBS, "ANIMATES": experiments.ANIMATE,
              "INANIMATES": experiments.INANIMATE}
    groups["NOUNS"] = groups["ANIMATES"] + groups["INANIMATES"]
    whole: Counter[str] = Counter()
    for seed in range(9, -1, -1):  # the last one is drawn
        means = experiments.simulate_lexical_classes(seed)["means"]  # (29, 150)
        tree = hierarchy.linkage(means.numpy(), method="complete", metric="cosine")
        _, nodes = hierarchy.to_tree(tree, rd=True)
        subtrees = [{experiments.WORDS[leaf] for leaf in node.pre_order()} for node in nodes]
        whole.update(name for name in groups if set(groups[name]) in subtrees)
    print(f"whole subtrees, on how many of ten seeds: {dict(whole)}")
    figure, axes = plt.subplots(figsize=(3.6, 5.4))
    leaves = hierarchy.dendrogram(tree, labels=experiments.WORDS, orientation="left", ax=axes,
                                  color_threshold=0, above_threshold_color="0.35",
                                  leaf_font_size=10)["ivl"]
    for name, color in (("VERBS", GREEN), ("ANIMATES", RED), ("INANIMATES", BLUE)):
        places = [leaves.index(word) for word in groups[name]]
        for place in places:
            axes.get_yticklabels()[place].set_color(color)
        middle = 10 * sum(places) / len(places) + 5  # leaves are 10 apart
        axes.text(1.33, middle, name, color=color, weight="bold", rotation=90, va="center",
                  transform=axes.get_yaxis_transform())
    axes.set_xlabel("cosine distance of\nmean hidden states")
    axes.spines["left"].set_visible(False)
    figure.savefig(folder / "tree.png")

def draw_words(folder: Path) -> None:
    """Draw Figure 6 of the paper: the error is high where a word begins."""
    figures = experiments.simulate_words(seed=0)
    text = figures["text"]
    onsets = figures["places"] == 0
    codes = {letter: f"{ord(letter) - 96:05b}" for letter in text}
    bits = experiments.encode(text, codes)                             # (N, 5)
    chance = (bits - bits.mean(dim=0)).square().mean(dim=1).sqrt()     # (N,)
    figure, panels = plt.subplots(4, figsize=(3.6, 4.8))
    first = onsets.tolist().index(True)
    for axes in panels:
        axes.axhline(chance.mean(), color="0.4", linestyle="--", linewidth=1)
        axes.plot(figures["error"][first:first + 16], color="0.8")
        for x in range(16):
            axes.text(x, figures["error"][first + x], text[first + x], weight="bold", size=11,
                      color=RED if onsets[first + x] else "black", ha="center", va="center")
        axes.set(xlim=(-0.6, 15.6), ylim=(-0.08, 0.8), xticks=[], yticks=[0, 0.4, 0.8])
        first += 16
    figure.supylabel("error (RMS)", size=10)
    axes.set_xlabel("letter by letter; red: a word begins;\ndashed line: chance")
    figure.savefig(folder / "words.png")

def draw_xor(folder: Path) -> None:
    """Draw Figure 3 of the paper, with the settings of simulate_xor."""
    triples = ["000", "011", "101", "110"]
    _, _, predicted, bits = experiments.predict_text(
        0, triples, 1000, {"0": "0", "1": "1"}, 3, pieces=30, steps=3, passes=60,
        learning_rate=0.03)
    errors = (predicted - bits)[2:2990].view(249, 12)  # from the first bit of three
    rms = errors.square().mean(dim=0).sqrt()
    figure, axes = plt.subplots(figsize=(3.6, 2.6))
    axes.axhline(0.5, color="0.4", linestyle="--")
    axes.plot(range(1, 13), rms, color="0.6", zorder=1)
    axes.scatter(range(1, 13), rms, color=["black", "black", RED] * 4)
    axes.set(xlabel="bit; every third (red) is the XOR of\nthe two before; dashed line: chance",
             ylabel="error (RMS)", xticks=range(1, 13), ylim=(0, 0.65))
    figure.savefig(folder / "xor.png")

def draw_toy(folder: Path) -> None:
    """Draw the probability of spam after each word of two toy messages that were held out."""
    frame, held_out = elman_min.split(elman_min.toy_messages(2000).drop_duplicates("message"))
    model, vocabulary = elman_min.train(frame)
    is_twin = held_out["message"].str.fullmatch("dear swap your (boat|pen) for my (boat|pen) ok")
    twins = held_out[is_twin]
    texts = []
    colors = []
    for message, target in zip(twins["message"], twins["target"]):
        p = elman_min.token_probabilities(model, vocabulary, message)[3:]
        row = [f"{token}\n{p_t:.2f}" for token, p_t in zip(words(message), p.tolist())]
        texts.append([*row, "spam" if target == 1 else "ham"])
        colors.append([*plt.get_cmap("coolwarm")(0.15 + 0.7 * p.numpy()), "white"])
    figure, axes = plt.subplots(figsize=(3.6, 1.5))
    axes.axis("off")
    axes.set_title("probability of spam after each word, then the truth", size=10)
    table = axes.table(texts, colors, cellLoc="center", bbox=Bbox.unit())
    table.auto_set_font_size(False)
    table.set_fontsize(10)
    for cell in table.get_celld().values():
        cell.set_edgecolor("white")
    figure.savefig(folder / "toy.png")

# ---- Command line ----

def run(args: argparse.Namespace) -> None:
    if args.pictures:
        plt.rc("figure", dpi=180)
        plt.rc("figure.constrained_layout", use=True)
        plt.rc("axes.spines", top=False, right=False)
        for draw in (draw_toy, draw_xor, draw_words, draw_tree):
            draw(args.pictures)
        return
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
    add("--pictures", type=Path, metavar="FOLDER", help="draw the pictures, measure nothing")
    try:
        run(parser.parse_args())
    except (OSError, ValueError) as error:
        sys.exit(f"benchmark.py: {error}")
