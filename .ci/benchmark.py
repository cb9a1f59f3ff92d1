# SPDX-License-Identifier: MIT
"""Measure what README.md claims, and draw its pictures.

    python .ci/benchmark.py                                speed, small, xor: no file needed
    python .ci/benchmark.py spam.csv                       everything, about 15 minutes
    python .ci/benchmark.py spam.csv --part almeida        one part
    python .ci/benchmark.py spam.csv --pictures .github    the pictures only

Needs what elman_min.py needs, scikit-learn for naive Bayes and the SVMs, and matplotlib for the
pictures. Nothing in the recipe was tuned on the fold seeds used here, 0 to 9.
"""
import argparse
import os
import platform
import random
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path
from unittest import mock

import pandas as pd
import torch
from torch import nn

try:
    from sklearn import naive_bayes, pipeline, svm
    from sklearn.feature_extraction import text
except ImportError:
    text = None

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import elman_min
from elman_min import ElmanRNN, evaluate, read_messages, split, tokenize

Predict = Callable[[Iterable[str]], torch.Tensor]  # messages -> probability of spam, (N,)
Fit = Callable[[pd.DataFrame, int], Predict]  # messages to train on, seed -> predict

RECIPE = "Elman"
SENTENCE = ("Free entry in 2 a wkly comp to win FA Cup final tkts 21st May 2005. Text FA to 87121 "
            "to receive entry question(std txt rate)T&C's apply 08452810075over18's")

# ---- Models ----

class Layers(nn.Module):
    """The network built from torch's own layers, around `cell`: nn.RNN or nn.LSTM."""

    def __init__(self, cell: Callable, input_size: int, hidden_size: int, output_size: int = 1):
        super().__init__()
        self.embedding = nn.Embedding(input_size, hidden_size)
        self.cell = cell(hidden_size, hidden_size, batch_first=True)
        self.output = nn.Linear(hidden_size, output_size)

    @property
    def W_xh(self) -> torch.Tensor:  # `predict` reads the device from it
        return self.embedding.weight

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, object]:
        states, last = self.cell(self.embedding(x))
        return self.output(states), last

def words(message: str) -> list[str]:
    """The tokens of a message without the three that describe it as a whole."""
    return tokenize(message)[3:] or ["<empty>"]

def fit_network(frame: pd.DataFrame, seed: int, network: Callable = ElmanRNN,
                tokens: Callable = tokenize, **options: float) -> Predict:
    """Run `elman_min.train`, with another network or tokenizer in place of its own."""
    swapped = partial(mock.patch.multiple, elman_min, ElmanRNN=network, tokenize=tokens)
    with swapped():
        model, vocabulary = elman_min.train(frame, seed=seed, **options)  # type: ignore[arg-type]
        assert isinstance(model, ElmanRNN) == (network is ElmanRNN)
        assert len(vocabulary.encode(SENTENCE)) == len(tokens(SENTENCE))

    def predict(messages: Iterable[str]) -> torch.Tensor:
        with swapped():
            return elman_min.predict(model, vocabulary, messages)
    return predict

def fit_classic(features: Callable, classifier: Callable, frame: pd.DataFrame, seed: int
                ) -> Predict:
    """Fit a scikit-learn classifier. It has no seed."""
    model = pipeline.make_pipeline(features(), classifier()).fit(frame["message"], frame["target"])

    def predict(messages: Iterable[str]) -> torch.Tensor:
        if hasattr(model, "predict_proba"):
            return torch.tensor(model.predict_proba(messages)[:, 1])
        return torch.tensor(model.decision_function(messages)).sigmoid()  # above .5 where it is > 0
    return predict

def bigrams(tokens: Callable) -> "text.TfidfVectorizer":  # lowercase=True would hide the capitals
    return text.TfidfVectorizer(tokenizer=tokens, token_pattern=None, lowercase=False,
                                ngram_range=(1, 2), sublinear_tf=True)

def bigrams_and_characters() -> "pipeline.FeatureUnion":
    return pipeline.make_union(bigrams(tokenize), text.TfidfVectorizer(
        analyzer="char", ngram_range=(2, 5), sublinear_tf=True))

def word_counts() -> "text.CountVectorizer":
    return text.CountVectorizer(tokenizer=words, token_pattern=None, lowercase=False)

CLASSIC: dict[str, Fit] = {} if text is None else {
    "naive Bayes on words": partial(fit_classic, word_counts, naive_bayes.MultinomialNB),
    "linear SVM on bigrams": partial(fit_classic, partial(bigrams, words), svm.LinearSVC),
    "… and message tokens": partial(fit_classic, partial(bigrams, tokenize), svm.LinearSVC),
    "… and character 2- to 5-grams": partial(fit_classic, bigrams_and_characters, svm.LinearSVC)}
NETWORKS: dict[str, Fit] = {
    "LSTM": partial(fit_network, network=partial(Layers, nn.LSTM)),
    "Elman without word dropout": partial(fit_network, word_dropout=0.0),
    "Elman without message tokens": partial(fit_network, tokens=words),
    RECIPE: fit_network}

# ---- Accuracy ----

def auc(probability: torch.Tensor, target: torch.Tensor) -> float:
    """Area under the ROC curve: how often a spam message scores higher than a ham message."""
    rank, spam = pd.Series(probability.tolist()).rank(), pd.Series(target.tolist()) == 1
    return (rank[spam].mean() - (spam.sum() + 1) / 2) / (~spam).sum()

def stratified_folds(frame: pd.DataFrame, seed: int, folds: int = 5
                     ) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Return (train, test) for each fold, with the same share of spam in every fold."""
    frame = frame.sample(frac=1, random_state=seed)
    fold = frame.groupby("target").cumcount() % folds
    return [(frame[fold != k], frame[fold == k]) for k in range(folds)]

def measure(fit: Fit, train: pd.DataFrame, test: pd.DataFrame, seed: int
            ) -> tuple[dict[str, float], pd.DataFrame]:
    """Train on `train`. Return the metrics on `test`, and its probabilities and targets."""
    start = time.perf_counter()
    predict = fit(train, seed)
    seconds = time.perf_counter() - start
    probability, target = predict(test["message"]), torch.tensor(test["target"].tolist())
    pairs = pd.DataFrame({"probability": probability.tolist(), "target": target.tolist()})
    print(".", end="", flush=True)
    return {**evaluate(probability, target), "auc": auc(probability, target), "s": seconds}, pairs

def cross_validate(fit: Fit, frame: pd.DataFrame, seeds: Iterable[int]
                   ) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the metrics of each run, and all held-out probabilities and targets."""
    runs = [measure(fit, *parts, seed) for seed in seeds for parts in stratified_folds(frame, seed)]
    return pd.DataFrame([metrics for metrics, _ in runs]), pd.concat([pairs for _, pairs in runs])

def mean_sd(runs: pd.DataFrame, key: str) -> str:
    spread = f" ± {runs[key].std():.4f}" if len(runs) > 1 else ""
    return f"{runs[key].mean():.4f}{spread}".replace("0.", ".")

def run_accuracy(rows: pd.DataFrame, models: dict[str, Fit], seeds: int
                 ) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Cross-validate each model. Return the metrics, and the last model's predictions."""
    frame, results, pairs = rows.drop_duplicates("message"), {}, pd.DataFrame()
    print(f"{len(frame):,} distinct messages, stratified 5-fold cross-validation, fold seeds 0 to "
          f"{seeds - 1}, threshold .5, one thread; mean ± standard deviation")
    for name, fit in models.items():
        print(f"{name:<31}", end=" ", flush=True)
        runs, pairs = cross_validate(fit, frame, range(seeds))
        results[name] = runs
        print(f" {len(runs)} runs: F1 {mean_sd(runs, 'f1')}, min "
              f"{runs['f1'].min():.4f}; MCC {mean_sd(runs, 'mcc')}; AUC {mean_sd(runs, 'auc')}; "
              f"{runs['s'].median():.1f} s")
    return results, pairs

def run_almeida(rows: pd.DataFrame, models: dict[str, Fit]) -> dict[str, pd.DataFrame]:
    """Train on the first 30 % of the rows and test on the rest, as Almeida et al. did."""
    cut, results = round(0.3 * len(rows)), {}
    print(f"first {cut:,} rows to train, {len(rows) - cut:,} to test, repeats left in")
    for name, fit in models.items():
        print(f"{name:<31}", end=" ", flush=True)
        seeds = 10 if name == RECIPE else 5 if name in NETWORKS else 1  # the others have no seed
        runs = results[name] = pd.DataFrame(
            [measure(fit, rows[:cut], rows[cut:], seed)[0] for seed in range(seeds)])
        print(f" {seeds} runs: accuracy {mean_sd(runs, 'accuracy')}; MCC {mean_sd(runs, 'mcc')}")
    return results

def run_calibration(pairs: pd.DataFrame) -> None:
    """Print what the model reports where half of the messages are spam.

    A logistic regression of the target on the logit z gives the true probability as
    sigmoid(a z + b), which is .5 at z = -b / a.
    """
    p = torch.tensor(pairs["probability"].tolist(), dtype=torch.double).clamp(1e-7, 1 - 1e-7)
    y = torch.tensor(pairs["target"].tolist(), dtype=torch.double)
    x, w = torch.stack([p.logit(), torch.ones_like(p)], 1), torch.tensor([1.0, 0.0]).double()
    for _ in range(25):  # Newton's method
        p = (x @ w).sigmoid()
        w += torch.linalg.solve(x.T @ (x * (p * (1 - p))[:, None]), x.T @ (y - p))
    a, b = w
    print(f"{len(y):,} held-out predictions: where the true probability is .5, the model reports "
          f"{(-b / a).sigmoid():.2f}; slope {a:.2f} (below 1 is overconfident)")

def table(accuracy: dict[str, pd.DataFrame], almeida: dict[str, pd.DataFrame]) -> str:
    """Return the table of README.md: mean ± standard deviation over the runs."""
    lines = ["| model | F1 | MCC | training | Almeida accuracy | Almeida MCC |",
             "| --- | --- | --- | --- | --- | --- |"]
    for name, runs in accuracy.items():
        cells = [name, mean_sd(runs, "f1"), mean_sd(runs, "mcc"), f"{runs['s'].median():.1f} s",
                 *(mean_sd(almeida[name], key) for key in ("accuracy", "mcc") if almeida)]
        lines.append(f"| {' | '.join(cells)} |")
    machine = f"{os.cpu_count()} cores ({platform.machine()}), torch {torch.__version__}"
    return "\n".join([*lines, "", f"One thread of {machine}."])

# ---- A small data set ----

SLOTS = {
    "name": ["Anna", "Ben", "Carla", "David", "Emma", "Frank", "Grace", "Henry", "Irene", "Jack"],
    "day": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "tomorrow", "next week"],
    "firm": ["Northwind", "Contoso", "Globex", "Initech", "City Library", "Umbrella Ltd"],
    "topic": ["budget", "project plan", "holiday photos", "quarterly report", "lecture notes"],
    "amount": ["$50", "$500", "$5000", "£250", "£1,000", "£1,000,000", "€100", "€750"],
    "thing": ["watches", "loans", "insurance", "software", "pills", "gift cards", "meds"],
    "prize": ["phone", "holiday", "voucher", "car", "cruise", "laptop"]}
TEMPLATES = [
    ["Re: meeting on {day}", "Invoice 1042 from {firm}", "Your {firm} order has shipped",
     "Minutes of the {topic} meeting", "Re: {topic}, question from {name}",
     "Lunch with {name} {day}?", "{name} shared the {topic} with you",
     "Reminder: {topic} due {day}", "Receipt for your payment of {amount} to {firm}"],
    ["You have won {amount}", "Cheap {thing} online, 70% off", "Claim your free {prize} now!!!",
     "Make {amount} a week from home", "Congratulations {name}, you won a {prize}",
     "{amount} off all {thing}, today only", "FREE {prize} waiting for you, {name}",
     "Re: your {prize}, claim before {day}", "Low rate {thing}, apply {day}"]]

def subjects(seed: int, n: int = 187, ham: float = 0.6) -> pd.DataFrame:
    """Return `n` distinct e-mail subjects made from templates."""
    draw = random.Random(seed).choice
    rows: dict[str, int] = {}
    while len(rows) < n:
        target = int(len(rows) >= ham * n)
        message = re.sub(r"{(\w+)}", lambda slot: draw(SLOTS[slot[1]]), draw(TEMPLATES[target]))
        rows[message] = target
    return pd.DataFrame({"target": rows.values(), "message": rows.keys()})

def run_small(seeds: int) -> None:
    """Cross-validate the recipe on few and short messages."""
    f1 = pd.concat([cross_validate(fit_network, subjects(seed), [seed])[0]["f1"]
                    for seed in range(seeds)])
    print(f" 187 distinct e-mail subjects from templates, 5 folds, {len(f1)} runs: F1 "
          f"{f1.mean():.3f} ± {f1.std():.3f}, min {f1.min():.3f}")

# ---- Speed ----

def time_once(model: nn.Module, x: torch.Tensor) -> float:
    """Time one forward and backward pass."""
    model.zero_grad()
    start = time.perf_counter()
    model(x)[0].sum().backward()
    return time.perf_counter() - start

def run_speed(pairs: int = 40) -> None:
    """Compare ElmanRNN with nn.Embedding, nn.RNN and nn.Linear, in turn on the same batch."""
    print("forward and backward of one batch, time of ElmanRNN / time of nn.Embedding + nn.RNN + "
          "nn.Linear,\nvocabulary 3,500, one thread, median of interleaved pairs\n"
          "messages  words  units  ratio  ElmanRNN")
    for B, T, H in ((B, T, H) for B in (32, 64) for T in (25, 120) for H in (64, 128)):
        ours, peer, x = ElmanRNN(3500, H), Layers(nn.RNN, 3500, H), torch.randint(3500, (B, T))
        times = [(time_once(ours, x), time_once(peer, x)) for _ in range(pairs + 3)][3:]  # warm
        print(f"{B:>8} {T:>6} {H:>6} {statistics.median(a / b for a, b in times):>6.2f} "
              f"{1e3 * statistics.median(a for a, _ in times):>6.1f} ms", flush=True)

# ---- Elman's sequential XOR ----

def xor_stream(n: int, seed: int) -> torch.Tensor:
    """Return n bits, float (n, 1), in which every third is the XOR of the two before it."""
    a, b = torch.randint(2, (2, n // 3), generator=torch.Generator().manual_seed(seed))
    return torch.stack([a, b, a ^ b], 1).reshape(-1, 1).float()

@cache
def xor_errors() -> list[float]:
    """Train a network to predict the next bit. Return its error at each of 12 bits in a row.

    The error is the root mean squared error over a stream that was not trained on.
    """
    stream = xor_stream(3000, seed=0).view(50, 60, 1)
    torch.manual_seed(0)
    model = ElmanRNN(1, 16)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(150):
        optimizer.zero_grad()
        logits, _ = model(stream[:, :-1])
        nn.functional.binary_cross_entropy_with_logits(logits, stream[:, 1:]).backward()
        optimizer.step()
    fresh = xor_stream(12 * 250, seed=1)
    with torch.no_grad():
        y = model(torch.cat([torch.zeros(1, 1), fresh[:-1]])[None])[0].sigmoid()  # (1, 3000, 1)
    return (y[0] - fresh).square().view(250, 12).mean(0).sqrt().tolist()

def run_xor() -> None:
    """Print Figure 3 of the paper: only the third bit of three can be predicted."""
    errors = xor_errors()
    print("error of the prediction of each bit; always saying one half has an error of .50")
    for tenths in range(5, -1, -1):
        marks = ("*" if round(10 * error) == tenths else " " for error in errors)
        print(f"  .{tenths}  " + "   ".join(marks))
    print("  bit " + " ".join(f"{place:<3}" for place in range(1, 13)))
    print("      " + " ".join(f"{error:.2f}"[1:] for error in errors))

# ---- Pictures ----
# A page shows them 360 to 720 pixels wide, on white or on black: opaque, tall, large type.

def draw_sentence(plt, rows: pd.DataFrame, path: Path) -> None:
    """Draw the probability of spam after each token of a message that was not trained on."""
    frame = rows.drop_duplicates("message")
    frame = frame[~frame["message"].str.contains(SENTENCE[:27], regex=False)]
    model, vocabulary = elman_min.train(split(frame)[0])
    with torch.no_grad():
        y = model(vocabulary.encode(SENTENCE)[None])[0].sigmoid().flatten().tolist()
    tokens, width, size, gap = tokenize(SENTENCE), 45.0, 9.2, 0.8  # widths in characters
    cells, left, row = [], 0.0, 0
    for token, p in zip(tokens, y):
        wide = max(len(token), 4) + 0.7
        if left + wide > width:
            left, row = 0.0, row + 1
        cells.append((left, row, wide, token, p))
        left += wide + gap
    height = 3.1 * (row + 1) + 3
    figure = plt.figure(figsize=(3.6, 3.6 * height / width * 1.7))
    axes = figure.add_axes((0.03, 0.02, 0.94, 0.96), xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    axes.text(0, 0.9, "probability of spam after each token", size=size, va="center")
    for left, row, wide, token, p in cells:
        top = 2.4 + 3.1 * row
        axes.add_patch(plt.Rectangle((left, top), wide, 2.7, color=plt.cm.coolwarm(0.1 + 0.8 * p)))
        for label, line, weight in ((token, 0.85, "bold"), (f"{p:.2f}", 2.0, "normal")):
            axes.text(left + wide / 2, top + line, label, size=size * 0.9, weight=weight,
                      family="monospace", ha="center", va="center",
                      color="white" if abs(p - 0.5) > 0.35 else "black")
    figure.savefig(path, dpi=200, facecolor="white")

def draw_xor(plt, path: Path) -> None:
    """Draw Figure 3 of the paper."""
    errors, places = xor_errors(), list(range(1, 13))
    figure, axes = plt.subplots(figsize=(3.6, 2.4), layout="constrained")
    axes.plot(places, errors, color="0.5", zorder=1)
    axes.scatter(places, errors, color=["#c2352b" if k % 3 == 0 else "0.3" for k in places])
    axes.set(xlabel="bit; every third (red) is the XOR\nof the two before it",
             ylabel="error", xticks=places, ylim=(0, 0.6))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=200, facecolor="white")

def run_pictures(rows: pd.DataFrame, folder: Path) -> None:
    """Draw sentence.png, where there are messages to train on, and xor.png."""
    try:
        from matplotlib import pyplot as plt
    except ImportError:
        print("matplotlib is not installed: no pictures")
        return
    folder.mkdir(parents=True, exist_ok=True)
    if not rows.empty:
        draw_sentence(plt, rows, folder / "sentence.png")
    draw_xor(plt, folder / "xor.png")
    for path in sorted(folder.glob("*.png")):
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")

# ---- Command line ----

# In this order; those from almeida on need a file.
PARTS = {"speed": "20 s", "xor": "2 s", "small": "5 s", "almeida": "1 minute",
         "accuracy": "10 to 15 minutes", "calibration": "1 s after accuracy, else 3 minutes"}

def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what README.md claims.")
    parser.add_argument("csv", nargs="?", help="labeled messages, see spam.csv.README")
    parser.add_argument("--part", action="append", choices=PARTS,
                        help="measure this part only; can be repeated")
    parser.add_argument("--seeds", type=int, default=4, choices=range(1, 11), metavar="1..10",
                        help="repetitions of the 5 folds, each with another seed (%(default)s)")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER",
                        help="draw sentence.png and xor.png there, and measure no other part "
                             "unless --part names it")
    args = parser.parse_args()
    parts = args.part or ([] if args.pictures else [*PARTS] if args.csv else [*PARTS][:3])
    if not args.csv and set(parts).intersection([*PARTS][3:]):
        parser.error("this part needs a file of messages, see spam.csv.README")
    try:
        rows = read_messages(args.csv) if args.csv else pd.DataFrame()
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if text is None:
        print("scikit-learn is not installed: no naive Bayes, no SVM")
    models = {**CLASSIC, **NETWORKS}
    accuracy: dict[str, pd.DataFrame] = {}
    almeida: dict[str, pd.DataFrame] = {}
    pairs = pd.DataFrame()
    for part in (part for part in PARTS if part in parts):
        print(f"\n== {part}: about {PARTS[part]}", flush=True)
        if part == "speed":
            run_speed()
        elif part == "xor":
            run_xor()
        elif part == "small":
            run_small(args.seeds)
        elif part == "almeida":
            almeida = run_almeida(rows, models)
        elif part == "accuracy":
            accuracy, pairs = run_accuracy(rows, models, args.seeds)
            print(f"\n{table(accuracy, almeida)}")
        else:
            if pairs.empty:
                pairs = run_accuracy(rows, {RECIPE: fit_network}, args.seeds)[1]
            run_calibration(pairs)
    if args.pictures:
        print("\n== pictures: about 10 s", flush=True)
        run_pictures(rows, args.pictures)

if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
