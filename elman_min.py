# SPDX-License-Identifier: MIT
"""Elman's recurrent network, from raw matrices, telling spam from ham in text messages.

The whole network is two equations. At step t it reads the word x_t; the state h_t is what it remembers:

    h_t = tanh(x_t W_xh + h_{t-1} W_hh + b_h)        h_0 = 0
    y_t = sigmoid(h_t W_hy + b_y)                    the probability of spam, after t words

tanh squeezes each number into -1 to 1, sigmoid into 0 to 1; what goes into the sigmoid is the logit.
Shapes: B messages in a batch, T words, V tokens, I inputs (V for words), H units of the state, O outputs,
N messages; a vector is a row.

Jeffrey L. Elman: Finding Structure in Time. Cognitive Science 14 (1990), 179-211.

    python elman_min.py train spam.csv       learn from a file; without one, from messages made up here
    python elman_min.py test "Some text"     the probability of spam after each word
"""
import argparse
import contextlib
import csv
import io
import math
import os
import random
import re
import sys
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

# ------------------------------------------------------------------------------------------- words


class Vocabulary:
    """The tokens that have a number. All others share number 0, `<UNK>`, which no message can spell.

    A token seen fewer than `min_count` times has none. So `<UNK>` occurs in the messages that the network
    learns from, and `train` hides further words under it: so it learns what an unknown word may mean.
    """

    def __init__(self, messages: Iterable[str] = (), min_count: int = 2):
        self.token_to_idx: dict[str, int] = {}
        self.idx_to_token: list[str] = []
        self.add_token("<UNK>")
        for token, count in Counter(token for m in messages for token in self.tokenize(m)).items():
            if count >= min_count:
                self.add_token(token)

    @staticmethod
    def tokenize(message: str) -> list[str]:
        """Words, runs of digits and runs of one other mark, in small letters, from any string.

        Each digit becomes 0: the length of a number is a hint, its digits are not. All else is cut after
        six characters: a plain stemmer, so that what was learned of "winner" serves for "winners".
        """
        text = re.sub(r"\d", "0", message.lower())
        tokens = [match[0] for match in re.finditer(r"[^\W0_]+|0+|([^\w\s]|_)\1*", text)]
        return [token if token[0] == "0" else token[:6] for token in tokens]

    def add_token(self, token: str) -> int:
        """The number of `token`; if it has none yet, it gets the next one."""
        if token not in self.token_to_idx:
            self.token_to_idx[token] = len(self.idx_to_token)
            self.idx_to_token.append(token)
        return self.token_to_idx[token]

    def encode(self, message: str) -> torch.Tensor:
        """int64 (T,), T >= 1: a message without words is one `<UNK>`."""
        return torch.tensor([self.token_to_idx.get(token, 0) for token in self.tokenize(message)] or [0])

    def decode(self, ids: Iterable[int] | torch.Tensor) -> list[str]:
        """The T tokens of the numbers `ids` (T,). Raises IndexError where a number is too high."""
        return [self.idx_to_token[i] for i in ids]

    def one_hot(self, message: str) -> torch.Tensor:
        """float (T, V), the input as Elman had it: at each word 1 for its token, else 0."""
        return nn.functional.one_hot(self.encode(message), len(self)).float()

    def __len__(self) -> int:
        return len(self.idx_to_token)


tokenize = Vocabulary.tokenize

# ---------------------------------------------------------------------------------------- messages


def as_text(data: bytes) -> str:
    """UTF-8, with or without a byte order mark; what is not that, as ISO-8859-1, which takes any bytes."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("iso-8859-1")


def read_messages(path: str | os.PathLike[str]) -> pd.DataFrame:
    """A file's messages: columns `target` (0 ham, 1 spam) and `message`.

    Takes quoted CSV, as Kaggle's spam.csv (`;` will do for a comma), and unquoted tab-separated text, as
    SMSSpamCollection, with or without a header. The labels are the column of ham and spam in any case, the
    messages the other column with the most text; further columns are left out. Raises OSError where the
    file cannot be read, ValueError where it holds something else.
    """
    text = as_text(Path(path).read_bytes())
    if "\0" in text:
        raise ValueError(f"{path} is not text; save it as CSV in UTF-8")
    separator = (re.findall("[\t,;]", text.lstrip("\r\n").partition("\n")[0]) or [","])[0]
    try:
        frame = pd.read_csv(io.StringIO(text), sep=separator, quoting=3 if separator == "\t" else 0,  # 3: none
                            header=None, dtype=str, na_filter=False)
        if separator != "\t":  # pandas would take a quote left open to be closed by the next one, rows further down
            csv.field_size_limit(len(text) + 1)
            list(csv.reader(io.StringIO(text, None), delimiter=separator, strict=True))
    except (ValueError, csv.Error) as error:  # no row, a row with too many columns, a quote left open
        raise ValueError(f"{path} is empty or broken: {str(error).rpartition('C error: ')[2].strip()}") from None
    labels = frame.apply(lambda column: column.str.strip().str.lower())
    column = labels.isin(["ham", "spam"]).sum().idxmax()
    known = labels[column].isin(["ham", "spam"])
    if frame.shape[1] < 2 or not known.any():
        raise ValueError(f"{path} needs a column of ham and spam beside one of messages; "
                         f"found {frame.shape[1]} columns in {len(frame)} rows")
    wrong = known.index[~known].drop(0, errors="ignore")  # in row 0 it is the header
    if len(wrong):
        raise ValueError(f"{path}: row {wrong[0] + 1} is labelled {str(frame.at[wrong[0], column])[:40]!r}, "
                         "expected ham or spam")
    texts = frame[known].drop(columns=column)
    message = texts[texts.apply(lambda column: column.str.len().sum()).idxmax()]
    return pd.DataFrame({"target": (labels[column][known] == "spam").astype(int), "message": message}
                        ).reset_index(drop=True)


def toy_messages(n: int, seed: int = 0) -> pd.DataFrame:
    """`n` made-up rows like those of `read_messages`: advance-fee scams, and honest twins of the same words.

    A scam has you pay first and collect later. Counting words cannot tell it from its twin; only memory
    can. Elman made his sentences from such templates (1990, Tables 3 and 4).
    """
    draw = random.Random(seed).choice
    rows: list[tuple[int, str]] = []
    while len(rows) < n:
        hello = draw(["hello,", "dear friend,", "good news:", "hi again,", "dear customer,", "as agreed,"])
        pay = draw(["pay", "send", "wire", "settle"]) + draw([" the fee", " the tax", " the charge", " the duty"])
        get = draw(["get", "claim", "fetch", "collect"]) + draw([" the prize", " the gold", " the car", " the phone"])
        bye = draw(["today", "by friday", "thank you", "see you soon", "best wishes", "and call me then"])
        rows += [(1, f"{hello} {pay} then {get} {bye}"), (0, f"{hello} {get} then {pay} {bye}")]
    return pd.DataFrame(rows[:n], columns=["target", "message"])


def split(frame: pd.DataFrame, fold: int = 0, folds: int = 5) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(train, test): the rows to learn from, and about one in `folds` to be judged by.

    A hash of its text decides where a message goes. So its repeats go with it, and no text is both learned
    and judged by; the order of the rows is no matter; and `test` finds the same rows again.
    """
    hashes = [zlib.crc32(message.encode("utf-8", "surrogatepass")) for message in frame["message"]]
    held_out = pd.Series(hashes, index=frame.index, dtype="int64") % folds == fold
    return frame[~held_out], frame[held_out]


class Batches(Dataset):
    """Pairs of token numbers (T,) and a value, in batches of about the same length, to need little padding.

    A batch is `(x, lengths, values)`: int64 (B, T), its rows made equal in length with 0 behind the last words
    (padding: no answer is read from it, so `<UNK>` may be 0 too); int64 (B,), both. It has at most
    `batch_size` messages and `max_words` words, padding counted; a longer message comes alone.
    """

    def __init__(self, pairs: Iterable[tuple[torch.Tensor, int]], batch_size: int, max_words: int = 4096):
        self.batches: list[list[tuple[torch.Tensor, int]]] = []
        for pair in sorted(pairs, key=lambda pair: pair[0].numel()):
            if not self.batches or len(self.batches[-1]) >= min(batch_size, max_words // pair[0].numel()):
                self.batches.append([])
            self.batches[-1].append(pair)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        ids, values = zip(*self.batches[i])
        return (nn.utils.rnn.pad_sequence(list(ids), batch_first=True),
                torch.tensor([x.numel() for x in ids]), torch.tensor(values))


# ------------------------------------------------------------------------------------- the network


class ElmanRNN(nn.Module):
    """Elman's simple recurrent network (1990, Figure 2): a hidden layer that reads its own previous state.

        h_t = tanh(x_t W_xh + h_{t-1} W_hh + b_h)        h_0 = 0
        y_t = sigmoid(h_t W_hy + b_y)

    The state h_t (B, hidden_size) is its memory: all that it keeps, at step t, of x_1 to x_t. Elman had
    a sigmoid for tanh, and took h_{t-1} as given in learning; today the gradient goes on through it, to x_1.
    """

    def __init__(self, input_size: int, hidden_size: int, output_size: int = 1):
        super().__init__()
        bound = hidden_size**-0.5  # random, or all units would learn alike; small, or tanh would be flat

        def uniform(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))

        self.W_xh = uniform(input_size, hidden_size)
        self.W_hh = uniform(hidden_size, hidden_size)
        self.b_h = uniform(hidden_size)
        self.W_hy = uniform(hidden_size, output_size)
        self.b_y = uniform(output_size)

    def forward(self, x: torch.Tensor, hidden: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """`x`: token numbers (B, T) or real vectors (B, T, input_size), T >= 1. `hidden`: the state to start
        from (B, hidden_size), by default 0.

        Returns the logits (B, T, output_size) of every step, and the state after step T, to go on from. No
        step sees a later one: so padding, being behind the last word, changes no logit up to that word, and
        the answer is that word's. The state returned has read the padding too.
        """
        x = x.transpose(0, 1)                                            # (T, B) or (T, B, I)
        if x.is_floating_point():
            x_h = x @ self.W_xh                                          # (T, B, H)
        else:  # a one-hot vector times W_xh is one row of W_xh
            x_h = nn.functional.embedding(x, self.W_xh)                  # (T, B, H)
        h = x_h.new_zeros(x_h.shape[1:]) if hidden is None else hidden   # (B, H)
        states = []
        for a_t in x_h + self.b_h:                                       # (B, H): x_t W_xh + b_h
            h = torch.tanh(torch.addmm(a_t, h, self.W_hh))               # tanh(a_t + h W_hh)
            states.append(h)
        logits = torch.stack(states) @ self.W_hy + self.b_y              # (T, B, O)
        return logits.transpose(0, 1), h


def message_loss(logits: torch.Tensor, targets: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """The cross-entropy of `logits` (B, T) with `targets` (B,), 0 or 1: a scalar, the mean over messages.

    At each word it is minus the log of the probability given to the truth: sigmoid(z) for spam, and for ham
    1 - sigmoid(z) = sigmoid(-z). The loss takes the logits z, as sigmoid(-200) rounds to 0, whose log is infinite
    and has no gradient to learn from; logsigmoid(-200) is -200, and its gradient 1. The mean is over the words
    of a message, so that it learns to say early what it knows, then over messages; padding does not count.
    """
    sign = 2 * targets[:, None] - 1                                      # (B, 1)
    read = torch.arange(logits.shape[1], device=logits.device) < lengths[:, None]  # (B, T)
    return -((nn.functional.logsigmoid(sign * logits) * read).sum(1) / lengths).mean()


# --------------------------------------------------------------------------- learning and judging

# A message is called spam above this probability. More than one half: a filter that blocks a friend's
# message does more harm than one that lets an advertisement through. In cross-validation, on other splits
# of the messages than those that README.md reports, F1 was best with it near .9, and lower at .95.
THRESHOLD = 0.9


def train(frame: pd.DataFrame, *, epochs: int = 12, batch_size: int = 32, hidden_size: int = 32,
          learning_rate: float = 3e-3, hide: float = 0.3, seed: int = 0,
          device: str | torch.device = "cpu",
          report: Callable[[ElmanRNN, Vocabulary, float, float], Any] = lambda *_: None,
          ) -> tuple[ElmanRNN, Vocabulary]:
    """A network that has learned from every row of `frame` (`target`, `message`), and its vocabulary.

    A share `hide` of the words reads `<UNK>`, drawn anew in each epoch: so no verdict hangs on one word, and
    `<UNK>` comes to mean "some word" (akin to the word dropout of Iyyer et al. 2015). `report(model,
    vocabulary, epochs done, mean loss in this epoch)` is called after each step. Raises ValueError for a
    setting out of range or a class without messages, FloatingPointError when the loss or its gradient is
    no longer a number.
    """
    for need, met in {"epochs of 1 or more": epochs >= 1, "a batch_size of 1 or more": batch_size >= 1,
                      "a hidden_size from 1 to 1,000": 1 <= hidden_size <= 1000,
                      "a learning_rate above 0": 0 < learning_rate < math.inf, "a hide from 0 to 1": 0 <= hide <= 1,
                      "a seed from 0 to 2**32 - 1": 0 <= seed < 2**32,
                      "both ham and spam": frame["target"].nunique() > 1}.items():
        if not met:
            raise ValueError(f"training needs {need}")
    torch.manual_seed(seed)
    shuffle = random.Random(seed).shuffle
    vocabulary = Vocabulary(frame["message"])
    pairs = [(vocabulary.encode(m), y) for m, y in zip(frame["message"], frame["target"].tolist())]
    model = ElmanRNN(len(vocabulary), hidden_size).to(device)
    steps = len(Batches(pairs, batch_size))
    optimizer = torch.optim.Adam(model.parameters(), learning_rate, fused=True)
    # The learning rate, how far a step goes, rises, then falls to almost 0 (Smith and Topin 2018). The schedule
    # has 6 steps or more, for with 5 torch divides by 0.
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, max(epochs * steps, 6), pct_start=0.2)
    for epoch in range(epochs):
        shuffle(pairs)  # so that other messages of a length share a batch; the loader shuffles the batches
        loader, mean_loss = DataLoader(Batches(pairs, batch_size), batch_size=None, shuffle=True), 0.0
        for step, (x, lengths, y) in enumerate(loader, 1):
            x = x.masked_fill(torch.rand(x.shape) < hide, 0)             # (B, T)
            logits, _ = model(x.to(device))                              # (B, T, 1)
            loss = message_loss(logits[..., 0], y.to(device), lengths.to(device))
            optimizer.zero_grad()
            # The gradient says how the loss changes as each weight grows; Adam moves the weights against it.
            # As h_t is made from h_{t-1}, the gradient is worked out backwards through time, from last word to
            # first, times W_hh at every word. So it may vanish or explode (Bengio et al. 1994): one longer
            # than 1 is cut to 1 (Pascanu et al. 2013).
            loss.backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            if not (loss + norm).isfinite():
                raise FloatingPointError(f"the loss is not a number; try a learning rate below {learning_rate:g}")
            optimizer.step()
            schedule.step()
            mean_loss += (loss.item() - mean_loss) / step
            report(model, vocabulary, epoch + step / steps, mean_loss)
    return model, vocabulary


@torch.no_grad()
def predict(model: ElmanRNN, vocabulary: Vocabulary, messages: Sequence[str]) -> torch.Tensor:
    """The probability that each message is spam, float (N,), in their order: y at each one's own last word."""
    probability = torch.zeros(len(messages))
    pairs = [(vocabulary.encode(message), i) for i, message in enumerate(messages)]
    own = torch.Generator()  # so that judging in between does not change what training draws
    for x, lengths, i in DataLoader(Batches(pairs, 256), batch_size=None, generator=own):
        logits, _ = model(x.to(model.W_xh.device))                       # (B, T, 1)
        probability[i] = torch.sigmoid(logits[torch.arange(len(x)), lengths - 1, 0]).float().cpu()
    return probability


def evaluate(probability: torch.Tensor, target: torch.Tensor) -> dict[str, float]:
    """How right it is to call spam what is above THRESHOLD; `probability` and `target` (0 or 1) are (N,).

    TP and FN count spam caught and missed, TN and FP ham let through and blocked; 0/0 counts as 0. The
    Matthews correlation, spam caught (recall) and ham blocked are those of Almeida et al. (2011, section 4).
    """
    called, spam = probability > THRESHOLD, target > 0.5
    tp, fp = int((called & spam).sum()), int((called & ~spam).sum())
    fn, tn = int(spam.sum()) - tp, int((~spam).sum()) - fp
    matthews = (tp * tn - fp * fn) / (math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)) or 1)
    return {"accuracy": (tp + tn) / (len(spam) or 1), "precision": tp / (tp + fp or 1),
            "recall": tp / (tp + fn or 1), "F1": 2 * tp / (2 * tp + fp + fn or 1), "Matthews": matthews,
            "ham blocked": fp / (fp + tn or 1), "TP": tp, "FP": fp, "FN": fn, "TN": tn}


# ----------------------------------------------------------------------------------------- keeping


def save(path: str | os.PathLike[str], model: ElmanRNN, vocabulary: Vocabulary) -> None:
    """Writes a checkpoint beside `path`, then moves it there: whole, or not at all. Raises OSError."""
    beside, data = Path(f"{os.fspath(path)}.{os.getpid()}"), io.BytesIO()
    torch.save({"weights": model.state_dict(), "tokens": vocabulary.idx_to_token}, data)
    try:
        beside.write_bytes(data.getvalue())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def load(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> tuple[ElmanRNN, Vocabulary]:
    """What `save` wrote. Raises OSError where there is no such file, ValueError where it holds something else.

    A pickle may name any function to be called when it is read; `weights_only=True` reads tensors and text.
    """
    data = io.BytesIO(Path(path).read_bytes())
    try:
        kept = torch.load(data, map_location=device, weights_only=True)
        vocabulary = Vocabulary()
        for token in kept["tokens"]:
            vocabulary.add_token(token)
        model = ElmanRNN(len(vocabulary), *kept["weights"]["W_hy"].shape).to(device)
        model.load_state_dict(kept["weights"])
        return model, vocabulary
    except Exception as error:  # which of a dozen kinds depends on what is wrong with the bytes
        raise ValueError(f"{path} is no checkpoint, or is cut short; name another with --model") from error


# -------------------------------------------------------------------------------- the command line
# Nothing new about networks from here on: what was typed, and what to print.

RECIPE = train.__kwdefaults__ or {}  # the settings of train and their defaults


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; {self.prog} --help says more")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    both = Parser(add_help=False)
    both.add_argument("--model", default="elman_min.pt", metavar="FILE", help="the checkpoint (%(default)s)")
    both.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda", "mps", "xpu"],
                      help="where to compute; auto: on the accelerator if there is one, else on the CPU")
    top = Parser(prog="elman_min.py", description="An Elman network that tells spam from ham in text messages.")
    commands = top.add_subparsers(metavar="train|test", required=True)
    about = "Learn from labelled messages, judge by some held out, keep a checkpoint."
    command = commands.add_parser("train", parents=[both], help=f"{about} See train --help.", description=about)
    command.set_defaults(run=run_train)
    command.add_argument("csv", nargs="?", metavar="CSV", help="messages labelled ham and spam, comma- or "
                         "tab-separated (spam.csv.README says where to get some); without it, made-up ones")
    command.add_argument("--balance", action="store_true", help="learn from as many ham as spam, drop the rest")
    for name, what in {"epochs": "times to read all messages", "batch_size": "most messages a step",
                       "hidden_size": "numbers in the state", "learning_rate": "highest learning rate",
                       "seed": "same seed and same CPU, same weights"}.items():
        command.add_argument("--" + name.replace("_", "-"), metavar="N", type=type(RECIPE[name]),
                             default=RECIPE[name], help=f"{what} (%(default)s)")
    about = "Judge texts, the messages of a file, or those that come down a pipe."
    command = commands.add_parser("test", parents=[both], help=f"{about} See test --help.", description=about)
    command.set_defaults(run=run_test)
    command.add_argument("--all", action="store_true", help="judge by every row of CSV, not just those held out")
    command.add_argument("what", nargs="+", metavar="TEXT | CSV | -", help=
                         "TEXT: show the probability of spam after each word (put -- before a text that begins "
                         "with -). CSV, any file that exists or a name in .csv or .tsv: judge by its labels. "
                         "-: read a message a line, write spam or ham, the probability, and the message, with "
                         "tabs between")
    return top.parse_args(argv)


def find_device(name: str) -> torch.device:
    best = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    if name not in ("auto", "cpu", best.type):
        raise ValueError(f"this machine has no {name} device; --device auto takes the best it has")
    return torch.device("cpu") if name == "cpu" else best


def run_train(args: argparse.Namespace) -> None:
    folder, name = os.path.split(args.model)
    if not name or not os.access(os.path.join(folder, "."), os.W_OK):
        raise ValueError(f"--model '{args.model}' is no file in a folder that exists and can be written to")
    with contextlib.suppress(FileNotFoundError):
        load(args.model)  # what is no checkpoint is not ours to overwrite
    if args.csv is not None:
        source, frame = args.csv, read_messages(args.csv)
    else:
        source, frame = "made up", toy_messages(2000, args.seed)
        print("No file given, so here are scams, and honest twins of the same words:\n"
              f"  spam  {frame['message'][0]}\n  ham   {frame['message'][1]}\n"
              "Whoever counts words is right half the time; it takes a memory of their order.\n")
    rows, frame = len(frame), frame.drop_duplicates("message")
    print(f"{source}: {rows:,} rows, {rows - len(frame):,} repeats dropped, {len(frame):,} messages")
    for label, share in (("ham", 1 - frame["target"].mean()), ("spam", frame["target"].mean())):
        print(f"  {label:<4}{share * len(frame):>9,.0f}{share:>8.1%}  {'█' * round(40 * share)}")
    learn, held_out = split(frame)
    if learn["target"].nunique() < 2 or held_out["target"].nunique() < 2:
        raise ValueError(f"{source}: too few messages of ham or spam to learn from some and hold out others")
    if args.balance:
        learn = learn.groupby("target").sample(min(learn["target"].value_counts()), random_state=args.seed)
    print(f"learning from {len(learn):,}, judged by {len(held_out):,} held out; device {args.device}")
    messages, target = held_out["message"].tolist(), torch.tensor(held_out["target"].tolist())
    learned: list[Any] = []  # for Ctrl-C: the network and its vocabulary so far
    start = time.monotonic()

    def report(model: ElmanRNN, vocabulary: Vocabulary, done: float, loss: float) -> None:
        learned[:] = model, vocabulary
        epoch, seconds = f"epoch {math.ceil(done):>3}/{args.epochs}", time.monotonic() - start
        if done.is_integer():
            f1 = evaluate(predict(model, vocabulary, messages), target)["F1"]
            print(f"{epoch}  loss {loss:.4f}  held-out F1 {f1:.4f}  {seconds:5.1f} s", flush=True)
        elif sys.stdout.isatty() and seconds > 2 * math.ceil(done):  # epochs of more than 2 s
            print(f"{epoch}  {done % 1:.0%}", end="\r", flush=True)

    try:
        model, vocabulary = train(learn, report=report, **{name: vars(args)[name] for name in RECIPE if name in args})
    except (KeyboardInterrupt, OSError) as stop:  # OSError: there is nobody left to print to
        if learned and (isinstance(stop, KeyboardInterrupt) or not os.path.exists(args.model)):
            save(args.model, *learned)
            print(f"\nstopped; what it has learned so far is in {args.model}", flush=True)
        raise
    save(args.model, model, vocabulary)
    print_figures(predict(model, vocabulary, messages), target)
    print(f'saved as {args.model}; python elman_min.py test "some text" shows what it thinks')


def print_figures(probability: torch.Tensor, target: torch.Tensor) -> None:
    network, always_ham = evaluate(probability, target), evaluate(torch.zeros(len(target)), target)
    print(f"\nspam is above {THRESHOLD:.2f}  network  always ham")
    for name, what in (("accuracy", "of all, called right"), ("precision", "of what is called spam, spam"),
                       ("recall", "of the spam, caught"), ("F1", "harmonic mean of these two"),
                       ("Matthews", "correlation of call and truth"), ("ham blocked", "of the ham, called spam")):
        print(f"{name:<16}{network[name]:>10.4f}{always_ham[name]:>12.4f}  {what}")
    print("spam: {TP} caught, {FN} missed; ham: {TN} let through, {FP} blocked\n".format(**network))


def run_test(args: argparse.Namespace) -> None:
    model, vocabulary = load(args.model, args.device)
    for what in args.what:
        if what == "-":
            for lines in lines_at_hand(sys.stdin.buffer):
                for line, p in zip(lines, predict(model, vocabulary, lines).tolist()):
                    print(f"{'spam' if p > THRESHOLD else 'ham'}\t{p:.4f}\t{line}")
                sys.stdout.flush()
        elif os.path.exists(what) and not os.path.isdir(what) or what.lower().endswith((".csv", ".tsv")):
            frame = read_messages(what)
            part = frame if args.all else split(frame.drop_duplicates("message"))[1]
            print(f"{what}: {len(frame):,} rows, judged by {'all' if args.all else f'the {len(part):,} held out'}")
            print_figures(predict(model, vocabulary, part["message"].tolist()), torch.tensor(part["target"].tolist()))
        else:
            print_words(model, vocabulary, what)


def lines_at_hand(stream: Any) -> Iterator[list[str]]:
    """The lines of a byte stream as they arrive, in lists: it never waits for the end of the stream."""
    rest = b""
    while chunk := stream.read1(1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        yield [as_text(line).rstrip("\r") for line in lines]
    if rest:
        yield [as_text(rest)]


@torch.no_grad()
def print_words(model: ElmanRNN, vocabulary: Vocabulary, message: str) -> None:
    logits, _ = model(vocabulary.encode(message).to(model.W_xh.device)[None])    # (1, T, 1)
    cells = []
    for token, p in zip(tokenize(message) or ["<UNK>"], torch.sigmoid(logits[0, :, 0]).tolist()):
        cell = f"{token if token.isprintable() else '?':>13.13} {p:.2f}"
        if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
            red = round(5 * p)  # the terminal's 6 x 6 x 6 colours, from green to red
            cell = f"\x1b[38;5;{16 + 36 * red + 6 * (5 - red)}m{cell}\x1b[0m"
        cells.append(cell)
    for i in range(0, len(cells), 4):
        print("".join(cells[i:i + 4]))
    print(f"{'spam' if p > THRESHOLD else 'ham'}: {p:.4f} after the last word; spam is above {THRESHOLD:.2f}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, 2 after a line on stderr, 130 after Ctrl-C, 141
    where whoever read its output has gone."""
    try:
        args = parse(argv)
        args.device = find_device(args.device)
        args.run(args)
        sys.stdout.flush()  # here a reader that has gone decides the status; below, it is too late
        return 0
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 141
    except FileNotFoundError as error:
        reason = (f"{error.filename} does not exist; spam.csv.README says how to get messages, train without a file "
                  "makes up its own, and train writes the checkpoint")
    except (OSError, ValueError, ArithmeticError, RuntimeError, MemoryError) as error:
        reason = str(error).partition("\n")[0] or "not enough memory"
    finally:
        try:
            sys.stdout.flush()
        except OSError:  # the reader of our output has gone, or its disk is full; what is left goes nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    print(f"elman_min.py: {' '.join(reason.split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # whatever torch has to say of a broken checkpoint, load says
    torch.set_num_threads(1)  # a step of this network is too little work to share
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # where a terminal lacks a sign
    sys.exit(main())
