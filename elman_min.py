# SPDX-License-Identifier: MIT
"""Elman's recurrent network in plain PyTorch tensors, trained to classify text messages
as spam (unwanted advertising and scams) or ham (the rest).

The network (Elman, Finding Structure in Time, Cognitive Science 14, 1990) reads a message
token by token, as split by `tokenize`. Step t combines the token x_t with the hidden state
h_{t-1}, its memory of earlier tokens:

    h_t = tanh(x_t W_xh + h_{t-1} W_hh + b_h)        h_0 = 0
    y_t = sigmoid(h_t W_hy + b_y)

    x_t   (I,)    input, one-hot: 1 at the token's id, 0 at the I - 1 other ids
    h_t   (H,)    hidden state
    y_t   (O,)    output: the probability of spam after t tokens (O = 1)
    W_xh  (I, H)  input weights
    W_hh  (H, H)  recurrent weights
    b_h   (H,)    hidden bias
    W_hy  (H, O)  output weights
    b_y   (O,)    output bias

tanh maps into (-1, 1), sigmoid into (0, 1). The input to the sigmoid is the logit.
Training adjusts every W and b, the weights.

    python elman_min.py train spam.csv
    python elman_min.py test spam.csv
    python elman_min.py predict "Text WIN to 80082"
"""
import argparse
import io
import os
import random
import re
import shlex
import shutil
import signal
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd  # pip install -r requirements.txt
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

# ---- Network ----

class ElmanRNN(nn.Module):
    """Elman's simple recurrent network: a hidden layer that feeds back into itself.

    h_t = tanh(x_t W_xh + h_{t-1} W_hh + b_h), logits_t = h_t W_hy + b_y. Elman used a sigmoid,
    not tanh, and treated h_{t-1} as a constant in training; we backpropagate through time.

    `x` is a batch of B sequences of T >= 1 steps: int64 ids (B, T) or float vectors (B, T,
    input_size). `hidden` (B, hidden_size) is h_0, by default 0. Returns the logits (B, T,
    output_size) and h_T. The network is causal: step t sees x_1 to x_t only. So padding at
    the end changes no earlier logits, but it does change h_T. To continue a sequence, pass
    `hidden=h_T.detach()`. Export by torch.export or ONNX makes T constant; torch.jit.script
    (deprecated) does not.
    """

    def __init__(self, input_size: int, hidden_size: int, output_size: int = 1):
        super().__init__()
        k = hidden_size**-0.5  # random to break symmetry, small so that tanh does not saturate
        self.W_xh = nn.Parameter(torch.empty(input_size, hidden_size).uniform_(-k, k))
        self.W_hh = nn.Parameter(torch.empty(hidden_size, hidden_size).uniform_(-k, k))
        self.b_h = nn.Parameter(torch.empty(hidden_size).uniform_(-k, k))
        self.W_hy = nn.Parameter(torch.empty(hidden_size, output_size).uniform_(-k, k))
        self.b_y = nn.Parameter(torch.empty(output_size).uniform_(-k, k))

    def extra_repr(self) -> str:
        return "{}, {}, output_size={}".format(*self.W_xh.shape, len(self.b_y))

    def forward(self, x: torch.Tensor, hidden: torch.Tensor | None = None
        ) -> tuple[torch.Tensor, torch.Tensor]:
        x = x.transpose(0, 1)  # (T, B) or (T, B, I)
        # A one-hot vector times W_xh is a row of W_xh, so ids select rows.
        x_h = x @ self.W_xh if x.dim() == 3 else nn.functional.embedding(x, self.W_xh)  # (T, B, H)
        h = x_h.new_zeros(x_h.shape[1:]) if hidden is None else hidden  # (B, H)
        states = []
        for x_t in x_h + self.b_h:                  # (B, H): x_t W_xh + b_h
            h = torch.tanh(x_t + h @ self.W_hh)     # (B, H)
            states.append(h)
        logits = torch.stack(states) @ self.W_hy + self.b_y  # (T, B, O)
        return logits.transpose(0, 1), h

def sequence_loss(logits: torch.Tensor, targets: torch.Tensor, lengths: torch.Tensor
    ) -> torch.Tensor:
    """Binary cross-entropy, averaged over the steps of each message, then over messages.

    logits (B, T); targets (B,), 0 for ham and 1 for spam; lengths (B,) before padding.
    Cross-entropy is -log of the probability of the true class: sigmoid(logit) for spam,
    sigmoid(-logit) for ham. logsigmoid stays finite where sigmoid underflows to 0.
    """
    mask = torch.arange(logits.shape[1], device=logits.device) < lengths[:, None]  # (B, T)
    signed = (2 * targets[:, None] - 1) * logits  # (B, T), -logits for ham
    return (-nn.functional.logsigmoid(signed) * mask).sum(1).div(lengths).mean()

# ---- Vocabulary ----
# Example, after `train spam.csv`: "Text WIN to 80082"
# tokens  <length 0> <capitals 4> <digits 3> text win to 00000
# ids     431 2040 70 31 21 20 32, int64 (T,) = (7,)
# logits  (1, 7, 1); sigmoid(logits[0, -1, 0]) = 0.999 is P(spam)

def tokenize(message: str) -> list[str]:
    """Return coarse length, share of capitals and digit count as tokens, then the words.

    Digits become 0, so that numbers of equal length share a token. Other tokens are cut to
    six characters, a crude stemmer: "winners" becomes "winner".
    """
    capitals = 10 * sum(map(str.isupper, message)) // (sum(map(str.isalpha, message)) or 1)
    digits = sum(map(str.isdecimal, message)).bit_length()
    text = re.sub(r"\d", "0", message.lower())
    words = [match[0] for match in re.finditer(r"[^\W0_]+|0+|([^\w\s]|_)\1*", text)]
    return [f"<length {len(message) // 25}>", f"<capitals {capitals}>", f"<digits {digits}>",
            *(word if word[0] == "0" else word[:6] for word in words)]

class Vocabulary:
    """Map tokens to ids and back. Unknown tokens map to id 0, `<UNK>`.

    Tokens seen fewer than `min_count` times in `messages` stay unknown.
    """

    def __init__(self, messages: Iterable[str] = (), min_count: int = 2):
        self.idx_to_token: list[str] = []
        self.token_to_idx: dict[str, int] = {}
        self.add_token("<UNK>")
        for token, count in Counter(t for m in messages for t in tokenize(m)).items():
            if count >= min_count:
                self.add_token(token)

    def __len__(self) -> int:
        return len(self.idx_to_token)

    def add_token(self, token: str) -> int:
        """Add a token if it is new. Return its id."""
        if token not in self.token_to_idx:
            self.token_to_idx[token] = len(self)
            self.idx_to_token.append(token)
        return self.token_to_idx[token]

    def encode(self, message: str) -> torch.Tensor:
        """Return the token ids of a message, int64 (T,)."""
        return torch.tensor([self.token_to_idx.get(token, 0) for token in tokenize(message)])

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Return the tokens of ids (T,). Raises IndexError."""
        return [self.idx_to_token[i] for i in ids]

    def one_hot(self, message: str) -> torch.Tensor:
        """Return a message as one-hot vectors, float (T, len(self))."""
        return nn.functional.one_hot(self.encode(message), len(self)).float()

# ---- Data ----

def toy_messages(n: int, seed: int = 0) -> pd.DataFrame:
    """Return `n` messages: scams (pay, then get) and their ham twins (get, then pay).

    Twins differ only in word order, so a bag-of-words model cannot tell them apart.
    """
    draw = random.Random(seed).choice
    slots = ["hello hi sir madam friend dear", "fee tax bill debt fine loan",
             "prize gold car phone ring key", "ok bye today soon now thanks"]
    rows: list = []
    while len(rows) < n:
        hi, fee, prize, bye = (draw(slot.split()) for slot in slots)
        rows.append((1, f"{hi}, pay the {fee} then get the {prize}, {bye}"))
        rows.append((0, f"{hi}, get the {prize} then pay the {fee}, {bye}"))
    return pd.DataFrame(rows[:n], columns=["target", "message"])

def read_messages(path: str | Path) -> pd.DataFrame:
    """Read labeled messages into the columns `target` (0 ham, 1 spam) and `message`.

    Accepts quoted CSV and unquoted tab-separated text. Labels are ham and spam, or 0 and 1.
    The messages are the other column with the most text. Raises OSError or ValueError.
    """
    data = Path(path).read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("iso-8859-1")
    sep = next((char for char in text.lstrip().partition("\n")[0] if char in "\t,;"), ",")
    try:
        table = pd.read_csv(io.StringIO(text), sep=sep, header=None, dtype=str, na_filter=False,
                            quoting=3 if sep == "\t" else 0)  # 3: quotes are plain characters
    except ValueError as error:  # pandas counts lines from 1 but rows from 0
        reason = re.sub(r"(?<=row )\d+", lambda row: str(int(row[0]) + 1), str(error).strip())
        raise ValueError(f"{path}: {reason}; put quotes around messages with commas") from None
    cells = table.map(lambda cell: cell.strip().lower())
    labels = max(["ham", "spam"], ["0", "1"], key=lambda pair: cells.isin(pair).sum().max())
    label = cells.isin(labels).sum().idxmax()
    labeled = cells[label].isin(labels)
    texts = table[labeled].drop(columns=label)
    if texts.empty:
        raise ValueError(f"{path} needs a column of ham and spam and one of messages")
    for row in table.index[~labeled].drop([0], errors="ignore"):  # row 0 may be a header
        raise ValueError(f"{path}: row {row + 1} is labeled {str(table[label][row])[:40]!r}")
    message = texts[texts.map(len).sum().idxmax()]
    another_row = f'(?i)\n(?:[^\n]*{sep})?"?(?:ham|spam)"?[{sep}\r\n]'
    for row in message.index[message.str.contains(another_row)]:
        raise ValueError(f"{path}: is a quote in row {row + 1} not closed?")
    target = (cells[label][labeled] == labels[1]).astype(int)
    return pd.DataFrame({"target": target, "message": message}).reset_index(drop=True)

def split(frame: pd.DataFrame, fold: int = 0, folds: int = 5) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split into (train, test) by a hash of the message; test is fold `fold` of `folds`.

    Duplicates land on the same side, so no message is in both, and row order does not
    matter. Raises ValueError for a bad `fold`.
    """
    if fold not in range(folds):
        raise ValueError(f"fold must be in range({folds}), got {fold}")
    hashes = frame["message"].map(lambda message: zlib.crc32(message.encode(errors="replace")))
    held_out = hashes % folds == fold
    return frame[~held_out], frame[held_out]

class PaddedBatches(Dataset):
    """Fixed batches of messages of similar length, so that little padding is needed.

    A batch is x (B, T), padded with 0; lengths (B,); targets (B,); all int64.
    """

    def __init__(self, frame: pd.DataFrame, vocabulary: Vocabulary, batch_size: int):
        pairs = sorted(zip(map(vocabulary.encode, frame["message"]), frame["target"]),
                       key=lambda pair: len(pair[0]))
        self.batches = []
        for i in range(0, len(pairs), batch_size):
            ids, targets = map(list, zip(*pairs[i:i + batch_size]))
            x = nn.utils.rnn.pad_sequence(ids, batch_first=True)
            self.batches.append((x, torch.tensor(list(map(len, ids))), torch.tensor(targets)))

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, ...]:
        return self.batches[i]

# ---- Training and evaluation ----

def train(frame: pd.DataFrame, *, epochs: int = 18, batch_size: int = 32, hidden_size: int = 32,
          learning_rate: float = 3e-3, word_dropout: float = 0.3, seed: int = 0,
          device: str = "cpu", report: Callable = lambda *_: None,
          ) -> tuple[ElmanRNN, Vocabulary]:
    """Train on all rows of `frame`. Return the model and the vocabulary.

    An epoch uses every message once. Each batch is one update of the weights, followed by
    `report(epoch, batch, batches, mean_loss)`. `word_dropout` is the probability that a
    token becomes `<UNK>`, so that no single word decides (cf. Iyyer et al. 2015). Raises
    ValueError, or FloatingPointError if training diverges.
    """
    if set(frame["target"]) != {0, 1}:
        raise ValueError("targets must be 0 (ham) and 1 (spam), both present")
    torch.set_num_threads(1)  # more are slower
    torch.manual_seed(seed)
    vocabulary = Vocabulary(frame["message"])
    loader = DataLoader(PaddedBatches(frame, vocabulary, batch_size), batch_size=None, shuffle=True)
    model = ElmanRNN(len(vocabulary), hidden_size).to(device)
    optimizer = torch.optim.Adam(model.parameters(), learning_rate, fused=True)
    # The learning rate, the size of updates, rises (warmup), then falls.
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, epochs * len(loader))
    for epoch in range(1, epochs + 1):
        total = 0.0
        for batch, tensors in enumerate(loader, 1):
            x, lengths, targets = (tensor.to(device) for tensor in tensors)
            x = x.masked_fill(torch.rand(x.shape, device=device) < word_dropout, 0)
            logits = model(x)[0][..., 0]  # (B, T)
            if epoch > 0.8 * epochs:
                # A loss at every step helps at first, but favors overconfident early decisions.
                # In the last fifth only the last step counts, so the loss drops.
                logits, lengths = logits.gather(1, lengths[:, None] - 1), torch.ones_like(lengths)
            loss = sequence_loss(logits, targets, lengths)
            optimizer.zero_grad()
            # Backpropagation through time: the chain rule, from the last step back to the
            # first. Each step multiplies the gradient by diag(1 - h^2) W_hh^T, so it may
            # vanish or explode (Bengio et al. 1994). Clipping the norm of all gradients to
            # 1 limits explosion (Pascanu et al. 2013), not vanishing. The tests derive the
            # gradient by hand.
            loss.backward()  # computes the gradient, d loss / d weight
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()  # moves each weight against its recent gradients
            schedule.step()
            total += loss.item()
            report(epoch, batch, len(loader), total / batch)
        if not all(weight.isfinite().all() for weight in model.parameters()):
            raise FloatingPointError("training diverged; lower learning_rate")
    return model, vocabulary

@torch.no_grad()
def predict(model: ElmanRNN, vocabulary: Vocabulary, messages: Iterable[str]) -> torch.Tensor:
    """Return the probability that each of N messages is spam, float (N,), in input order."""
    if isinstance(messages, (str, pd.DataFrame)):
        raise TypeError('pass a list of messages: ["a text"] or frame["message"]')
    ids = (vocabulary.encode(message).to(model.W_xh.device) for message in messages)
    return torch.tensor([model(x[None])[0][0, -1, 0].sigmoid().item() for x in ids])

def evaluate(probability: torch.Tensor, target: torch.Tensor) -> dict[str, float]:
    """Return classification metrics for `probability` and `target` (0 or 1), both (N,).

    Spam is the positive class; `mcc` is the Matthews correlation coefficient, `fpr` the
    false positive rate. 0 / 0 counts as 0.
    """
    p, t = probability > 0.5, target == 1
    tp, fp, fn, tn = (int((a & b).sum()) for a in (p, ~p) for b in (t, ~t))
    mcc = (tp * tn - fp * fn) / max(((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)) ** 0.5, 1)
    return {"accuracy": (tp + tn) / max(len(target), 1), "precision": tp / max(tp + fp, 1),
            "recall": tp / max(tp + fn, 1), "f1": 2 * tp / max(2 * tp + fp + fn, 1), "mcc": mcc,
            "fpr": fp / max(fp + tn, 1), "tp": tp, "fp": fp, "fn": fn, "tn": tn}

# ---- Checkpoints ----

def save(path: str | Path, model: ElmanRNN, vocabulary: Vocabulary) -> None:
    """Write a checkpoint: the weights and the tokens. Raises OSError."""
    with open(f"{path}.tmp", "wb") as file:
        torch.save({"weights": model.state_dict(), "tokens": vocabulary.idx_to_token}, file)
    os.replace(f"{path}.tmp", path)  # atomic

def load(path: str | Path, device: str = "cpu") -> tuple[ElmanRNN, Vocabulary]:
    """Load a checkpoint. Raises OSError, or ValueError if it is invalid."""
    file, vocabulary = io.BytesIO(Path(path).read_bytes()), Vocabulary()
    try:  # weights_only=True, because a full pickle can run code
        data = torch.load(file, map_location="cpu", weights_only=True)
        for token in data["tokens"]:
            vocabulary.add_token(token)
        model = ElmanRNN(len(vocabulary), *data["weights"]["W_hy"].shape)
        model.load_state_dict(data["weights"])
    except RuntimeError as error:  # a shape mismatch
        raise ValueError(f"{path}: {error}") from None
    except Exception:  # of many types
        raise ValueError(f"{path} is not a checkpoint of this program") from None
    if not all(weight.isfinite().all() for weight in model.parameters()):
        raise ValueError(f"{path} has infinite or NaN weights")
    return model.to(device), vocabulary

# ---- Command line ----
# Nothing new about networks follows, only options, files and printing.

CONTROL = dict.fromkeys([*range(32), *range(127, 160)], " ")

def number(low, high):
    def number(text):
        if low <= (value := type(low)(text)) <= high:
            return value
        raise argparse.ArgumentTypeError(f"{text} is not from {low} to {high}")
    return number

def print_metrics(model, vocabulary, frame):
    target = torch.tensor(frame["target"].tolist())
    p = predict(model, vocabulary, frame["message"])
    metrics = [evaluate(p, target), evaluate(0 * p, target)]
    table = pd.DataFrame(metrics, index=["model", "always ham"]).astype(object).T
    print(table.to_string(float_format="{:.4f}".format))
    if metrics[0] == metrics[1] and target.any():
        print("Always predicts ham: try more messages or epochs.")

def run_train(csv, model, **options):
    path = Path(model or ("elman_min.pt" if csv else "toy.pt"))
    if path.suffix != ".pt" or path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"--model {path} must be a .pt file in an existing folder")
    frame = read_messages(csv) if csv else toy_messages(2000, options["seed"])
    frame = frame.drop_duplicates("message")
    fit, held_out = split(frame)
    if held_out["target"].nunique() < 2:
        raise ValueError("too few ham or spam messages to split")
    spam = frame["target"].sum()
    print(f"{len(frame) - spam:,} ham and {spam:,} spam, duplicates dropped\n"
          f"training on {len(fit):,}, holding out {len(held_out):,}; device {options['device']}")

    def report(epoch, batch, batches, loss):
        if batch == batches or (batch % 200 == 0 and sys.stdout.isatty()):
            print(f"epoch {epoch}/{options['epochs']}, batch {batch}/{batches}, loss {loss:.4f}",
                  end="\n" if batch == batches else "\r", flush=True)

    network, vocabulary = train(fit, report=report, **options)
    save(path, network, vocabulary)
    print_metrics(network, vocabulary, held_out)
    texts = ["Text WIN to 80082"] if csv else frame["message"][:2]
    print("next: python", shlex.join(["elman_min.py", "predict", "--model", str(path), *texts]))

def run_test(csv, model, device, all):
    frame = read_messages(csv)
    if not all:
        frame = split(frame.drop_duplicates("message"))[1]
    print_metrics(*load(model, device), frame)

@torch.no_grad()
def run_predict(text, model, device):
    network, vocabulary = load(model, device)
    color = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.getenv("TERM") != "dumb"
    columns = shutil.get_terminal_size().columns // 20 or 1

    def paint(cell, p):  # red or green, legible on black and on white
        return f"\x1b[38;5;{160 if p > 0.5 else 28}m{cell}\x1b[0m" if color else cell

    stdin = (line.decode("utf-8-sig", "replace").rstrip() for line in sys.stdin.buffer)
    for message in stdin if text == ["-"] else text:
        ids = vocabulary.encode(message).to(device)
        y = network(ids[None])[0].sigmoid().flatten().tolist()
        verdict = "spam" if y[-1] > 0.5 else "ham"
        if text == ["-"]:
            print(verdict, f"{y[-1]:.4f}", message.translate(CONTROL), sep="\t", flush=True)
            continue
        cells = [f"{t.translate(CONTROL):>15.14} {p:.2f}" for t, p in zip(tokenize(message), y)]
        for i in range(0, len(cells), columns):
            print(*map(paint, cells[i:i + columns], y[i:]), sep="")
        print(paint(f"{verdict}: {y[-1]:.4f}\n", y[-1]))

def main(argv: list[str] | None = None) -> int:
    """Run the command line. Return the exit status: 0, 2 for an error, 130 for Ctrl-C."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="run", required=True)
    best = (torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")).type
    add = commands.add_parser("train", help="train and save a model").add_argument
    add("csv", nargs="?", help="labeled messages (default: toy messages)")
    for name, default, low, high, text in (
            ("--epochs", 18, 1, 10**6, "passes over the data"),
            ("--batch-size", 32, 1, 10**6, "messages per update"),
            ("--hidden-size", 32, 1, 1000, "hidden units"),
            ("--learning-rate", 3e-3, 1e-9, 1.0, "maximum learning rate"),
            ("--word-dropout", 0.3, 0.0, 1.0, "share of tokens made <UNK>"),
            ("--seed", 0, 0, 2**32 - 1, "random seed")):
        add(name, type=number(low, high), default=default, help=f"{text} (%(default)s)")
    add = commands.add_parser("test", help="evaluate a saved model").add_argument
    add("csv", help="labeled messages")
    add("--all", action="store_true", help="test on all rows")
    add = commands.add_parser("predict", help="classify messages").add_argument
    add("text", nargs="+", help="a message, or - to read lines from stdin")
    for name, command in commands.choices.items():
        file = None if name == "train" else "elman_min.pt"
        command.add_argument("--model", default=file, help="checkpoint, a .pt file")
        command.add_argument("--device", choices=sorted({"cpu", best}), default=best)
    args = vars(parser.parse_args(argv))
    runs: dict[str, Callable] = {"train": run_train, "test": run_test, "predict": run_predict}
    try:
        runs[args.pop("run")](**args)
        return 0
    except KeyboardInterrupt:
        status, reason = 130, "interrupted"
    except (OSError, ValueError, FloatingPointError) as error:
        status, reason = 2, str(error)
        if isinstance(error, FileNotFoundError):
            reason += "; data: see spam.csv.README, or train without; model: run train"
    print("elman_min.py:", reason.translate(CONTROL), file=sys.stderr)
    return status

if __name__ == "__main__":
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # exit quietly in `| head`
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # on ASCII terminals
    sys.exit(main())
