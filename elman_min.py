# SPDX-License-Identifier: MIT
"""Elman's recurrent network in plain PyTorch tensors, trained to tell spam from ham.

Spam is unwanted advertising and fraud; ham is every other message. The network (Elman,
Finding Structure in Time, Cognitive Science 14, 1990) reads a message token by token: a
word, a number, a run of symbols, or a fact about the whole message. Step t combines the
token x_t with the hidden state h_{t-1}, the memory of the earlier tokens:

    h_t = tanh(x_t W_xh + h_{t-1} W_hh + b_h)       h_0 = 0: nothing has been read yet
    y_t = sigmoid(h_t W_hy + b_y)                   sigmoid(z) = 1 / (1 + exp(-z))

    x_t   (I,)    input, one-hot: 1 at the id (number) of the token, 0 elsewhere
    h_t   (H,)    hidden state, the values of H hidden units
    y_t   (O,)    output: the probability of spam, given the first t tokens (O = 1)
    W_xh  (I, H)  input weights; I is the number of tokens in the vocabulary
    W_hh  (H, H)  recurrent weights
    b_h   (H,)    hidden bias, what a hidden unit gets without any input
    W_hy  (H, O)  output weights
    b_y   (O,)    output bias, sets the base rate (most messages are ham)

All W and b are learned from labeled messages; together they are called the weights.
Every step uses the same weights, so a message may have any length. tanh maps into
(-1, 1) and so bounds the hidden state; without it, h_t W_hy would be a sum over the
tokens, in which none could change the effect of another. sigmoid maps into (0, 1); its
argument, z_t = h_t W_hy + b_y, is called the logit.

The loss L says in one number how wrong the outputs are. The gradient says, for each
weight, how fast L changes as that weight changes; an update moves every weight a
little against its gradient, so that L falls. The chain rule computes the gradient from
the last step T back to the first, which is called backpropagation through time. Write
h_t = tanh(a_t), * for the elementwise product, ^T for the transpose, vectors as rows:

    dL/dz_t  = (y_t - target) / (B * length)        the loss of B messages, see sequence_loss
    dL/dh_t  = dL/dz_t W_hy^T + dL/da_{t+1} W_hh^T  h_t is used in z_t and, if t < T, a_{t+1}
    dL/da_t  = dL/dh_t * (1 - h_t^2)                the slope of tanh(a) is 1 - tanh(a)^2
    dL/dW_hh = sum over t of h_{t-1}^T dL/da_t      W_hh is used at every step (so is W_xh)

Each step back multiplies the gradient by 1 - h_t^2, which is at most 1, and by W_hh^T.
Over many steps it may shrink to almost nothing (vanish) or grow very large (explode).

Commands, with the last line that each prints (tn: ham messages recognized):
    python elman_min.py train spam.csv               saved 'elman_min.pt'
    python elman_min.py test spam.csv                tn        929
    python elman_min.py predict "Text WIN to 80082"  spam (P(spam) = 0.9989)
"""
import argparse
import csv
import io
import random
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
    sequences share it; by default 0. Returns the logits (B, T, O) and states (B, T, H).
    In a network that predicts the next word, as Elman's did, words that are used alike
    get similar states.

    No step looks ahead (the network is causal), so padding at the end of a sequence
    changes nothing before it. But states[:, -1] and logits[:, -1] of a padded sequence
    come after its padding; its last real step is at its length - 1. To read a long
    stream piece by piece, in order and without padding, pass hidden=states[:, -1].detach():
    the gradient stops there, and the earlier steps need not be kept in memory.

    Elman used a sigmoid for h_t. Its slope is at most 1/4, that of tanh up to 1, so
    with tanh the gradient vanishes more slowly. His gradient stopped at h_{t-1}, so no
    state was trained to keep what later steps need; here the gradient reaches step 1.
    """

    def __init__(self, input_size: int, hidden_size: int, output_size: int = 1):
        super().__init__()
        self.W_xh = nn.Parameter(torch.empty(input_size, hidden_size))
        self.W_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.b_h = nn.Parameter(torch.empty(hidden_size))
        self.W_hy = nn.Parameter(torch.empty(hidden_size, output_size))
        self.b_y = nn.Parameter(torch.empty(output_size))
        # Random (symmetry breaking), because hidden units with equal weights get equal gradients
        # and stay equal. Small, to keep the argument of tanh near 0: far from 0 tanh is flat
        # (saturates). Sums of H random terms grow as root H, hence k, as in PyTorch's own RNN.
        k = hidden_size**-0.5
        for weight in self.parameters():
            nn.init.uniform_(weight, -k, k)

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if x.dim() == 3:
            from_x = x @ self.W_xh
        else:
            # One-hot x_t W_xh is one row of W_xh: look it up instead of multiplying by zeros.
            from_x = nn.functional.embedding(x, self.W_xh)
        inputs = from_x + self.b_h                   # (B, T, H): all steps at once is faster
        B, _, H = inputs.shape
        h = inputs.new_zeros(B, H) if hidden is None else hidden.expand(B, H)
        history = []
        # unbind: with inputs[:, t], the gradient of each step would be as large as inputs.
        for input_t in inputs.unbind(dim=1):         # (B, H): x_t W_xh + b_h
            h = torch.tanh(input_t + h @ self.W_hh)  # (B, H)
            history.append(h)
        states = torch.stack(history, dim=1)         # (B, T, H)
        logits = states @ self.W_hy + self.b_y       # (B, T, O); sigmoid follows where needed
        return logits, states

def sequence_loss(logits: Tensor, targets: Tensor, lengths: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of a batch of padded messages.

    `logits` (B, T, 1); `targets` (B,), 0 ham or 1 spam; `lengths` (B,), from 1 to T.
    The cross-entropy of a step is -log of the probability of the true class. Its slope
    with respect to the logit is y_t - target, so it corrects confident mistakes most; a
    squared error hardly would, as the sigmoid is flat there. The loss of a message is
    the mean over its steps, the result the mean over messages: long ones count no more
    than short ones. Only the last step gives the answer, but every step has a loss, so
    that the gradient of an early token need not travel from the end and vanish.

    For three classes, copy the code: output_size is 3, losses are cross_entropy of
    logits.transpose(1, 2), softmax(dim=-1) replaces sigmoid, targets 0 to 2 stay int64.
    """
    B, T, _ = logits.shape
    step_targets = targets.reshape(B, 1).expand(B, T).to(logits.dtype)  # the same at every step
    # From logits: where a sigmoid rounds to exactly 0 or 1, no useful gradient is left.
    losses = nn.functional.binary_cross_entropy_with_logits(
        logits.squeeze(2), step_targets, reduction="none")     # (B, T)
    lengths = lengths.reshape(B)
    step = torch.arange(1, T + 1, device=logits.device)        # (T,)
    mask = step <= lengths[:, None]                            # (B, T), False on padding
    message_losses = (losses * mask).sum(dim=1) / lengths      # (B,)
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
    """Split a text into tokens: three about the message, then words, numbers, symbols.

    >>> tokenize("Text WIN to 80082")
    ['<length 0>', '<capitals 4>', '<digits 3>', 'text', 'win', 'to', '00000']

    The first three are the length in units of 25 characters, the share of capitals
    among the letters in tenths, and the number of digits in groups (0: none, 1: one, 2:
    two or three, 3: four to seven, and so on). They are tokens and not numbers, so that
    each value has its own row of weights, and coarse, so that most values are frequent
    enough to learn from. They come first, so that the network knows them when it reads
    the words.
    """
    # An accented letter can be one character or two: make both forms equal.
    message = unicodedata.normalize("NFC", message)
    letters = [char for char in message if char.isalpha()]
    capitals = sum(char.isupper() for char in letters)
    digits = re.findall(r"\d", message)
    tokens = [f"<length {len(message) // 25}>",
              f"<capitals {10 * capitals // max(len(letters), 1)}>",
              f"<digits {len(digits).bit_length()}>"]
    # WIN and win are one token. Few numbers recur, but their lengths do (UK phones: 11 digits).
    text = re.sub(r"\d", "0", message.lower())
    for token in TOKEN.findall(text):
        if token[0] != "0":
            # Most word forms are rare: "winners" becomes "winner". Limits of 5 or 8 score alike.
            token = token[:6]
        tokens.append(token)
    return tokens

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
    """Collect the tokens that occur twice or more: one occurrence teaches too little."""
    counts: Counter[str] = Counter()
    for message in frame["message"]:
        counts.update(tokenize(message))
    return Vocabulary(token for token, count in counts.items() if count > 1)

# ---- Training and prediction ----
def padded_batches(frame: pd.DataFrame, vocabulary: Vocabulary, batch_size: int
                   ) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return batches (x, targets, lengths) of `batch_size` messages of similar length.

    `x` holds ids, int64 (B, T); `targets` and `lengths` (B,). At each step, one large
    matrix product is faster than B small ones. A tensor is rectangular, so messages are
    padded to the longest of the batch. Padding has id 0, as <UNK> has, which does no
    harm: the network is causal, and sequence_loss gives padding no weight. Sorting by
    length shortens padding and halves the time, but every epoch has the same batches.
    """
    encoded = [vocabulary.encode(message) for message in frame["message"]]
    lengths = torch.tensor([len(ids) for ids in encoded])
    targets = torch.tensor(frame["target"].tolist())
    batches = []
    for rows in lengths.argsort(stable=True).split(batch_size):  # (B,)
        chosen = [encoded[row] for row in rows]
        x = nn.utils.rnn.pad_sequence(chosen, batch_first=True)
        batches.append((x, targets[rows], lengths[rows]))
    return batches

def print_epoch(epoch: int, loss: float) -> None:
    print(f"epoch {epoch:2}  loss {loss:.4f}", flush=True)

def train(model: nn.Module, vocabulary: Vocabulary, frame: pd.DataFrame, *,
          epochs: int = 18, batch_size: int = 32, learning_rate: float = 6e-3,
          weight_decay: float = 0.2, word_dropout: float = 0.3,
          report: Callable[[int, float], object] = print_epoch) -> None:
    """Train `model` in place, on its device, on the columns `target` and `message`.

    `model` can be any causal module that maps ids (B, T) to logits (B, T, 1) and one
    more result. An epoch is one pass over all messages; `report(epoch, loss)` is called
    after each, with the mean loss of its batches. `word_dropout` is the probability that
    a token becomes <UNK>, so that the network learns to handle unknown words and not to
    rely on any single word or fact. To train less, pass fewer epochs: the learning rate
    falls to 0 over them. The defaults, and 32 hidden units, are from cross-validation on
    spam.csv (train on four fifths, test on the rest, five times), so tests on it
    are slightly optimistic. Raises ValueError unless targets are 0 and 1, both present.
    """
    if set(frame["target"]) != {0, 1}:
        raise ValueError("needs both ham (target 0) and spam (target 1), and no other targets")
    device = next(model.parameters()).device
    batches = padded_batches(frame, vocabulary, batch_size)
    # Adam divides each weight's recent mean gradient by that gradient's usual size, so that the
    # weights of rare tokens are learned, too. AdamW also shrinks all weights a little at each
    # update (weight decay), so that only those that many messages need become large.
    optimizer = torch.optim.AdamW(model.parameters(), learning_rate, weight_decay=weight_decay,
                                  fused=True)  # fused is faster
    # The learning rate, the size of the updates, falls to 0: each batch pulls the weights in a
    # slightly different direction, and small updates let them settle.
    schedule = torch.optim.lr_scheduler.LinearLR(
        optimizer, start_factor=1.0, end_factor=0.0, total_iters=epochs * len(batches))
    for epoch in range(1, epochs + 1):
        model.train()  # turns dropout layers on, if any, since `report` may call predict
        total = 0.0
        # In sorted order, each epoch would end with long messages and favor them.
        for i in torch.randperm(len(batches)):
            x, targets, lengths = batches[i]
            dropped = torch.rand(x.shape) < word_dropout  # on the CPU: equal on all devices
            x = x.masked_fill(dropped, 0)
            logits, _ = model(x.to(device))  # (B, T, 1)
            loss = sequence_loss(logits, targets.to(device), lengths.to(device))
            optimizer.zero_grad()  # otherwise the gradients of all batches would add up
            loss.backward()  # the chain rule, through all operations that led to the loss
            # Scale the gradient to a norm of at most 1: an exploding one would upset Adam's means.
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()  # the update
            schedule.step()
            total += loss.item()
        report(epoch, total / len(batches))

@torch.no_grad()  # nothing is learned, so no gradient is needed
def token_probabilities(model: nn.Module, vocabulary: Vocabulary, message: str) -> Tensor:
    """Return the probability of spam after each token, given the tokens so far, (T,)."""
    model.eval()  # turns dropout layers off
    ids = vocabulary.encode(message)  # (T,)
    batch = ids[None].to(next(model.parameters()).device)  # (1, T)
    logits, _ = model(batch)  # (1, T, 1)
    probabilities = torch.sigmoid(logits).cpu()
    return probabilities.reshape(len(ids))

def predict(model: nn.Module, vocabulary: Vocabulary, messages: Iterable[str]) -> Tensor:
    """Return the probability that each of N messages is spam, float (N,).

    It is read at the last token, after all others. Messages are processed one by one: in
    a batch, rounding could depend on the others. Raises TypeError for a str or a DataFrame.
    """
    if isinstance(messages, (str, pd.DataFrame)):  # iterating gives letters or columns
        raise TypeError('pass a list of messages, or frame["message"]')
    last = [token_probabilities(model, vocabulary, message)[-1] for message in messages]
    return torch.tensor(last)

# ======== Data, metrics, checkpoints, command line: nothing new about networks ========

def toy_messages(n: int = 4000, seed: int = 0) -> pd.DataFrame:
    """Return `n` requests to swap two things; asking for the more valuable one is spam.

    Each spam has a ham twin (if `n` is even), with the two things exchanged. They have
    the same words: the network must remember the first thing until it reads the second.
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

def read_messages(path: str | Path) -> pd.DataFrame:
    """Read labeled messages into the columns `target` (0 ham, 1 spam) and `message`.

    The text is UTF-8, else Windows-1252; tab-separated without quotes if its first line
    has a tab, else comma-separated with quotes. The first column is ham or spam, the
    second the message; others are ignored. No row may have more fields than the first.
    A first row without ham or spam is the header. Raises OSError or ValueError.
    """
    data = Path(path).read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    first_line, _, _ = text.lstrip().partition("\n")
    has_tabs = "\t" in first_line
    try:
        table = pd.read_csv(
            io.StringIO(text), header=None, dtype=str, sep="\t" if has_tabs else ",",
            quoting=csv.QUOTE_NONE if has_tabs else csv.QUOTE_MINIMAL,
            na_filter=False)  # the filter would drop a message "NA"
        labels = table[0].str.strip().str.lower()
        labeled = labels.isin(["ham", "spam"])
        others = table[0][~labeled].drop(0, errors="ignore")  # row 0 may be a header
        if len(others) > 0:
            raise ValueError(f"row {others.index[0] + 1} begins with {others.iloc[0][:20]!r}, "
                             "not with ham or spam")
        if table.shape[1] < 2 or not labeled.any():
            raise ValueError("needs a column of ham and spam and a column of messages; found "
                             f"{table.shape[1]} columns and {labeled.sum()} rows of ham or spam")
    except ValueError as error:
        raise ValueError(f"{path!r}: {str(error).strip()}") from error
    frame = pd.DataFrame({"target": (labels == "spam").astype(int), "message": table[1]})
    return frame[labeled].reset_index(drop=True)

def split(frame: pd.DataFrame, fold: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split the distinct messages (the first of equal ones) into (train, test).

    A network can memorize the messages it trains on, so only others show what it has
    learned. A hash of the message decides, not a random number: so `test` finds the same
    messages again, whatever the order of the rows. `fold`, from 0 to 4, chooses about
    a fifth to test on; to split the training part again, use another fold.
    """
    distinct = frame.drop_duplicates("message")
    data = distinct["message"].str.encode("utf-8", "replace")  # lone surrogates have no UTF-8
    held_out = data.map(zlib.crc32) % 5 == fold
    return distinct[~held_out], distinct[held_out]

# ---- Evaluation and checkpoints ----
def evaluate(probability: Iterable[float], target: Iterable[float]) -> dict[str, float]:
    """Return classification metrics for N probabilities of spam and N targets, 0 or 1.

    Both can be lists, arrays, Series or tensors, in the same order. A message counts as
    spam above .5; for another threshold, pass the tensor `p > threshold`. `mcc` (Matthews
    correlation) is 0 if all are put in one class, where accuracy can be high. 0 / 0 is 0
    here. Raises ValueError for unequal lengths and for other values, such as logits.
    """
    counts: Counter[tuple[bool, bool]] = Counter()
    for p, y in zip(probability, target, strict=True):
        if not 0 <= p <= 1 or y not in (0, 1):
            raise ValueError("pass probabilities from 0 to 1 and targets, 0 or 1")
        counts[bool(p > 0.5), bool(y == 1)] += 1
    tp = counts[True, True]    # spam found
    fp = counts[True, False]   # ham taken for spam
    fn = counts[False, True]   # spam missed
    tn = counts[False, False]  # ham recognized
    # max(n, 1) changes only a denominator of 0, as the counts are integers.
    product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return {
        "accuracy": (tp + tn) / max(tp + fp + fn + tn, 1),
        "precision": tp / max(tp + fp, 1),
        "recall": tp / max(tp + fn, 1),
        "f1": 2 * tp / max(2 * tp + fp + fn, 1),
        "mcc": (tp * tn - fp * fn) / max(product**0.5, 1),
        "tp": tp, "fp": fp, "fn": fn, "tn": tn,
    }

def save(model: ElmanRNN, vocabulary: Vocabulary, path: str | Path) -> None:
    """Write a checkpoint. Raises OSError, or TypeError for what `load` could not rebuild."""
    if type(model) is not ElmanRNN or len(vocabulary) != len(model.W_xh):
        raise TypeError("pass an ElmanRNN, not a subclass or wrapper, and its own vocabulary")
    # Write elsewhere, then rename, so that an interrupted run leaves the old file whole.
    temporary = Path(f"{path}.tmp")
    with temporary.open("wb") as file:  # given a path, torch.save raises RuntimeError
        torch.save({"weights": model.state_dict(), "tokens": vocabulary.idx_to_token}, file)
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
        raise ValueError(f"{path!r} is not a checkpoint of this program") from error
    return model.to(device), vocabulary

# ---- Command line ----
def train_or_test(command: str, file: str | None, path: str, device: str) -> None:
    frame = toy_messages() if file is None else read_messages(file)
    fit, held_out = split(frame)
    print(f"{len(frame):,} messages, {frame['target'].sum():,} of them spam; "
          f"{len(fit):,} distinct ones to train, {len(held_out):,} to test")
    if held_out.empty:
        raise ValueError("too few messages to hold any out for testing")
    if command == "train":
        # On the same machine, with the same versions, the same seed gives the same weights.
        torch.manual_seed(0)
        vocabulary = build_vocabulary(fit)
        model = ElmanRNN(len(vocabulary), hidden_size=32).to(device)
        train(model, vocabulary, fit)
        save(model, vocabulary, path)
    model, vocabulary = load(path, device)  # after training, too, to test what was saved
    probability = predict(model, vocabulary, held_out["message"])
    for name, value in evaluate(probability, held_out["target"]).items():
        print(f"{name:9} {round(value, 4)}")
    if command == "train":
        print(f"saved {path!r}")

def show_prediction(text: str, path: str, device: str) -> None:
    model, vocabulary = load(path, device)
    probabilities = token_probabilities(model, vocabulary, text).tolist()
    for token, p in zip(tokenize(text), probabilities):
        bar = "#" * round(20 * p)
        print(f"{p:.2f} {bar:20} {token!r}")
    last = probabilities[-1]
    print(f"{'spam' if last > 0.5 else 'ham'} (P(spam) = {last:.4f})")

def main(argv: list[str] | None = None) -> None:
    """Run the command line. A user's mistake ends with a message and a nonzero status."""
    torch.set_num_threads(1)  # the matrices are so small that more threads are slower
    device = str(torch.accelerator.current_accelerator(check_available=True) or "cpu")
    parser = argparse.ArgumentParser(description="Train, test and use a spam filter.")
    parser.add_argument("command", choices=["train", "test", "predict"])
    parser.add_argument("input", nargs="?", help="labeled messages (default: toy ones) or a text")
    parser.add_argument("--model", help="checkpoint (default: elman_min.pt; for the toy: toy.pt)")
    parser.add_argument("--device", default=device, choices=sorted({"cpu", device}),
                        help="default: %(default)s")
    args = parser.parse_intermixed_args(argv)  # for `predict --model x.pt TEXT`
    if args.command == "predict" and args.input is None:
        parser.error("predict needs a text")
    path = args.model or ("toy.pt" if args.input is None else "elman_min.pt")
    if not path.endswith(".pt"):
        parser.error("--model must end in .pt, so that no other file is replaced")
    try:
        if args.command == "predict":
            show_prediction(args.input, path, args.device)
        else:
            train_or_test(args.command, args.input, path, args.device)
    except FileNotFoundError as error:
        hints = {Path(args.input or ""): "; see spam.csv.README", Path(path): "; run train first"}
        sys.exit(f"elman_min.py: {error}{hints.get(Path(error.filename), '')}")
    except (OSError, ValueError) as error:
        sys.exit(f"elman_min.py: {error}")

if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # on ASCII terminals
    main()
