# SPDX-License-Identifier: MIT
"""Elman's recurrent network in plain PyTorch tensors, trained to tell spam from ham.

Spam is unwanted advertising and fraud; ham is every other message. The network (Elman,
Finding Structure in Time, Cognitive Science 14, 1990; his predicted the next bit, letter
or word) reads a message token by token. A token is a word, digits, a run of symbols, or
a fact about the whole message. Step t combines the token x_t with the hidden state
h_{t-1}, the memory of the earlier tokens:

    h_t = tanh(x_t W_xh + h_{t-1} W_hh + b_h)       h_0 = 0: nothing has been read yet
    y_t = sigmoid(h_t W_hy + b_y)                   sigmoid(z) = 1 / (1 + exp(-z))

    x_t   (I,)    input, one-hot: 1 at the token's id (an index, not a quantity), 0 elsewhere
    h_t   (H,)    hidden state, the values of H hidden units
    y_t   (O,)    output: the probability of spam, given the first t tokens (O = 1)
    W_xh  (I, H)  input weights; I is the number of tokens in the vocabulary
    W_hh  (H, H)  recurrent weights
    b_h   (H,)    hidden bias
    W_hy  (H, O)  output weights
    b_y   (O,)    output bias

The weights W and biases b are the parameters, which are learned from labeled messages.
They are the same at every step, so what is learned about a word at one place can be used
at all others, and a message may have any length. tanh maps into (-1, 1), which bounds
the hidden state. It also lets tokens affect each other: after "not", a word can mean
something else. Without tanh, h_t W_hy would sum one term per token, each set only by
that token and its distance from step t. sigmoid maps into (0, 1); its argument,
z_t = h_t W_hy + b_y, is called the logit.

The loss L measures, in one number, how wrong the outputs are. The gradient says, for
each parameter, how fast L changes as that parameter changes; an update moves the
parameters a little so that L should fall. Applying the chain rule from the last step T
back to the first is called backpropagation through time. Write h_t = tanh(a_t), * for
the elementwise product, .T for the transpose, vectors as rows. B messages are read at
once; length is the number of tokens of a message:

    dL/dz_t  = (y_t - target) / (B * length)        target: 1 for spam, 0 for ham
    dL/dh_t  = dL/dz_t W_hy.T + dL/da_{t+1} W_hh.T  h_t is used in z_t and, if t < T, a_{t+1}
    dL/da_t  = dL/dh_t * (1 - h_t^2)                the slope of tanh(a) is 1 - tanh(a)^2
    dL/dW_hh = sum of h_{t-1}.T dL/da_t             over steps and messages: all use W_hh

Each step back multiplies the gradient by W_hh.T, which may shrink or stretch it, and by
1 - h_t^2, which is at most 1. Over many steps it may become almost nothing (vanish) or
very large (explode). Where it vanishes (it is still exact), small changes in early states
hardly change late losses, so what to hold is hardly learned.

Commands, each with a line of its output:
    python elman_min.py train spam.csv               saved 'elman_min.pt'
    python elman_min.py test spam.csv                f1        0.9685
    python elman_min.py predict "Text WIN to 80082"  spam (P(spam) = 0.9986)
"""
import argparse
import csv
import io
import itertools
import re
import string
import sys
import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd  # pip install -r requirements.txt
import torch
from torch import Tensor, nn


# ---- Network ----
class ElmanRNN(nn.Module):
    """Elman's simple recurrent network: a hidden layer that feeds back into itself.

    `x` is a batch of B sequences of T steps: int64 ids (B, T), or float vectors
    (B, T, I) for inputs other than tokens. `hidden` is h_0: (B, H), or (H,) if all
    sequences share it; by default 0 (it could be learned, as one more parameter).
    `model(x, hidden)` calls `forward`, which returns logits (B, T, O) and states
    (B, T, H). PyTorch's RNN names states[:, -1] h_n, and has two biases, which just add
    up. To stack networks, pass the states of the first to the second as its `x`.

    No step looks ahead (the network is causal), so padding at the end of a sequence
    changes nothing before it. But states[:, -1] and logits[:, -1] of a padded sequence
    come after its padding; its last real step has the index length - 1. Messages are
    independent, so each begins afresh. To read one long stream in pieces, in order and
    without padding, pass hidden=states[:, -1].detach(): the gradient stops there, and
    the earlier steps need not be kept in memory.

    Elman called the units that hold h_{t-1} context units. His h_t used a sigmoid, whose
    slope is at most 1/4; tanh's reaches 1, so its gradient tends to vanish more slowly.
    His gradient stopped at h_{t-1}: no state was trained to hold what later steps need.
    """

    def __init__(self, input_size: int, hidden_size: int, output_size: int = 1):
        super().__init__()
        # parameters() lists each nn.Parameter; loss.backward() adds the gradient to its .grad.
        self.W_xh = nn.Parameter(torch.empty(input_size, hidden_size))
        self.W_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.b_h = nn.Parameter(torch.empty(hidden_size))
        self.W_hy = nn.Parameter(torch.empty(hidden_size, output_size))
        self.b_y = nn.Parameter(torch.empty(output_size))
        # Random, to break symmetry: hidden units with equal weights get equal gradients and stay
        # equal. Small, to keep the argument of tanh near 0: far from 0 tanh is flat (saturates).
        # Sums of H random terms grow as root H, so k shrinks as 1 / root H, as in PyTorch's RNN.
        k = hidden_size**-0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -k, k)

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if x.dim() == 3:
            xW = x @ self.W_xh
        else:
            # One-hot x_t W_xh is one row of W_xh: look it up instead of multiplying by zeros.
            xW = nn.functional.embedding(x, self.W_xh)
        xW_plus_b = xW + self.b_h               # (B, T, H), all steps at once: faster
        B, _, H = xW.shape
        h = xW.new_zeros(B, H) if hidden is None else hidden.expand(B, H)
        history = []
        # unbind: with xW_plus_b[:, t], each step's backward would fill a (B, T, H) gradient.
        for xW_plus_b_t in xW_plus_b.unbind(dim=1):  # in turn: each h needs the one before
            h = torch.tanh(xW_plus_b_t + h @ self.W_hh)
            history.append(h)                   # (B, H)
        states = torch.stack(history, dim=1)    # (B, T, H)
        logits = states @ self.W_hy + self.b_y  # (B, T, O)
        return logits, states


def sequence_loss(logits: Tensor, targets: Tensor, lengths: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of a batch of padded messages.

    `logits` (B, T, 1); `targets` (B,), 0 ham or 1 spam; `lengths` (B,), from 1 to T.
    The cross-entropy of a step is -log of the probability of the true class. Its slope
    with respect to the logit is y_t - target, so confident mistakes get the largest
    gradient; with squared error they would get almost none, as the sigmoid is flat
    there. The loss of a message is the mean over its steps, the result the mean over
    messages: long ones count no more than short ones. Only the last output is the
    answer, but a loss at every step raises F1 on spam.csv by .008 and makes every output
    an estimate from the tokens so far (early ones must guess, so the loss stays high).
    """
    _, T, _ = logits.shape
    step_targets = targets[:, None].expand(-1, T).to(logits.dtype)  # the same at every step
    # From logits: float32 sigmoid(z) is exactly 1 for z > 17, 0 for z < -89: no gradient is left.
    losses = nn.functional.binary_cross_entropy_with_logits(
        logits.squeeze(2), step_targets, reduction="none")           # (B, T)
    mask = torch.arange(T, device=logits.device) < lengths[:, None]  # (B, T), False on padding
    losses[~mask] = 0.0  # losses * mask would hide wrong shapes
    message_losses = losses.sum(dim=1) / mask.sum(dim=1)             # (B,)
    return message_losses.mean()


# ---- Text ----
CJK = "々〇\u3040-\u30ff\u3400-\u9fff"  # Chinese and Japanese characters
SYMBOLS = re.escape(string.punctuation + "‘’“”–—…，。、！？")  # not only ASCII
TOKEN = re.compile(rf"""
    0+                        # digits, which have all been replaced by 0
    | [{CJK}]                 # one character: these scripts put no spaces between words
    | [{SYMBOLS}]+            # a run of symbols, such as !!! or :-)
    | [^\s0{SYMBOLS}{CJK}]+   # a run of anything else: a word, £, an emoji
""", re.VERBOSE)


def tokenize(message: str) -> list[str]:
    """Split a text into words, symbols (both cut at six characters) and digits; add 3 facts.

    >>> print(*tokenize("Text WIN to 80082"))
    <length 0> <capitals 4> <digits 3> text win to 00000 <length 0><capitals 4><digits 3>

    The facts are the length in units of 25 characters, the share of capitals among the
    letters in tenths, and the number of digits in groups (none, one, two or three, four
    to seven, and so on). No single word shows them, and capitals are lost in lower case.
    As tokens, each value has its own row of weights; the steps are coarse, so that most
    values occur often. The facts come first, so that the network knows them when it reads
    the words, and again last (as one token: three are no better), because the state
    forgets: changing the first set moves the last logit by 5 to 8 in messages of 8
    tokens, but by less than .1 in those of 30, and most spam has more.
    """
    # An accented letter can be one character or two: make both forms equal.
    message = unicodedata.normalize("NFC", message)
    letters = [char for char in message if char.isalpha()]
    capitals = sum(char.isupper() for char in letters)
    digits = re.findall(r"\d", message)
    facts = [f"<length {len(message) // 25}>",
             f"<capitals {10 * capitals // max(len(letters), 1)}>",
             f"<digits {len(digits).bit_length()}>"]
    # WIN and win are one token. Few long numbers recur, but their lengths do (UK phone: 11).
    text = re.sub(r"\d", "0", message.lower())
    # Most word forms are rare: "winners" becomes "winner". A cut at 8 scores slightly worse.
    tokens = [token if token[0] == "0" else token[:6] for token in TOKEN.findall(text)]
    return [*facts, *tokens, "".join(facts)]


class Vocabulary:
    """Map tokens to ids and back. Any token not in it has id 0, `<UNK>` (unknown)."""

    def __init__(self, tokens: Iterable[str] = ()):
        self.idx_to_token = list(dict.fromkeys(["<UNK>", *tokens]))  # without repeats
        self.token_to_idx = {token: i for i, token in enumerate(self.idx_to_token)}

    def __len__(self) -> int:
        return len(self.idx_to_token)

    def encode(self, message: str) -> Tensor:
        """Return the ids of the tokens of a message, int64 (T,)."""
        ids = [self.token_to_idx.get(token, 0) for token in tokenize(message)]
        return torch.tensor(ids)


def build_vocabulary(frame: pd.DataFrame) -> Vocabulary:
    """Collect the tokens that occur twice or more. Others, too rare to learn, train <UNK>."""
    counts = Counter(token for message in frame["message"].tolist() for token in tokenize(message))
    return Vocabulary(token for token, count in counts.items() if count > 1)


# ---- Training and prediction ----
def padded_batches(frame: pd.DataFrame, vocabulary: Vocabulary, batch_size: int
                   ) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return batches (x, targets, lengths) of up to `batch_size` messages of similar length.

    `x` holds ids, int64 (B, T); `targets` and `lengths` (B,). One large matrix product
    is faster than B small ones, but larger batches mean fewer updates. A tensor is
    rectangular, so messages are padded to the longest of the batch. Padding shares id 0
    with <UNK>, which does no harm: the network is causal, and sequence_loss ignores padding.
    Sorting by length shortens padding, which nearly halves the training time (one long
    message slows its batch). Batches are made once: new ones each epoch are no better.
    """
    encoded = [vocabulary.encode(message) for message in frame["message"].tolist()]
    lengths = torch.tensor([len(ids) for ids in encoded])
    targets = torch.tensor(frame["target"].tolist())
    # Random among equal lengths: rows sorted by class would give more batches of one class.
    shuffled = torch.randperm(len(encoded))
    by_length = shuffled[lengths[shuffled].argsort(stable=True)]
    batches = []
    for rows in by_length.split(batch_size):  # (B,)
        chosen = [encoded[row] for row in rows]
        x = nn.utils.rnn.pad_sequence(chosen, batch_first=True)
        batches.append((x, targets[rows], lengths[rows]))
    return batches


def print_epoch(epoch: int, loss: float) -> None:
    print(f"epoch {epoch:2}  loss {loss:.4f}", flush=True)


def train(model: nn.Module, vocabulary: Vocabulary, frame: pd.DataFrame, *,
          epochs: int = 17, batch_size: int = 32, learning_rate: float = 6e-3,
          weight_decay: float = 0.2, word_dropout: float = 0.3,
          report: Callable[[int, float], object] = print_epoch) -> None:
    """Train `model` in place, on its device, on the columns `target` and `message`.

    `model` can be any causal module that maps ids (B, T) to a pair: logits (B, T, 1) and
    anything. An epoch is one pass over all messages; `report(epoch, loss)` is called
    after each with the mean loss of its batches, and may raise to stop. `word_dropout` is
    the probability that a token becomes <UNK>, so that the network learns to handle
    unknown words and to rely on no single token; it also makes probabilities less
    extreme. The defaults, and 32 hidden units, are from cross-validation on spam.csv
    (train on four fifths, test on the rest, five times), so tests on it are slightly
    optimistic. Raises ValueError unless targets are 0 and 1, both present.
    """
    if set(frame["target"]) != {0, 1}:
        raise ValueError("needs both ham (target 0) and spam (target 1), and no other targets")
    device = next(model.parameters()).device
    batches = padded_batches(frame, vocabulary, batch_size)
    # Adam divides each gradient's recent mean by that gradient's size, so rows of rare tokens move,
    # too; plain gradient descent hardly moves them. AdamW also shrinks all parameters a little at
    # each update (weight decay), against overfitting (memorizing), and scores slightly higher.
    optimizer = torch.optim.AdamW(model.parameters(), learning_rate, weight_decay=weight_decay,
                                  fused=True)  # fused: about a tenth faster
    # The learning rate, the step size, falls to 0 over `epochs`, or the last batches dominate.
    schedule = torch.optim.lr_scheduler.LinearLR(
        optimizer, start_factor=1.0, end_factor=0.0, total_iters=epochs * len(batches))
    for epoch in range(1, epochs + 1):
        model.train()  # dropout layers on, if any: `report` may have called predict
        total = 0.0
        # In random order: ending each epoch with the longest messages scores slightly lower.
        for i in torch.randperm(len(batches)):
            x, targets, lengths = batches[i]
            dropped = torch.rand(x.shape) < word_dropout  # on the CPU: the same on any device
            x = x.masked_fill(dropped, 0)
            logits, _ = model(x.to(device))  # (B, T, 1)
            loss = sequence_loss(logits, targets.to(device), lengths.to(device))
            optimizer.zero_grad()  # otherwise the gradients of all batches would add up
            loss.backward()  # backpropagation through time, by automatic differentiation
            optimizer.step()  # the update (clipping large gradients first scores the same)
            schedule.step()
            total += loss.item()  # as a number: a tensor would keep its graph
        report(epoch, total / len(batches))


@torch.no_grad()  # nothing is learned, so no gradient is needed
def token_probabilities(model: nn.Module, vocabulary: Vocabulary, message: str) -> Tensor:
    """Return the probability of spam after each token, given the tokens so far, (T,)."""
    model.eval()  # dropout layers off; word dropout is in `train` only
    ids = vocabulary.encode(message)  # (T,)
    batch = ids[None].to(next(model.parameters()).device)  # (1, T)
    logits, _ = model(batch)  # (1, T, 1)
    probabilities = torch.sigmoid(logits).cpu()
    return probabilities.reshape(len(ids))


def predict(model: nn.Module, vocabulary: Vocabulary, messages: Iterable[str]) -> Tensor:
    """Return the probability that each of N messages is spam, float (N,).

    It is read at the last token, after all others. Messages are processed one by one:
    batching could change rounding. Raises TypeError for a str or a DataFrame.
    """
    if isinstance(messages, (str, pd.DataFrame)):  # iterating gives letters or names
        raise TypeError('pass a list of messages, or frame["message"]')
    last = [token_probabilities(model, vocabulary, message)[-1] for message in messages]
    return torch.tensor(last)


# ======== Data, metrics, checkpoints, command line: nothing new about networks ========
LABELS = {"ham": 0, "spam": 1}


def toy_messages() -> pd.DataFrame:
    """Return requests to swap two things; asking for the more valuable one is spam.

    Each spam has a ham twin: the same words, but with the two things exchanged. To be
    always right, a network must hold the first thing in its state until it reads the
    second, after two to six other words. All things have four letters: the length of the
    message does not hint at the second one before it is read.
    """
    greetings = ["hi", "hello", "hey", "dear"]
    things = "soap cake book lamp coat desk sofa bike boat farm".split()  # cheapest first
    between = ["", " please", " right now", " if you can", " as soon as possible"]
    farewells = ["bye", "thanks", "cheers"]
    rows = []
    for greeting, words, farewell in itertools.product(greetings, between, farewells):
        for mine, yours in itertools.permutations(range(len(things)), 2):
            target = int(yours > mine)
            rows.append((target, f"{greeting} swap your {things[yours]}{words} for my "
                                 f"{things[mine]} {farewell}"))
    return pd.DataFrame(rows, columns=["target", "message"])


def read_messages(path: str | Path) -> pd.DataFrame:
    """Read labeled messages into the columns `target` (0 ham, 1 spam) and `message`.

    The text is UTF-8, else Windows-1252; tab-separated without quotes if its first line
    has a tab, else comma-separated with quotes. The first column is ham or spam, the
    second the message; others are ignored. No row may have more fields than the first.
    A first row that begins with neither is the header. Raises OSError or ValueError.
    """
    data = Path(path).read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    has_tabs = "\t" in text.lstrip().partition("\n")[0]  # in the first line
    try:
        table = pd.read_csv(
            io.StringIO(text), header=None, dtype=str, sep="\t" if has_tabs else ",",
            quoting=csv.QUOTE_NONE if has_tabs else csv.QUOTE_MINIMAL,
            na_filter=False)  # the filter would make a message "NA" NaN
        table["target"] = table[0].str.strip().str.lower().map(LABELS)  # NaN for other labels
        if table["target"].isna()[0]:
            table = table[1:]  # row 0 is a header
        others = table[0][table["target"].isna()]
        if len(others) > 0:
            raise ValueError(f"row {others.index[0] + 1} begins with {others.iloc[0][:20]!r}, "
                             "not with ham or spam")
        if 1 not in table or table.empty:
            raise ValueError("needs a column of ham and spam and a column of messages")
    except ValueError as error:
        raise ValueError(f"{str(path)!r}: {str(error).strip()} (README.md shows how to read "
                         "other layouts)") from error
    frame = pd.DataFrame({"target": table["target"].astype(int), "message": table[1]})
    return frame.reset_index(drop=True)


def split(frame: pd.DataFrame, fold: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split the distinct messages (of equal ones the first) into (train, test).

    A network can memorize the messages it trains on: test it on others (some of which
    may be nearly the same). A hash of the message decides, not a random number, so that
    `test` finds the same messages again, whatever the order of the rows. `fold`, from 0
    to 4, chooses about a fifth to test on; to split the rest again, use another fold.
    """
    distinct = frame.drop_duplicates("message")
    held_out = distinct["message"].str.encode("utf-8").map(zlib.crc32) % 5 == fold
    return distinct[~held_out], distinct[held_out]


# ---- Evaluation and checkpoints ----
def evaluate(probability: Iterable[float], target: Iterable[float]) -> dict[str, float]:
    """Return classification metrics for N probabilities of spam and N targets, 0 or 1.

    Both can be lists, arrays, Series or tensors, in the same order. A message counts as
    spam above .5; for another threshold, pass the tensor `p > threshold`. Accuracy is
    the share of right answers, high even if rare spam is always missed. Precision is the
    share of spam among messages that count as spam, recall the share of spam that is
    found, f1 their harmonic mean, mcc (Matthews) the correlation of answer and target.
    0 / 0 is 0 here. Raises ValueError for unequal lengths and for invalid numbers.
    """
    pairs = list(zip(probability, target, strict=True))
    p, y = torch.tensor(pairs, dtype=torch.double).reshape(-1, 2).T  # float32 rounds .50000001
    if not ((p >= 0) & (p <= 1) & ((y == 0) | (y == 1))).all():
        raise ValueError("pass probabilities from 0 to 1 (not logits) and targets, 0 or 1")
    says_spam = p > 0.5
    is_spam = y == 1
    tp = int((says_spam & is_spam).sum())    # spam found
    fp = int((says_spam & ~is_spam).sum())   # ham taken for spam
    fn = int((~says_spam & is_spam).sum())   # spam missed
    tn = int((~says_spam & ~is_spam).sum())  # ham recognized
    product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return {
        "accuracy": (tp + tn) / max(len(y), 1),
        "precision": tp / max(tp + fp, 1),
        "recall": tp / max(tp + fn, 1),
        "f1": 2 * tp / max(2 * tp + fp + fn, 1),
        "mcc": (tp * tn - fp * fn) / max(product**0.5, 1),
        "tp": tp, "fp": fp, "fn": fn, "tn": tn,
    }


def save(model: ElmanRNN, vocabulary: Vocabulary, path: str | Path) -> None:
    """Write a checkpoint. Raises OSError, or TypeError for what `load` would not rebuild."""
    if type(model) is not ElmanRNN or len(vocabulary) != len(model.W_xh):
        raise TypeError("pass an ElmanRNN, not a subclass or wrapper, and its own vocabulary")
    buffer = io.BytesIO()  # torch.save to a file can hide an OSError
    # The tokens, too: an id is a position in their list.
    torch.save({"weights": model.state_dict(), "tokens": vocabulary.idx_to_token}, buffer)
    # Write elsewhere, then rename, so that an interrupted run leaves the old file whole.
    temporary = Path(f"{path}.tmp")
    temporary.write_bytes(buffer.getvalue())
    temporary.replace(path)


def load(path: str | Path, device: str | torch.device = "cpu") -> tuple[ElmanRNN, Vocabulary]:
    """Load a checkpoint. Raises OSError, or ValueError if it is invalid."""
    data = Path(path).read_bytes()
    try:
        # weights_only, so that loading cannot run code from the file
        checkpoint = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        vocabulary = Vocabulary(checkpoint["tokens"])
        hidden_size, output_size = checkpoint["weights"]["W_hy"].shape
        model = ElmanRNN(len(vocabulary), hidden_size, output_size)
        model.load_state_dict(checkpoint["weights"])
    except Exception as error:  # an arbitrary file can raise almost any error
        raise ValueError(f"{str(path)!r} is not a checkpoint of this program") from error
    return model.to(device), vocabulary


# ---- Command line ----
def show_prediction(model: ElmanRNN, vocabulary: Vocabulary, text: str) -> None:
    probabilities = token_probabilities(model, vocabulary, text).tolist()
    for token, p in zip(tokenize(text), probabilities):
        bar = "#" * round(20 * p)
        print(f"{p:.2f} {bar:20} {token!r}")
    last = probabilities[-1]
    ham, spam = LABELS.keys()
    print(f"{spam if last > 0.5 else ham} (P(spam) = {last:.4f})")


def main(argv: list[str] | None = None) -> None:
    """Run the command line. A user's mistake ends with a message and a nonzero status."""
    torch.set_num_threads(1)  # the matrices are so small that more threads are slower
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    parser = argparse.ArgumentParser(description="Train, test and use a spam filter.")
    parser.add_argument("command", choices=["train", "test", "predict"])
    parser.add_argument("input", nargs="?", help="labeled messages (default: toy ones) or a text")
    parser.add_argument("--model", help="checkpoint (default: elman_min.pt; for the toy: toy.pt)")
    parser.add_argument("--device", default="cpu",
                        choices=["cpu"] if accelerator is None else ["cpu", accelerator.type],
                        help="default: cpu; a network this small is seldom faster on another")
    args = parser.parse_intermixed_args(argv)  # for `predict --model x.pt TEXT`
    if args.command == "predict" and args.input is None:
        parser.error("predict needs a text")
    path = args.model or ("toy.pt" if args.input is None else "elman_min.pt")
    if not path.endswith(".pt"):
        parser.error("--model must end in .pt, so that no data file is replaced")
    try:
        if args.command == "predict":
            model, vocabulary = load(path, args.device)
            show_prediction(model, vocabulary, args.input)
            return
        frame = toy_messages() if args.input is None else read_messages(args.input)
        fit, held_out = split(frame)
        print(f"{len(frame):,} messages, {frame['target'].sum():,} of them spam; "
              f"{len(fit):,} distinct ones to train, {len(held_out):,} to test")
        if held_out.empty:
            raise ValueError("too few messages to hold any out for testing")
        if args.command == "train":
            torch.manual_seed(0)  # reproducible on the same machine and versions
            vocabulary = build_vocabulary(fit)
            model = ElmanRNN(len(vocabulary), hidden_size=32).to(args.device)
            train(model, vocabulary, fit)
            save(model, vocabulary, path)
            print(f"saved {path!r}")
        model, vocabulary = load(path, args.device)  # after training, too: test what was saved
        probability = predict(model, vocabulary, held_out["message"])
        for name, value in evaluate(probability, held_out["target"]).items():
            print(f"{name:9} {round(value, 4)}")
    except FileNotFoundError as error:
        sys.exit(f"elman_min.py: {error}; for data, see spam.csv.README; for a checkpoint, "
                 "first run train [FILE], or choose one with --model")
    except (OSError, ValueError) as error:
        sys.exit(f"elman_min.py: {error}")


if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):  # not in a notebook
        sys.stdout.reconfigure(errors="replace")  # for terminals that cannot show a character
    main()
