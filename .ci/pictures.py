# SPDX-License-Identifier: MIT
"""Draw the pictures of README.md, each for light and for dark pages.

    python .ci/pictures.py .github      about three minutes

It needs requirements.txt, scipy and matplotlib. A page may show the pictures 360 pixels wide.
"""
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from matplotlib import pyplot as plt
from matplotlib.transforms import Bbox
from scipy.cluster import hierarchy

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import elman_min

experiments = import_module("test_elman_min")  # mypy does not follow this import

THEMES = {
    "light": {"text": "#1f2328", "line": "#59636e", "red": "#c0281c", "blue": "#1f5fb4",
              "green": "#1b7f3b"},
    "dark": {"text": "#f0f6fc", "line": "#9198a1", "red": "#ff7b72", "blue": "#79c0ff",
             "green": "#56d364"},
}

# ---- What the pictures show ----


def train_toy(seed: int) -> tuple[elman_min.ElmanRNN, elman_min.Vocabulary]:
    """Train on the toy. With seed 0, this is the network of `python elman_min.py train`."""
    fit, _ = elman_min.split(elman_min.toy_messages())
    torch.manual_seed(seed)
    vocabulary = elman_min.build_vocabulary(fit)
    model = elman_min.ElmanRNN(len(vocabulary), 32)
    elman_min.train(model, vocabulary, fit, report=lambda *_: None)
    return model, vocabulary


def toy_rows(model: elman_min.ElmanRNN, vocabulary: elman_min.Vocabulary
             ) -> list[list[tuple[str, float]]]:
    """Return two held-out messages as lists of (word, probability of spam after it).

    The three facts at the beginning are left out; those at the end are called "facts".
    """
    _, held_out = elman_min.split(elman_min.toy_messages())
    rows = []
    for message in ("hello swap your bike right now for my coat cheers",
                    "hello swap your coat right now for my bike cheers"):
        assert message in set(held_out["message"])
        probabilities = elman_min.token_probabilities(model, vocabulary, message).tolist()
        rows.append(list(zip([*message.split(), "(facts)"], probabilities[3:])))
    return rows


def tree() -> tuple[Any, list[str]]:
    """Return the tree of the words and zog, and the names of its leaves.

    Print on how many of ten seeds each word class, without zog, is a whole branch.
    """
    groups = {"verbs": experiments.VERBS, "animates": experiments.ANIMATE,
              "inanimates": experiments.INANIMATE,
              "nouns": experiments.ANIMATE + experiments.INANIMATE}
    whole: Counter[str] = Counter()
    for seed in range(9, -1, -1):  # the last one is drawn
        figures = experiments.simulate_lexical_classes(seed)
        links = hierarchy.linkage(figures["means"].numpy(), method="complete", metric="cosine")
        _, nodes = hierarchy.to_tree(links, rd=True)
        branches = [{experiments.WORDS[leaf] for leaf in node.pre_order()} for node in nodes]
        whole.update(name for name in groups if set(groups[name]) in branches)
    print(f"whole branches, on how many of ten seeds: {dict(whole)}")
    points = torch.cat([figures["means"], figures["zog"][None]])  # (30, 150)
    links = hierarchy.linkage(points.numpy(), method="complete", metric="cosine")
    return links, [*experiments.WORDS, "zog"]

# ---- Drawing ----


def draw_toy(rows: list[list[tuple[str, float]]], theme: dict[str, str]) -> plt.Figure:
    """Draw each word with the probability of spam after it: red for spam, blue for ham."""
    figure, axes = plt.subplots(figsize=(6.6, 1.0))
    axes.axis("off")
    texts = [[f"{word}\n{p:.2f}" for word, p in row] for row in rows]
    colors = [[plt.get_cmap("coolwarm")(0.15 + 0.7 * p) for _, p in row] for row in rows]
    table = axes.table(texts, colors, rowLabels=["spam", "ham"], rowColours=["none", "none"],
                       cellLoc="center", bbox=Bbox.unit())
    table.auto_set_font_size(False)
    table.set_fontsize(10)
    for (_, column), cell in table.get_celld().items():
        cell.set_linewidth(0)
        cell.set_text_props(color=theme["text"] if column < 0 else "black")
    return figure


def draw_probability(figures: list[Any], theme: dict[str, str]) -> plt.Figure:
    """Draw P(spam) after each thing, and the places of the things on a line of states."""
    probability, best, places, later = figures
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.6, 2.5))
    left.plot(best, color=theme["line"], linestyle="--", label="best possible")
    left.plot(probability, "o", color=theme["red"], label="network")
    left.set(ylabel="P(spam) after the first thing")
    right.plot(places, "o", color=theme["blue"], label="after the first thing")
    right.plot(later, "x", color=theme["green"], label="six words later")
    right.set(ylabel="first principal component")
    for axes in (left, right):
        axes.set_xticks(range(10), experiments.THINGS, rotation=60)
        axes.legend(frameon=False, fontsize=9)
    return figure


def draw_gradient(before: torch.Tensor, after: torch.Tensor, theme: dict[str, str]) -> plt.Figure:
    """Draw how strongly the last logit depends on each token, before and after training."""
    figure, axes = plt.subplots(figsize=(6.6, 2.6))
    axes.semilogy(before, "o-", color=theme["line"], label="before training")
    axes.semilogy(after, "o-", color=theme["red"], label="after training")
    tokens = ("length,capitals,digits,greeting,swap,your,FIRST,as,soon,as,possible,for,my,SECOND,"
              "farewell,facts")
    axes.set_xticks(range(16), tokens.split(","), rotation=60)
    axes.set(ylabel="gradient, relative\nto the last token")
    axes.legend(frameon=False, fontsize=9)
    return figure


def draw_memory(accuracy: list[list[float]], theme: dict[str, str]) -> plt.Figure:
    """Draw the accuracy with new words between the things, a line for each seed."""
    figure, axes = plt.subplots(figsize=(6.6, 2.2))
    for line in accuracy[1:]:
        axes.plot(line, color=theme["line"], linewidth=0.8)
    axes.plot(accuracy[0], color=theme["red"], linewidth=2)
    axes.axhline(7 / 9, color=theme["blue"], linestyle="--")
    axes.axvspan(0, 4, color=theme["line"], alpha=0.2, linewidth=0)
    axes.set(xlabel="new words between the two things", ylabel="accuracy", xlim=(0, 30),
             ylim=(0, 1.05))
    return figure


def draw_unrolled(theme: dict[str, str]) -> plt.Figure:
    """Draw three steps of the network: forward in blue, the gradient in red."""
    figure, axes = plt.subplots(figsize=(4.2, 2.5))
    axes.set(xlim=(-0.75, 3.05), ylim=(-0.35, 2.45))
    axes.axis("off")

    def arrow(start: tuple[float, float], end: tuple[float, float], color: str) -> None:
        axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": theme[color],
                                                  "linewidth": 1.6, "shrinkA": 0, "shrinkB": 0})

    for t, x in enumerate((0.0, 1.1, 2.2), start=1):
        for y, name in ((0, "x"), (1, "h"), (2, "y")):
            axes.text(x, y, f"${name}_{t}$", ha="center", va="center", size=13,
                      bbox={"boxstyle": "circle,pad=0.25", "facecolor": "none",
                            "edgecolor": theme["line"]})
        arrow((x, 0.25), (x, 0.75), "blue")
        arrow((x - 0.06, 1.25), (x - 0.06, 1.75), "blue")
        arrow((x + 0.06, 1.75), (x + 0.06, 1.25), "red")
        axes.text(x - 0.12, 0.5, "$W_{xh}$", ha="right", va="center", color=theme["blue"])
        axes.text(x - 0.12, 1.5, "$W_{hy}$", ha="right", va="center", color=theme["blue"])
    for x in (0.0, 1.1):
        arrow((x + 0.25, 1.06), (x + 0.85, 1.06), "blue")
        arrow((x + 0.85, 0.94), (x + 0.25, 0.94), "red")
        axes.text(x + 0.55, 1.14, "$W_{hh}$", ha="center", va="bottom", color=theme["blue"])
        axes.text(x + 0.58, 0.86, r"$W_{hh}^T$, $1-h^2$", ha="center", va="top", size=9.5,
                  color=theme["red"])
    return figure


def draw_xor(errors: torch.Tensor, theme: dict[str, str]) -> plt.Figure:
    """Draw Figure 3 of the paper: only every third bit can be predicted."""
    mean_squares = errors[2:2990].view(249, 12).square().mean(dim=0)
    figure, axes = plt.subplots(figsize=(4.2, 2.2))
    axes.axhline(0.5, color=theme["line"], linestyle="--")
    axes.plot(range(1, 13), mean_squares.sqrt(), color=theme["line"], zorder=1)
    axes.scatter(range(1, 13), mean_squares.sqrt(),
                 color=[theme["text"], theme["text"], theme["red"]] * 4)
    axes.set(xlabel="bit; every third (red) is the XOR of the two before;\n"
             "dashed line: a guess of one half", ylabel="error (RMS)", xticks=range(1, 13),
             ylim=(0, 0.65))
    return figure


def draw_tree(links: Any, words: list[str], theme: dict[str, str]) -> plt.Figure:
    """Draw Figure 7 of the paper, with the zog of Figure 8."""
    figure, axes = plt.subplots(figsize=(4.2, 5.6))
    leaves = hierarchy.dendrogram(links, labels=words, orientation="left", ax=axes,
                                  color_threshold=0, above_threshold_color=theme["line"],
                                  leaf_font_size=10)["ivl"]
    groups = (("VERBS", experiments.VERBS, "green"), ("ANIMATES", experiments.ANIMATE, "red"),
              ("INANIMATES", experiments.INANIMATE, "blue"))
    for name, members, color in groups:
        places = [leaves.index(word) for word in members]
        for place in places:
            axes.get_yticklabels()[place].set_color(theme[color])
        middle = 10 * sum(places) / len(places) + 5  # leaves are 10 apart
        axes.text(1.3, middle, name, color=theme[color], weight="bold", rotation=90, va="center",
                  transform=axes.get_yaxis_transform())
    axes.get_yticklabels()[leaves.index("zog")].set_weight("bold")
    axes.set_xlabel("cosine distance of mean hidden states")
    axes.spines["left"].set_visible(False)
    return figure


def main(folder: Path) -> None:
    networks = [train_toy(seed) for seed in range(10)]
    network = networks[0]
    rows = toy_rows(*network)
    probability, best = experiments.inside_probability(*network)
    places, _ = experiments.inside_states(*network, "", experiments.FIRST)
    later, _ = experiments.inside_states(*network, "as soon as possible", experiments.MY)
    torch.manual_seed(0)
    untrained = elman_min.ElmanRNN(len(network[1]), 32)
    before = experiments.inside_gradient(untrained, network[1])
    after = experiments.inside_gradient(*network)
    memory = [[experiments.inside_memory(*other, count).item() for count in range(31)]
              for other in networks]
    errors, _, _, _ = experiments.simulate_xor(seed=0)
    links, words = tree()
    plt.rc("figure", dpi=200)
    plt.rc("figure.constrained_layout", use=True)
    plt.rc("savefig", transparent=True)
    plt.rc("axes.spines", top=False, right=False)
    for name, theme in THEMES.items():
        plt.rc("text", color=theme["text"])
        plt.rc("axes", labelcolor=theme["text"], edgecolor=theme["line"])
        plt.rc("xtick", color=theme["line"], labelcolor=theme["text"])
        plt.rc("ytick", color=theme["line"], labelcolor=theme["text"])
        figures = {
            "toy": draw_toy(rows, theme),
            "unrolled": draw_unrolled(theme),
            "probability": draw_probability([probability, best, places, later], theme),
            "gradient": draw_gradient(before, after, theme),
            "memory": draw_memory(memory, theme),
            "xor": draw_xor(errors, theme),
            "tree": draw_tree(links, words, theme),
        }
        for picture, figure in figures.items():
            figure.savefig(folder / f"{picture}-{name}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
