# SPDX-License-Identifier: MIT
"""Draw the pictures of README.md: `python .ci/benchmark.py --pictures .github`.

A page may show them 360 pixels wide, on white or on black: opaque, narrow, in large type.
"""
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.transforms import Bbox
from scipy.cluster import hierarchy

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import elman_min

experiments = import_module("test_elman_min")  # mypy does not follow this import

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
    """Draw Figure 3 of the paper: only every third bit can be predicted."""
    errors = experiments.simulate_xor(seed=0)["errors"][2:2990].view(249, 12)
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
        tokens = elman_min.tokenize(message)[3:]
        row = [f"{token}\n{p_t:.2f}" for token, p_t in zip(tokens, p.tolist())]
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

def draw_all(folder: Path) -> None:
    plt.rc("figure", dpi=180)
    plt.rc("figure.constrained_layout", use=True)
    plt.rc("axes.spines", top=False, right=False)
    for draw in (draw_toy, draw_xor, draw_words, draw_tree):
        draw(folder)
