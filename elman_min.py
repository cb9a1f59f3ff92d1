# SPDX-License-Identifier: MIT
"""Elman's recurrent network in plain PyTorch tensors, trained to tell spam from ham.

Spam is unwanted advertising and fraud; ham is every other message. The network (Elman,
Finding Structure in Time, Cognitive Science 14, 1990) reads a message token by token: a
word, a number, a run of symbols, or a fact about the whole message. Step t combines the
token x_t with the hidden state h_{t-1}, the memory of earlier tokens:

    h_t = tanh(x_t W_xh + h_{t-1} W_hh + b_h)        h_0 = 0
    y_t = sigmoid(h_t W_hy + b_y)

    x_t   (I,)    input, one-hot: 1 at the number of the token (its id), 0 elsewhere
    h_t   (H,)    hidden state
    y_t   (O,)    output: the probability of spam after t tokens (O = 1)
    W_xh  (I, H)  input weights
    W_hh  (H, H)  recurrent weights
    b_h   (H,)    hidden bias
    W_hy  (H, O)  output weights
    b_y   (O,)    output bias

tanh maps into (-1, 1), and without it the network would only be a linear function.
sigmoid maps into (0, 1); its input is called the logit. All W and b are learned from
labeled messages; together they are called the weights.

How it learns: messages are processed in batches, since one large matrix product is
faster than many small ones; shorter messages are padded to the length of the longest,
because a tensor is rectangular. The loss says in one number how wrong the predicted
probabilities are; the gradient says, for each weight, how much the loss changes when
that weight changes. After each batch, an update moves every weight a little, roughly
against its gradient, so that the loss falls; an epoch is one pass over all messages.
Each state depends on the one before, so the chain rule carries the gradient of the loss
from the last step back to the first: backpropagation through time. Word order matters:
every step transforms the memory, so the same words in another order give another final
state. Rare and new tokens become <UNK>, and in training random tokens do, too (word
dropout), so that the network learns to handle unknown words and not to rely on any
single word. A seed fixes all random numbers: the same machine, versions, device and
number of threads give the same weights, on a CPU bit for bit; elsewhere nearly so.

    python elman_min.py train spam.csv
    python elman_min.py test spam.csv
    python elman_min.py predict "Text WIN to 80082"
"""
import argparse
import csv
import io
import random
import re
import signal
import string
import sys
import unicodedata
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

    `x` is a batch of B sequences of T >= 1 steps: int64 ids (B, T), or float vectors
    (B, T, I) for inputs other than words. `hidden` (B, H) is h_0, by default 0; any
    other shape raises ValueError. Returns the logits (B, T, O) and all states (B, T, H).
    Step t never looks ahead (the network is causal), so padding at the end changes
    nothing before it. The last state of a padded sequence i is states[i, lengths[i] - 1].
    To continue an unpadded stream, pass hidden=states[:, -1].detach(): the gradient
    stops there, so the earlier steps need not be kept in memory.
    Elman used a sigmoid for h_t. Each step back multiplies the gradient by the slope of
    the sigmoid, at most 1/4, or of tanh, up to 1, so tanh shrinks the gradient less. He
    treated h_{t-1} as a constant; here the gradient flows through it back to step 1.
    """

    def __init__(self, input_size: int, hidden_size: int, output_size: int = 1):
        super().__init__()
        if min(input_size, hidden_size, output_size) < 1:
            raise ValueError("input_size, hidden_size and output_size must be at least 1")
        self.W_xh = nn.Parameter(torch.empty(input_size, hidden_size))
        self.W_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.b_h = nn.Parameter(torch.empty(hidden_size))
        self.W_hy = nn.Parameter(torch.empty(hidden_size, output_size))
        self.b_y = nn.Parameter(torch.empty(output_size))
        # Random (symmetry breaking), because hidden units with equal weights get equal gradients
        # and stay equal. Small, to keep the input to tanh, a sum over the hidden units, near
        # 0: far from 0 tanh is flat and its gradient almost 0. PyTorch's RNN has this range.
        k = hidden_size**-0.5
        for weight in self.parameters():
            nn.init.uniform_(weight, -k, k)

    def forward(self, x: torch.Tensor, hidden: torch.Tensor | None = None
        ) -> tuple[torch.Tensor, torch.Tensor]:
        if x.dim() == 3:
            from_x = x @ self.W_xh
        else:
            # One-hot x_t W_xh is one row of W_xh: look it up instead of multiplying by zeros.
            from_x = nn.functional.embedding(x, self.W_xh)
        B, _, H = from_x.shape
        h = from_x.new_zeros(B, H) if hidden is None else hidden
        if h.shape != (B, H):
            raise ValueError(f"hidden must have the shape {(B, H)}, not {tuple(h.shape)}")
        inputs = from_x + self.b_h                   # (B, T, H), all steps at once
        history = []
        # unbind, as the gradient of each inputs[:, t] would be a (B, T, H) tensor, nearly all 0.
        for input_t in inputs.unbind(dim=1):         # (B, H): x_t W_xh + b_h
            h = torch.tanh(input_t + h @ self.W_hh)  # (B, H)
            history.append(h)
        states = torch.stack(history, dim=1)         # (B, T, H)
        logits = states @ self.W_hy + self.b_y       # (B, T, O)
        return logits, states

def sequence_loss(logits: torch.Tensor, targets: torch.Tensor, lengths: torch.Tensor,
                  last_only: bool = False) -> torch.Tensor:
    """Return the mean binary cross-entropy of a batch of padded messages.

    `logits` (B, T); `targets` (B,), 0 ham or 1 spam; `lengths` (B,), from 1 to T; other
    shapes or ranges raise ValueError. Cross-entropy, at each step, is -log of the
    probability of the true class, so confident mistakes cost most. The loss of a
    message is the mean over its steps, or with `last_only` that of the last step. The
    result is the mean over messages, so that long ones count no more than short ones.
    For three classes, use output_size=3, targets 0 to 2, cross_entropy and softmax, and
    change the functions below accordingly.
    """
    if logits.dim() != 2 or targets.shape != logits.shape[:1] or lengths.shape != targets.shape:
        raise ValueError("pass logits (B, T), targets (B,) and lengths (B,)")
    T = logits.shape[1]
    if lengths.min() < 1 or lengths.max() > T or targets.min() < 0 or targets.max() > 1:
        raise ValueError("lengths must be from 1 to T, and targets from 0 to 1")
    targets = targets[:, None].expand_as(logits).to(logits.dtype)  # (B, T)
    # From logits: a sigmoid can round to exactly 0, where -log and its gradient are infinite.
    losses = nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    step = torch.arange(1, T + 1, device=logits.device)  # (T,)
    last_step = lengths[:, None]  # (B, 1)
    counted = step <= last_step  # (B, T), False on padding
    if last_only:
        counted = step == last_step
    message_losses = (losses * counted).sum(dim=1) / counted.sum(dim=1)  # (B,)
    return message_losses.mean()

# ---- Text ----
# Example, after `train spam.csv`: "Text WIN to 80082"
# tokens  <length 0> <capitals 4> <digits 3> text win to 00000
# ids     430 2075 70 31 21 20 32, int64 (T,) = (7,)
# logits  (1, 7, 1); sigmoid(logits[0, -1, 0]) = 0.999 is P(spam)

SYMBOLS = re.escape(string.punctuation + "‘’“”–—…")  # ASCII, and what phones add
TOKEN = re.compile(rf"""
    0+                    # a number, whose digits have all been replaced by 0
    | [^\s0{SYMBOLS}]+     # a word, in any script with spaces between words; also £ or an emoji
    | [{SYMBOLS}]+         # a run of symbols, such as !!! or :-)
""", re.VERBOSE)

def tokenize(message: str) -> list[str]:
    """Split any text into tokens: three about the message, then words, numbers, symbols.

    The first three record what the words do not show: the length in units of 25
    characters, the share of capitals among the letters in tenths, and the number of
    digits grouped as 0, 1, 2-3, 4-7 and so on. They are coarse, so that most values are
    frequent enough to learn from. They come first, so that the network already knows
    them when it reads the words.
    """
    # An accented letter can be one character or two: make both forms equal.
    message = unicodedata.normalize("NFC", message)
    letters = [char for char in message if char.isalpha()]
    capitals = sum(char.isupper() for char in letters)
    digits = re.findall(r"\d", message)
    tokens = [f"<length {len(message) // 25}>",
              f"<capitals {10 * capitals // max(len(letters), 1)}>",
              f"<digits {len(digits).bit_length()}>"]
    # Few numbers recur, but their lengths do: 11 digits are often a phone number.
    text = re.sub(r"\d", "0", message.lower())
    for token in TOKEN.findall(text):
        if token[0] != "0":
            # Most forms of a word are rare: "winners" becomes "winner". Six scored best.
            token = token[:6]
        tokens.append(token)
    return tokens

def check_messages(messages: Iterable[str]) -> None:
    """Raise TypeError for a str or DataFrame: iteration gives letters or column names."""
    if isinstance(messages, (str, pd.DataFrame)):
        raise TypeError('pass a list of messages, or frame["message"]')

class Vocabulary:
    """Map tokens to ids and back. Unknown tokens have id 0, `<UNK>`.

    Tokens that occur fewer than `min_count` times stay unknown: one example is too few
    to learn from. Padding has id 0 too, which does no harm: the network is causal, and
    sequence_loss gives padding no weight.
    """

    def __init__(self, messages: Iterable[str] = (), min_count: int = 2):
        check_messages(messages)
        self.idx_to_token = ["<UNK>"]
        self.token_to_idx = {"<UNK>": 0}
        counts: Counter[str] = Counter()
        for message in messages:
            counts.update(tokenize(message))
        for token, count in counts.items():
            if count >= min_count:
                self.add_token(token)

    def __len__(self) -> int:
        return len(self.idx_to_token)

    def add_token(self, token: str) -> None:
        """Add a token if it is new. Its id is the number of tokens before it."""
        if token not in self.token_to_idx:
            self.token_to_idx[token] = len(self)
            self.idx_to_token.append(token)

    def encode(self, message: str) -> torch.Tensor:
        """Return the ids of the tokens of a message, int64 (T,)."""
        ids = [self.token_to_idx.get(token, 0) for token in tokenize(message)]
        return torch.tensor(ids)

# ---- Data ----

def toy_messages(n: int, seed: int = 0) -> pd.DataFrame:
    """Return `n` requests to swap two things: spam if they ask for the more valuable one.

    Each spam has a ham twin (if `n` is even), with the two things exchanged. As twins
    have the same words, word counts alone cannot separate them: the network must
    remember the first thing until it reads the second.
    """
    things = "pen cup book lamp watch phone bike car boat house".split()  # in order of value
    rng = random.Random(seed)
    rows: list[tuple[int, str]] = []
    while len(rows) < n:
        greeting = rng.choice("hi hello hey dear sir madam".split())
        farewell = rng.choice("bye thanks cheers ok soon today".split())
        low, high = sorted(rng.sample(range(10), 2))
        rows.append((1, f"{greeting} swap your {things[high]} for my {things[low]} {farewell}"))
        rows.append((0, f"{greeting} swap your {things[low]} for my {things[high]} {farewell}"))
    return pd.DataFrame(rows[:n], columns=["target", "message"])

def find_labels(table: pd.DataFrame, message_column: int) -> pd.Series:
    """Return the one column of labels: 0 for ham, 1 for spam, missing for a header."""
    cells = table.drop(columns=message_column).map(str.strip).map(str.lower)
    body = cells[1:]  # below the first row, which may be a header
    labels = {"ham": 0, "spam": 1}
    found = body.isin(list(labels)).any()
    if not found.any():
        # Other columns may contain 0 and 1; the label column contains nothing else.
        labels = {"0": 0, "1": 1}
        found = body.isin(list(labels)).all()
    if found.sum() != 1 or body.empty:  # all() of no rows is true
        raise ValueError("needs rows with one column of labels (ham and spam, or 0 and 1) besides "
                         f"that with the most text; found {cells.iloc[0][found].tolist()}")
    column = found.idxmax()  # the one that is True
    target = cells[column].map(labels)
    unlabeled = table[column][1:][target[1:].isna()]
    if len(unlabeled) > 0:
        raise ValueError(f"row {unlabeled.index[0] + 1} is labeled {unlabeled.iloc[0]!r}")
    return target

def read_messages(path: str | Path) -> pd.DataFrame:
    """Read labeled messages into the columns `target` (0 ham, 1 spam) and `message`.

    The text is UTF-8, else Windows-1252. It is tab-separated without quoting if its
    first line has a tab, else quoted CSV with commas, or with semicolons if that line
    has some and no comma. The messages are the column with the most text. Of the other
    columns, exactly one must hold the labels below the first row: ham or spam or, if no
    column has these, only 0 and 1. Text in further columns is ignored. A first row
    without a label is the header. (A header "spam" above labels in words is taken for a
    label.) `attrs["source"]` says what was found. Raises OSError or ValueError.
    """
    data = Path(path).read_bytes()
    try:
        encoding = "UTF-8"
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        encoding = "Windows-1252"
        text = data.decode("cp1252", "replace")
    lines = text.strip().split("\n")
    first_line = lines[0]
    separator = ","
    if "\t" in first_line:
        separator = "\t"
    elif ";" in first_line and "," not in first_line:
        separator = ";"
    try:
        table = pd.read_csv(
            io.StringIO(text), sep=separator, header=None, dtype=str,
            quoting=csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL,
            na_filter=False)  # the filter would drop a message "NA"
        text_lengths = table.map(len).sum()  # characters in each column
        message_column = int(text_lengths.argmax())  # columns are named 0, 1, ...
        target = find_labels(table, message_column)
    except ValueError as error:
        hint = "; are messages with commas in quotes?" if "fields in line" in str(error) else ""
        raise ValueError(f"{path}: {str(error).strip()}{hint}") from error
    frame = pd.DataFrame({"target": target, "message": table[message_column]})
    frame = frame.dropna(ignore_index=True).astype({"target": int})  # without the header
    frame.attrs["source"] = (
        f"{len(frame):,} messages from {len(lines):,} lines of {encoding}; labels from "
        f"the column {table[target.name][0]!r}, messages from {table[message_column][0][:30]!r}")
    return frame

def check_frame(frame: pd.DataFrame) -> None:
    """Raise TypeError unless `frame` has the columns of read_messages, messages as str."""
    has_columns = isinstance(frame, pd.DataFrame) and {"target", "message"} <= set(frame.columns)
    if not has_columns or not all(isinstance(message, str) for message in frame["message"]):
        raise TypeError('pass a DataFrame with 0 and 1 in "target" and str in "message"')

def split(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split into (train, test), with about a fifth of the messages in test.

    A network can memorize the messages it trains on, so only others show what it has
    learned. A hash of the message decides, not a random number: exact copies stay
    together, and `test` finds the same messages again, whatever the order of the rows.
    """
    check_frame(frame)
    data = frame["message"].str.encode("utf-8", "replace")  # lone surrogates have no UTF-8
    held_out = data.map(zlib.crc32) % 5 == 0
    return frame[~held_out], frame[held_out]

class PaddedBatches(Dataset):
    """Batches of messages of similar length, so that little padding is needed.

    A batch is x (B, T), padded with 0; lengths (B,); targets (B,). A very long message
    costs time and memory only in its own batch, which is padded to its length.
    """

    def __init__(self, frame: pd.DataFrame, vocabulary: Vocabulary, batch_size: int):
        check_frame(frame)
        encoded = [vocabulary.encode(message) for message in frame["message"]]
        lengths = torch.tensor([len(ids) for ids in encoded])
        targets = torch.tensor(frame["target"].tolist())
        self.batches = []
        for rows in lengths.argsort(stable=True).split(batch_size):  # (B,)
            chosen = [encoded[row] for row in rows]
            x = nn.utils.rnn.pad_sequence(chosen, batch_first=True)
            self.batches.append((x, lengths[rows], targets[rows]))

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, ...]:
        return self.batches[i]

# ---- Training and evaluation ----

def train(frame: pd.DataFrame, *, model: nn.Module | None = None,
          vocabulary: Vocabulary | None = None, epochs: int = 18, batch_size: int = 32,
          hidden_size: int = 32, learning_rate: float = 3e-3, word_dropout: float = 0.3,
          seed: int = 0, device: str | torch.device = "cpu",
          report: Callable[[int, float], object] | None = None) -> tuple[nn.Module, Vocabulary]:
    """Train on all rows of `frame`. Return the model and its vocabulary.

    A `model` given with its `vocabulary` is trained further, in place and on its
    device; no tokens are added. It can be any causal module that returns two results,
    the first being logits (B, T, 1). `hidden_size` and `device` are for a new model.
    `word_dropout` is the probability that a token becomes <UNK>. `report(epoch, loss)`
    is called after each epoch with the mean loss of its batches. To stop early, pass a
    model and raise an exception in `report`; the updates made so far remain. Seeds
    torch's global generator. The defaults scored best in cross-validation. Raises
    TypeError or ValueError.
    """
    check_frame(frame)
    if set(frame["target"]) != {0, 1}:
        raise ValueError("targets must be 0 (ham) and 1 (spam), both present")
    if min(epochs, batch_size) < 1 or learning_rate <= 0 or not 0 <= word_dropout <= 1:
        raise ValueError("epochs, batch_size and learning_rate must be positive, and "
                         "word_dropout from 0 to 1")
    torch.manual_seed(seed)
    if model is None and vocabulary is None:
        vocabulary = Vocabulary(frame["message"])
        model = ElmanRNN(len(vocabulary), hidden_size).to(device)
    if model is None or vocabulary is None:
        raise ValueError("pass a model together with its vocabulary")
    device = next(model.parameters()).device
    was_training = model.training
    batches = PaddedBatches(frame, vocabulary, batch_size)
    loader = DataLoader(batches, batch_size=None, shuffle=True)  # None: they are batches already
    # Adam divides the running mean of each weight's gradient by its running root mean square, so
    # that all weights move by similar amounts. Fused is faster.
    optimizer = torch.optim.Adam(model.parameters(), learning_rate, fused=True)
    # The learning rate, the size of the updates, starts low while these means are still
    # unreliable (warmup), and falls at the end so that the weights settle. OneCycleLR also varies
    # beta1, how far back the running mean reaches. This schedule beat a constant rate.
    updates = max(epochs * len(loader), 2)  # with 1, the only rate would be the last, near 0
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, updates)
    for epoch in range(1, epochs + 1):
        # A loss at every step teaches more, but also demands an answer too early. The final
        # answer is read at the last step, so in the last fifth of the epochs only that step
        # counts. (The loss drops, without the uncertain early steps.) The last third scored worse.
        last_only = epoch > epochs - round(epochs / 5)
        model.train()  # for a given model with dropout layers; ElmanRNN has none
        total = 0.0
        for x, lengths, targets in loader:
            dropped = torch.rand(x.shape) < word_dropout  # on the CPU: equal on all devices
            x = x.masked_fill(dropped, 0).to(device)
            logits, _ = model(x)  # (B, T, 1)
            loss = sequence_loss(logits.squeeze(2), targets.to(device), lengths.to(device),
                                 last_only)
            optimizer.zero_grad()  # otherwise the gradients of all batches would add up
            loss.backward()  # computes the gradient of every weight
            # Each step back multiplies the gradient by tanh's slope, 1 - h^2, and by W_hh. Over
            # many steps the product may explode or vanish. Scaling the gradient of all weights
            # to a norm of at most 1 limits an explosion; it does not restore what vanished.
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()  # moves every weight, roughly against its gradient
            schedule.step()
            total += loss.item()
        model.train(was_training)  # leave it as the caller had it
        if report is not None:
            report(epoch, total / len(loader))
    return model, vocabulary

@torch.no_grad()  # nothing is learned, so no gradient is needed
def token_probabilities(model: nn.Module, vocabulary: Vocabulary, message: str) -> torch.Tensor:
    """Return the probability of spam after each token of the message, float (T,)."""
    device = next(model.parameters()).device
    ids = vocabulary.encode(message).to(device)  # (T,)
    was_training = model.training
    model.eval()  # turns dropout layers off
    logits, _ = model(ids[None])  # (1, T, 1)
    model.train(was_training)
    probabilities = torch.sigmoid(logits)
    return probabilities.reshape(len(ids)).cpu()

def predict(model: nn.Module, vocabulary: Vocabulary, messages: Iterable[str]) -> torch.Tensor:
    """Return the probability that each of N messages is spam, float (N,).

    It is read at the last token, when the network has seen the whole message. Messages
    are processed one by one: in a batch, rounding could depend on the other messages.
    """
    check_messages(messages)
    last = [token_probabilities(model, vocabulary, message)[-1] for message in messages]
    return torch.tensor(last)

def evaluate(probability: Iterable[float], target: Iterable[float]) -> dict[str, float]:
    """Return classification metrics for N probabilities of spam and N targets, 0 or 1.

    Both can be lists, arrays, Series or tensors, in the same order. A message counts as
    spam above .5. `mcc`, the Matthews correlation coefficient, is 0 if all get the same
    class, where accuracy can still be high. A ratio whose denominator is 0 is 0.
    Raises ValueError or TypeError.
    """
    p = pd.Series(probability, dtype=float)
    y = pd.Series(target, dtype=float)
    if len(p) != len(y) or not p.between(0, 1).all() or not y.isin([0, 1]).all():
        raise ValueError("pass N probabilities from 0 to 1 (not logits) and N targets, 0 or 1")
    counts = Counter(zip(p > 0.5, y == 1))
    tp = counts[True, True]    # spam found
    fp = counts[True, False]   # ham taken for spam
    fn = counts[False, True]   # spam missed
    tn = counts[False, False]  # ham recognized
    # The counts are integers: max(n, 1) changes only a denominator of 0.
    product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return {
        "accuracy": (tp + tn) / max(len(p), 1),
        "precision": tp / max(tp + fp, 1),
        "recall": tp / max(tp + fn, 1),
        "f1": 2 * tp / max(2 * tp + fp + fn, 1),
        "mcc": (tp * tn - fp * fn) / max(product**0.5, 1),
        "tp": tp, "fp": fp, "fn": fn, "tn": tn,
    }

# ---- Checkpoints ----

def save(path: str | Path, model: nn.Module, vocabulary: Vocabulary) -> None:
    """Write a checkpoint of an ElmanRNN: its weights and the tokens.

    It is written under another name, then renamed. So if the program is interrupted or
    crashes, `path` is the old checkpoint or the new one, never half of it; a file
    `path`.tmp may remain. A power cut can truncate `path`: nothing calls os.fsync.
    Raises OSError, or TypeError for what `load` could not rebuild.
    """
    if type(model) is not ElmanRNN or len(vocabulary) != len(model.W_xh):
        raise TypeError("pass an ElmanRNN, not a subclass or wrapper, and its own vocabulary")
    temporary = Path(f"{path}.tmp")
    with temporary.open("wb") as file:  # given a path, torch.save hides the OSError
        torch.save({"weights": model.state_dict(), "tokens": vocabulary.idx_to_token}, file)
    temporary.replace(path)

def load(path: str | Path, device: str | torch.device = "cpu") -> tuple[ElmanRNN, Vocabulary]:
    """Load a checkpoint. Raises OSError, or ValueError if it is invalid."""
    data = Path(path).read_bytes()  # outside of try: an unreadable file is not an invalid one
    vocabulary = Vocabulary()
    try:
        # weights_only, so that no code that the file contains is run.
        checkpoint = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        for token in checkpoint["tokens"]:
            vocabulary.add_token(token)
        hidden_size, output_size = checkpoint["weights"]["W_hy"].shape
        model = ElmanRNN(len(vocabulary), hidden_size, output_size)
        model.load_state_dict(checkpoint["weights"])
    except Exception as error:  # an arbitrary file can cause errors of many types
        raise ValueError(f"{path} is not a checkpoint of this program") from error
    return model.to(device), vocabulary

# ---- Command line ----
# Nothing new about networks follows.

def printable(text: str) -> str:
    """Blank out characters that could move the cursor or fake a line of output."""
    return "".join(char if char.isprintable() else " " for char in text)

def is_one_class(probability: torch.Tensor) -> bool:
    classes = (probability > 0.5).unique()
    return len(classes) == 1

def print_metrics(probability: torch.Tensor, frame: pd.DataFrame) -> None:
    metrics = evaluate(probability, frame["target"])
    for name, value in metrics.items():
        print(f"{name:9} {round(value, 4)}")

def print_epoch(epoch: int, loss: float) -> None:
    print(f"epoch {epoch:2}  loss {loss:.4f}", flush=True)

def run_train(args: argparse.Namespace) -> None:
    if not args.model.endswith(".pt"):
        raise ValueError(f"--model {args.model} must end in .pt, to keep data files safe")
    if not Path(args.model).parent.is_dir():
        raise ValueError(f"--model {args.model} is in a folder that does not exist")
    frame = toy_messages(2000) if args.data is None else read_messages(args.data)
    source = frame.attrs.get("source", "toy messages")
    print(printable(source))
    fit, held_out = split(frame.drop_duplicates("message"))
    if held_out["target"].nunique() < 2:
        raise ValueError("too few ham or spam messages to hold out some of each")
    print(f"training on {len(fit):,} distinct messages, holding out {len(held_out):,}; "
          f"device {args.device}")
    model, vocabulary = train(fit, device=args.device, report=print_epoch)
    probability = predict(model, vocabulary, held_out["message"])
    if is_one_class(probability) and is_one_class(predict(model, vocabulary, fit["message"])):
        # It has learned nothing, and would replace a checkpoint that has.
        raise ValueError("not saved, since all messages get the same class; "
                         "try more messages, or from Python other arguments of train")
    print_metrics(probability, held_out)
    save(args.model, model, vocabulary)
    print(printable(f"saved {args.model}"))

def run_test(args: argparse.Namespace) -> None:
    frame = toy_messages(2000) if args.data is None else read_messages(args.data)
    part = "rows, which may include those the model was trained on"
    if not args.all:
        _, frame = split(frame.drop_duplicates("message"))
        part = "distinct messages, which train holds out"
    if frame.empty:
        raise ValueError("there is nothing to test on; try --all")
    print(f"testing on {len(frame):,} {part}")
    model, vocabulary = load(args.model, args.device)
    probability = predict(model, vocabulary, frame["message"])
    print_metrics(probability, frame)
    if is_one_class(probability):
        print("all messages get the same class")
    p = probability.numpy()
    frame = frame.assign(p=p, error=abs(p - frame["target"]))
    mistakes = frame[(p > 0.5) != (frame["target"] == 1)]
    print(f"{len(mistakes)} mistakes; the worst, at most ten, with P(spam):")
    worst = mistakes.nlargest(10, "error")
    for p_spam, message in zip(worst["p"], worst["message"]):
        line = printable(message)[:70]
        print(f"{p_spam:.4f} {line}")

def run_predict(args: argparse.Namespace) -> None:
    model, vocabulary = load(args.model, args.device)
    from_stdin = args.text == ["-"]
    messages = args.text
    if from_stdin:
        messages = (line.decode("utf-8-sig", "replace").rstrip("\r\n")
                    for line in sys.stdin.buffer)
    for message in messages:
        probabilities = token_probabilities(model, vocabulary, message).tolist()
        last = probabilities[-1]
        label = "spam" if last > 0.5 else "ham"
        if from_stdin:
            print(f"{label}\t{last:.4f}\t{printable(message)}", flush=True)
            continue
        for token, p in zip(tokenize(message), probabilities):
            bar = "#" * round(20 * p)
            print(f"{p:.2f} {bar:20} {printable(token)[:50]}")
        print(f"{label} (P(spam) = {last:.4f})")

def main(argv: list[str] | None = None) -> int:
    """Run the command line. Return the exit status: 0, 2 for an error, 130 for Ctrl-C."""
    torch.set_num_threads(1)  # the matrices are so small that more threads are slower
    device = str(torch.accelerator.current_accelerator(check_available=True) or "cpu")
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    train_parser = commands.add_parser("train", help="train and save a model")
    test_parser = commands.add_parser("test", help="evaluate a saved model")
    test_parser.add_argument("--all", action="store_true", help="all rows, also those trained on")
    for command in (train_parser, test_parser):
        command.add_argument("data", nargs="?", help="labeled messages (default: toy messages)")
    predict_parser = commands.add_parser("predict", help="classify messages")
    predict_parser.add_argument("text", nargs="+", help="a message, or - for lines of input")
    for command in (train_parser, test_parser, predict_parser):
        command.add_argument("--model", help="checkpoint (default: elman_min.pt, for toys toy.pt)")
        command.add_argument("--device", default=device, choices=sorted({"cpu", device}))
    args = parser.parse_args(argv)
    if args.model is None:
        is_toy = args.command != "predict" and args.data is None
        args.model = "toy.pt" if is_toy else "elman_min.pt"
    runs = {"train": run_train, "test": run_test, "predict": run_predict}
    try:
        runs[args.command](args)
        return 0
    except KeyboardInterrupt:
        print("elman_min.py: interrupted", file=sys.stderr)
        return 130
    except (OSError, ValueError) as error:
        reason = f"elman_min.py: {error}"
        if isinstance(error, FileNotFoundError):
            reason += (" (data: see spam.csv.README; model: run `train spam.csv`, or run `train` "
                       "and use --model toy.pt)")
        print(printable(reason), file=sys.stderr)
        return 2

if __name__ == "__main__":
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # exit quietly in `| head`
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # on ASCII terminals
    sys.exit(main())
