# SPDX-License-Identifier: MIT
"""Properties of elman_min.py, checked on generated inputs.

The section Network is a chapter of its own, to be read after elman_min.py. Each test
states a property in its docstring; hypothesis runs it on 25 cases drawn by @given.

    python -m pytest -s -k xor    prints the XOR error curve (Elman 1990, Figure 3)
Shapes: batch size B, steps T, input size I, hidden size H, output size O.
"""
import contextlib
import inspect
import io
import os
import pickle
import random
import re
import runpy
import shlex
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import elman_min
from elman_min import ElmanRNN, Vocabulary, predict, save, sequence_loss, split, tokenize, train

torch.set_num_threads(1)  # more threads are slower on matrices this small
settings.register_profile("elman", deadline=None, max_examples=25)
settings.load_profile("elman")
sizes, seeds = st.integers(1, 5), st.integers(0, 2**32 - 1)

# ---- Network ----

@st.composite
def networks(draw, output_size=sizes):
    """Draw a network and inputs x (B, T, I) in float64. Also seeds torch's later numbers."""
    torch.manual_seed(draw(seeds))
    model = ElmanRNN(draw(sizes), draw(sizes), draw(output_size)).double()
    x = torch.randn(draw(sizes), draw(sizes), len(model.W_xh), dtype=torch.double)
    return model, x

@given(networks())
def test_matches_nn_rnn(case):
    """With the same weights, the hidden states are those of torch.nn.RNN."""
    model, x = case
    rnn = nn.RNN(*model.W_xh.shape, batch_first=True).double()
    # In state_dict order: the weights, transposed, then two biases, one of them redundant.
    weights = model.W_xh.T, model.W_hh.T, model.b_h, torch.zeros_like(model.b_h)
    rnn.load_state_dict(dict(zip(rnn.state_dict(), weights, strict=True)))
    hidden = torch.rand(len(x), len(model.b_h), dtype=torch.double)
    states, last = rnn(x, hidden[None])
    logits, h = model(x, hidden)
    torch.testing.assert_close(logits, states @ model.W_hy + model.b_y)
    torch.testing.assert_close(h, last[0])

def bptt(model, x, targets, lengths):
    """Return the gradients of sequence_loss, derived by hand. x is (B, T, I).

    Write a_t = x_t W_xh + h_{t-1} W_hh + b_h, so that h_t = tanh(a_t), and z_t for the
    logit h_t W_hy + b_y. The gradient of the loss L has, by the chain rule, one term for each
    use of a quantity. Where v = u W, with row vectors, the term in dL/du is dL/dv W^T, and
    the term in dL/dW is u^T dL/dv.

    z_t is used in one term of the loss only, -w_t log sigmoid(z_t) for spam (y = 1) or
    -w_t log sigmoid(-z_t) for ham (y = 0). Since sigmoid' = sigmoid (1 - sigmoid), the
    derivative of log sigmoid(z) is 1 - sigmoid(z) = sigmoid(-z). Both cases give
        dL/dz_t = (sigmoid(z_t) - y) w_t      w_t = 1 / (B * length), 0 on padding
    h_t is used in z_t and, one step later, in a_{t+1}:
        dL/dh_t = dL/dz_t W_hy^T + dL/da_{t+1} W_hh^T
    a_t is used in h_t only, and the derivative of tanh(a) is 1 - tanh(a)^2:
        dL/da_t = dL/dh_t * (1 - h_t^2)       (elementwise)
    So dL/da_t needs dL/da_{t+1}: the loop runs from the last step back to the first. Each
    step multiplies what a later loss sends back by W_hh^T and 1 - h^2 <= 1. This vanishes if
    all singular values of W_hh are below 1, and may explode if one is above 1. All steps
    and messages share the weights, whose gradients are sums over both:
        dL/dW_xh = sum x_t^T dL/da_t          dL/dW_hy = sum h_t^T dL/dz_t
        dL/dW_hh = sum h_{t-1}^T dL/da_t      dL/db_y  = sum dL/dz_t
        dL/db_h  = sum dL/da_t
    """
    W_xh, W_hh, b_h, W_hy, b_y = (p.detach() for p in model.parameters())
    B, T, _ = x.shape
    h = [x.new_zeros(B, len(W_hh))]                     # h[t] is h_t, x[:, t - 1] is x_t
    for t in range(1, T + 1):
        h.append(torch.tanh(x[:, t - 1] @ W_xh + h[t - 1] @ W_hh + b_h))  # (B, H)
    grad = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    da = torch.zeros_like(h[0])                                         # dL/da_{T+1} = 0
    for t in range(T, 0, -1):
        w = ((t <= lengths) / (B * lengths.double()))[:, None]          # (B, 1)
        dz = (torch.sigmoid(h[t] @ W_hy + b_y) - targets[:, None]) * w  # (B, 1)
        dh = dz @ W_hy.T + da @ W_hh.T                                  # (B, H)
        da = dh * (1 - h[t] ** 2)                                       # (B, H)
        grad["W_xh"] += x[:, t - 1].T @ da
        grad["W_hh"] += h[t - 1].T @ da
        grad["b_h"] += da.sum(0)
        grad["W_hy"] += h[t].T @ dz
        grad["b_y"] += dz.sum(0)
    return grad

@given(networks(output_size=st.just(1)))
def test_bptt_by_hand_matches_autograd(case):
    """Backpropagation through time by hand gives autograd's gradient of every parameter."""
    model, x = case
    lengths = torch.randint(1, x.shape[1] + 1, (len(x),))
    targets = torch.randint(0, 2, (len(x),))
    sequence_loss(model(x)[0][..., 0], targets, lengths).backward()
    autograd = {name: p.grad for name, p in model.named_parameters()}
    torch.testing.assert_close(bptt(model, x, targets, lengths), autograd)

@given(networks())
def test_ids_match_one_hot_vectors(case):
    """Token ids give the same logits and weight gradients as one-hot vectors."""
    model, x = case
    ids = torch.randint(0, len(model.W_xh), x.shape[:2])
    results = []
    for inputs in (ids, nn.functional.one_hot(ids, len(model.W_xh)).double()):
        logits, h = model(inputs)
        grads = torch.autograd.grad(logits.square().sum(), list(model.parameters()))
        results.append((logits, h, *grads))
    torch.testing.assert_close(*results)

@given(networks(), st.data())
def test_hidden_state_carries_over(case, data):
    """A sequence in two pieces, the hidden state passed on, gives the logits of the whole."""
    model, x = case
    assume(x.shape[1] > 1)
    cut = data.draw(st.integers(1, x.shape[1] - 1))
    first, hidden = model(x[:, :cut])
    second, last = model(x[:, cut:], hidden)
    torch.testing.assert_close((torch.cat([first, second], dim=1), last), model(x))

@given(networks(), st.data())
def test_is_causal(case, data):
    """An input changes the logits of its own step, never those of earlier steps."""
    model, x = case
    k = data.draw(st.integers(0, x.shape[1] - 1))
    changed = x.clone()
    changed[:, k] += 1
    before, after = model(x)[0], model(changed)[0]
    assert torch.equal(before[:, :k], after[:, :k])
    assert not torch.equal(before[:, k], after[:, k])

@given(networks(output_size=st.just(1)))
def test_padding_does_not_change_the_loss(case):
    """The loss of a padded batch is the mean of the losses of its sequences on their own."""
    model, x = case
    lengths = torch.randint(1, x.shape[1] + 1, (len(x),))
    targets = torch.randint(0, 2, (len(x),))
    batch = sequence_loss(model(x)[0][..., 0], targets, lengths)
    alone = [sequence_loss(model(x[i:i + 1, :n])[0][..., 0], targets[i:i + 1], lengths[i:i + 1])
             for i, n in enumerate(lengths.tolist())]
    torch.testing.assert_close(batch, torch.stack(alone).mean())

@given(seeds, st.floats(0.3, 0.95), st.integers(2, 8))
def test_gradient_vanishes_geometrically(seed, r, size):
    """If W_hh scales every length by r < 1, each step back scales the gradient by at most r."""
    torch.manual_seed(seed)
    model = ElmanRNN(size, size).double()
    with torch.no_grad():
        orthogonal, _ = torch.linalg.qr(torch.randn(size, size, dtype=torch.double))
        model.W_hh.copy_(r * orthogonal)     # an orthogonal matrix keeps lengths
        model.W_xh.copy_(torch.eye(size))    # so that the gradient at x_t is dL/da_t
    x = torch.randn(1, 30, size, dtype=torch.double, requires_grad=True)
    model(x)[0][0, -1, 0].backward()
    norms = x.grad[0].norm(dim=1)                                       # (T,)
    assert (norms[:-1] <= r * norms[1:] * (1 + 1e-9)).all()
    assert norms[0] > 0

@given(st.lists(st.tuples(st.floats(-80, 80), st.booleans()), min_size=1))
def test_loss_matches_bce_with_logits(pairs):
    """For sequences of one step, the loss is PyTorch's binary cross-entropy with logits."""
    logits = torch.tensor([z for z, _ in pairs], dtype=torch.double)
    targets = torch.tensor([y for _, y in pairs]).long()
    loss = sequence_loss(logits[:, None], targets, torch.ones_like(targets))
    expected = nn.functional.binary_cross_entropy_with_logits(logits, targets.double())
    torch.testing.assert_close(loss, expected)

@given(st.floats(200, 1e30), st.sampled_from([0, 1]))
def test_loss_stays_finite_where_sigmoid_underflows(z, y):
    """For a very wrong logit the loss is |logit|, and its gradient is still 1 or -1."""
    logit = torch.tensor([[z * (1 - 2 * y)]], requires_grad=True)
    loss = sequence_loss(logit, torch.tensor([y]), torch.tensor([1]))
    loss.backward()
    torch.testing.assert_close(loss, logit.abs()[0, 0])
    assert logit.grad.abs() == 1

def xor_stream(n, seed):
    """Return n bits (n, 1), n a multiple of 3: two random bits, their XOR, and so on."""
    bits = torch.randint(0, 2, (n // 3, 3), generator=torch.Generator().manual_seed(seed))
    bits[:, 2] = bits[:, 0] ^ bits[:, 1]
    return bits.view(n, 1).float()

def test_sequential_xor():
    """Elman's first experiment: of a stream of bits, every third can be predicted."""
    torch.manual_seed(0)
    model = ElmanRNN(input_size=1, hidden_size=16)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    stream = xor_stream(3000, seed=0).view(100, 30, 1)                  # (B, T, I)
    for _ in range(300):
        logits, _ = model(stream[:, :-1])
        loss = nn.functional.binary_cross_entropy_with_logits(logits, stream[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    fresh = xor_stream(3000, seed=1)
    logits, _ = model(torch.cat([torch.zeros(1, 1), fresh[:-1]])[None]) # (1, T, 1)
    error = (torch.sigmoid(logits[0]) - fresh).square().view(-1, 12).mean(0).sqrt()
    print("\nroot mean squared error by position:", *(f"{e:.2f}" for e in error.tolist()))
    assert error[2::3].max() < 0.15
    assert min(error[0::3].min(), error[1::3].min()) > 0.45             # 0.5 is chance

@given(sizes, sizes, sizes, sizes, sizes)
def test_shapes(B, T, I, H, O):
    """Parameters, logits and states have the documented shapes; weights start within 1/sqrt(H)."""
    model = ElmanRNN(I, H, O)
    assert {name: tuple(p.shape) for name, p in model.named_parameters()} == {
        "W_xh": (I, H), "W_hh": (H, H), "b_h": (H,), "W_hy": (H, O), "b_y": (O,)}
    for x in (torch.zeros(B, T, I), torch.zeros(B, T, dtype=torch.long)):
        assert [y.shape for y in model(x)] == [(B, T, O), (B, H)]
    weights = nn.utils.parameters_to_vector(model.parameters())
    assert weights.abs().max() <= H**-0.5 and len(weights.unique()) == len(weights)
    assert len([*model.modules()]) == 1 and repr(model) == f"ElmanRNN({I}, {H}, output_size={O})"

@given(networks())
def test_every_parameter_gets_a_gradient(case):
    """Every parameter gets a finite gradient, and in W_xh only the rows of the ids used."""
    model, x = case
    assume(x.shape[1] > 1)
    ids = torch.randint(0, len(model.W_xh), x.shape[:2])
    model(ids)[0].square().sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in model.parameters())
    assert set(model.W_xh.grad.any(1).nonzero()[:, 0].tolist()) == set(ids.flatten().tolist())

def test_class_works_on_its_own():
    """A copy of the class needs torch and nn only."""
    namespace = {"torch": torch, "nn": nn}
    exec(inspect.getsource(ElmanRNN), namespace)
    assert namespace["ElmanRNN"](7, 3)(torch.zeros(2, 5, dtype=torch.long))[0].shape == (2, 5, 1)

# ---- Vocabulary ----

texts = st.text(max_size=60) | st.just("no Unicode: \ud800")  # a lone surrogate

@given(texts)
def test_tokenize_is_total(message):
    """Any text gives three tokens about the message, then words without spaces and digits."""
    about, words = "".join(tokenize(message)[:3]), "".join(tokenize(message)[3:])
    assert re.fullmatch(r"<length \d+><capitals (\d|10)><digits \d>", about)
    assert not any(c.isspace() or (c.isdecimal() and c != "0") for c in words)

def test_tokenize_examples():
    """Words, numbers and punctuation are separate tokens; words are cut to six characters."""
    assert tokenize("WON £1,000!!! T&C's_apply")[3:] == [
        "won", "£", "0", ",", "000", "!!!", "t", "&", "c", "'", "s", "_", "apply"]
    assert tokenize("Winners winner ------- call09061701461")[3:] == [
        "winner", "winner", "------", "call", "00000000000"]
    assert [tokenize("x" * n)[0] for n in (0, 24, 25)] == ["<length 0>", "<length 0>", "<length 1>"]
    assert [tokenize(m)[1][10:-1] for m in ("", "!", "CALL me", "OK")] == ["0", "0", "6", "10"]
    assert [tokenize("7" * n)[2][8:-1] for n in range(5)] == ["0", "1", "2", "2", "3"]

@given(st.lists(texts, max_size=9), texts, st.integers(1, 3))
def test_vocabulary_round_trip(known, message, min_count):
    """Frequent tokens have ids of their own and decode to themselves, all others to <UNK>."""
    vocabulary = Vocabulary(known, min_count)
    counts = Counter(token for m in known for token in tokenize(m))
    frequent = {token for token, count in counts.items() if count >= min_count}
    assert vocabulary.idx_to_token[0] == "<UNK>"
    assert vocabulary.token_to_idx.keys() == frequent | {"<UNK>"}
    assert [vocabulary.add_token(t) for t in vocabulary.idx_to_token] == [*range(len(vocabulary))]
    assert min_count != 2 or vars(Vocabulary(known)) == vars(vocabulary)
    ids, one_hot = vocabulary.encode(message), vocabulary.one_hot(message)
    assert vocabulary.decode(ids) == [t if t in frequent else "<UNK>" for t in tokenize(message)]
    assert ids.dtype == torch.int64 and torch.equal(one_hot.argmax(1), ids)
    assert one_hot.shape == (len(ids), len(vocabulary)) and one_hot.is_floating_point()
    assert torch.equal(one_hot.sum(1), torch.ones(len(ids)))

# ---- Data ----

def chat(n, seed=0):
    """Return `n` distinct made-up messages, every third of them spam."""
    pick, rows = random.Random(seed).choice, {}
    offers = "free entry,win a prize,txt to 80082,claim award,reply STOP,call 09061701461 now"
    talk = "see you at 8,i am late sorry,what are you doing,lol ok,at home now,how was the exam"
    while len(rows) < n:
        spam = len(rows) % 3 == 0
        words = [pick((offers if spam else talk).split(",")) for _ in range(pick([3, 4, 5]))]
        rows[" ".join(words)] = int(spam)
    return pd.DataFrame({"target": rows.values(), "message": rows.keys()})

@given(st.integers(0, 99), st.integers(0, 2**32 - 1))
def test_toy_messages_are_twins(n, seed):
    """Spam and ham alternate, and the two of a pair have the same bag of words."""
    frame = elman_min.toy_messages(n, seed)
    assert frame["target"].tolist() == ([1, 0] * n)[:n]
    assert frame.equals(elman_min.toy_messages(n, seed))
    bags = [sorted(tokenize(message)) for message in frame["message"]]
    assert bags[1::2] == bags[:n - n % 2:2]
    assert n < 50 or not frame.equals(elman_min.toy_messages(n, seed + 1))

def quoted(*cells, sep=","):
    return sep.join('"' + cell.replace('"', '""') + '"' for cell in cells)

cells = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=9, max_size=40)

@given(st.lists(st.tuples(st.booleans(), cells), min_size=2), st.booleans())
def test_file_formats(tmp_path_factory, rows, windows):
    """Comma, semicolon, tab; header or none; any order, case and encoding; ham, spam or 0, 1."""
    path = tmp_path_factory.mktemp("formats") / "file_without_suffix"
    rows += [(True, ""), (False, "NA")]
    bare = [(spam, re.sub(r"[,;\t\r\n]", " ", f'a "b" c" {m}')) for spam, m in rows]
    tabs = [(spam, '"' + m) for spam, m in bare]
    latin = [(spam, m.encode("latin-1", "ignore").decode("latin-1") + "£ 1") for spam, m in rows]
    names = {False: "ham", True: "spam"}
    for written, encoding, lines in (
            (rows, "utf-8", ["v1,v2,,,", *(f"{names[y]},{quoted(m)},,," for y, m in rows)]),
            (rows, "utf-8-sig", [f"{names[y].upper()},{quoted(m)}" for y, m in rows]),
            (rows, "utf-8", ["text,id,label", *(f"{quoted(m)},7, {names[y]} " for y, m in rows)]),
            (rows, "utf-8", ["label;text", *(quoted(names[y], m, sep=";") for y, m in rows)]),
            (rows, "utf-8", ["text,spam", *(f"{quoted(m)},{y:d}" for y, m in rows)]),
            (latin, "latin-1", [f"{names[y]},{quoted(m)}" for y, m in latin]),
            (bare, "utf-8", [f"{names[y]},{m}" for y, m in bare]),
            (tabs, "utf-8", ["", *(f"{names[y]}\t{m}" for y, m in tabs)])):
        path.write_bytes(("\r\n" if windows else "\n").join([*lines, ""]).encode(encoding))
        frame = elman_min.read_messages(path)
        assert list(frame.columns) == ["target", "message"]
        assert list(frame.itertuples(name=None)) == [(i, *row) for i, row in enumerate(written)]

@given(st.binary(max_size=99) | st.lists(st.sampled_from(
    [b"ham", b"spam", b"0", b"1", *(bytes([c]) for c in b',;\t"\n\r\0\xffx ')])).map(b"".join))
def test_any_bytes_are_messages_or_a_value_error(tmp_path_factory, data):
    """Any file is either read as labeled messages or refused by a ValueError."""
    path = tmp_path_factory.mktemp("bytes") / "any.csv"
    path.write_bytes(data)
    with contextlib.suppress(ValueError):
        frame = elman_min.read_messages(path)
        assert len(frame) and set(frame["target"]) <= {0, 1}

@given(st.lists(texts), st.randoms(use_true_random=False), st.integers(2, 6))
def test_split_keeps_duplicates_together(rows, rng, folds):
    """Every row is in one test fold, equal messages share theirs, and row order is irrelevant."""
    frame = pd.DataFrame({"message": rows}, dtype=object)
    shuffled = frame.loc[rng.sample(list(frame.index), len(frame))]
    parts = [split(frame, fold, folds) for fold in range(folds)]
    assert sorted(i for _, test in parts for i in test.index) == list(frame.index)
    for fold, (fit, test) in enumerate(parts):
        assert sorted([*fit.index, *test.index]) == list(frame.index)
        assert not set(fit["message"]) & set(test["message"])
        assert set(split(shuffled, fold, folds)[1].index) == set(test.index)

def test_split_defaults():
    """One row in five is held out, the same in every process; a fraction is an error."""
    frame = elman_min.toy_messages(1000)
    assert split(pd.DataFrame({"message": list("abcdefghij")}))[1]["message"].tolist() == ["c", "i"]
    for fold in (0.2, -1, 5):
        with pytest.raises(ValueError, match="fold"):
            split(frame, fold)

@given(st.lists(texts), st.integers(1, 8))
def test_padded_batches_hold_every_message_once(messages, batch_size):
    """Batches are right-padded with 0, as full as possible, and sorted by length."""
    frame = pd.DataFrame(enumerate(messages), columns=["target", "message"])
    vocabulary, seen = Vocabulary(messages, min_count=1), []
    batches = elman_min.PaddedBatches(frame, vocabulary, batch_size)
    for x, n, targets in (batches[i] for i in range(len(batches))):
        assert x.shape == (len(n), n.max()) and len(targets) == len(n) <= batch_size
        for row, length, i in zip(x, n, targets.tolist()):
            assert torch.equal(row[:length], vocabulary.encode(messages[i]))
            assert not row[length:].any()
            seen.append((length.item(), i))
    assert sorted(i for _, i in seen) == list(range(len(messages)))
    assert [n for n, _ in seen] == sorted(n for n, _ in seen)
    assert len(batches) == -(-len(messages) // batch_size)

# ---- Training and evaluation ----

def test_reported_losses():
    """Epochs report their mean loss over shuffled batches, the last fifth that of last steps."""
    frame, reports = chat(30), []
    model, vocabulary = train(frame, epochs=10, batch_size=4, word_dropout=0.0, learning_rate=1e-12,
                              report=lambda *state: reports.append(state))
    assert [report[:3] for report in reports] == [(i // 8 + 1, i % 8 + 1, 8) for i in range(80)]
    totals = torch.tensor([batch * mean for _, batch, _, mean in reports]).view(10, 8)
    losses = totals.diff(dim=1, prepend=torch.zeros(10, 1))
    batches = elman_min.PaddedBatches(frame, vocabulary, 4)
    expected = torch.zeros(10, 8)
    for i, (x, n, y) in enumerate(batches[i] for i in range(8)):
        logits = model(x)[0][..., 0].detach()
        expected[:8, i] = sequence_loss(logits, y, n)
        last = logits[torch.arange(len(n)), n - 1]  # (B,)
        expected[8:, i] = nn.functional.binary_cross_entropy_with_logits(last, y.float())
    torch.testing.assert_close(losses.sort()[0], expected.sort()[0], atol=1e-5, rtol=0)
    for a, b in ((losses[0], losses[1]), (losses[0], expected[0]), (expected[0], expected[8])):
        assert not torch.allclose(a, b, atol=1e-3)

def test_word_dropout_trains_unk_in_place_of_tokens():
    """With a dropout of 1 only `<UNK>` learns, with 0 every token that is in the messages."""
    frame = pd.DataFrame({"target": [0, 1] * 20, "message": ["good day", "free prize"] * 20})
    before, none, full = (train(frame, epochs=2, **options)[0].W_xh for options in (
        {"learning_rate": 1e-12}, {"word_dropout": 0.0}, {"word_dropout": 1.0}))
    others = len(before) - 1
    assert ((none - before).abs().amax(1) > 1e-4).tolist() == [False] + [True] * others
    assert ((full - before).abs().amax(1) > 1e-4).tolist() == [True] + [False] * others

def test_seed_determines_the_weights():
    """The same seed gives the same weights bit by bit, another seed gives others."""
    first, again, other = (nn.utils.parameters_to_vector(
        train(chat(60), epochs=2, seed=seed)[0].parameters()) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)

def test_train_refuses():
    """One class, other targets and a diverged model are errors; one row of each class is not."""
    for targets in ([0, 0], [1, 1], [1, 2], [-1, 1], [0, 1, 2], []):
        with pytest.raises(ValueError, match=r"\b0\b.*\b1\b"):
            train(chat(len(targets)).assign(target=targets))
    with pytest.raises(FloatingPointError, match=r"learning.rate"):
        train(chat(30), learning_rate=1e39)
    train(chat(2).assign(target=[True, False]), epochs=1, batch_size=1, hidden_size=1)

SPAM = "Free entry in 2 a wkly comp to win FA Cup tkts. Text FA to 87121 to receive entry"

@pytest.fixture(scope="module")
def trained():
    return train(chat(300), epochs=30)

@given(st.lists(st.sampled_from([SPAM, "", *chat(20, 1)["message"]]) | texts, max_size=9))
def test_predict_reads_each_message_at_its_last_token(trained, messages):
    """N messages have the N probabilities that each has alone, in input order."""
    model, vocabulary = trained
    logits = [model(vocabulary.encode(m)[None])[0][0, -1, 0].item() for m in messages]
    probability = predict(model, vocabulary, iter(messages))
    assert probability.shape == (len(messages),) and not probability.requires_grad
    torch.testing.assert_close(probability, torch.tensor(logits).sigmoid())

def test_predict_generalizes(trained):
    """Unseen spam is recognized, without random numbers; a text is no list of messages."""
    before = torch.random.get_rng_state()
    spam, ham = predict(*trained, [SPAM, "i will be at home, see you tonight"])
    assert spam > 0.5 > ham and torch.equal(torch.random.get_rng_state(), before)
    for wrong in ("a text", chat(3)):
        with pytest.raises(TypeError, match="list"):
            predict(*trained, wrong)

@given(st.lists(st.tuples(st.sampled_from([0.5, 0.51]) | st.floats(0, 1), st.integers(0, 1))))
def test_metrics_match_their_definitions(pairs):
    """Above .5 is spam; the metrics equal those of pandas, and undefined ones are 0."""
    probability, target = torch.tensor(pairs, dtype=torch.double).reshape(-1, 2).T
    called, truth = (pd.Series(x.tolist(), dtype=int) for x in (probability > 0.5, target))
    counts = pd.crosstab(called, truth).reindex(index=[1, 0], columns=[1, 0], fill_value=0)
    expected = pd.Series({
        "accuracy": (called == truth).mean(), "precision": truth[called == 1].mean(),
        "recall": called[truth == 1].mean(), "fpr": called[truth == 0].mean(),
        "f1": 2 * (called & truth).sum() / (called.sum() + truth.sum() or 1),
        "mcc": truth.corr(called) if called.nunique() == truth.nunique() == 2 else 0,
        **dict(zip(["tp", "fp", "fn", "tn"], counts.values.flatten()))})
    assert elman_min.evaluate(probability, target) == pytest.approx(expected.fillna(0).to_dict())

# ---- Checkpoints ----

@given(st.integers(1, 4), st.integers(1, 4), st.lists(texts, max_size=5))
def test_checkpoint_round_trip(tmp_path_factory, hidden_size, output_size, known):
    """Tokens and weights come back, on the device asked for; a failed save changes nothing."""
    path, vocabulary = tmp_path_factory.mktemp("checkpoint") / "m.pt", Vocabulary(known, 1)
    model = ElmanRNN(len(vocabulary), hidden_size, output_size)
    save(path, model, vocabulary)
    again, tokens = elman_min.load(str(path))
    assert vars(tokens) == vars(vocabulary) and list(path.parent.iterdir()) == [path]
    torch.testing.assert_close(again.state_dict(), model.state_dict(), rtol=0, atol=0)
    assert {p.device.type for p in elman_min.load(path, "meta")[0].parameters()} == {"meta"}
    with pytest.raises(RuntimeError, match="abacus"):  # torch's own error
        elman_min.load(path, "abacus")
    before, vocabulary.idx_to_token[0] = path.read_bytes(), lambda: "cannot be pickled"
    with pytest.raises((pickle.PicklingError, AttributeError)):
        save(path, model, vocabulary)
    assert path.read_bytes() == before

@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("reason, change", [
    ("not a checkpoint", lambda file, data, bomb: pickle.dumps(bomb)),
    ("not a checkpoint", lambda file, data, bomb: {**data, "bomb": bomb}),
    ("not a checkpoint", lambda file, data, bomb: b"ham,hello\n"),
    ("not a checkpoint", lambda file, data, bomb: file[:-1]),
    ("W_xh", lambda file, data, bomb: {**data, "tokens": [*data["tokens"], "new"]}),
    ("W_hh", lambda file, data, bomb: data["weights"].update(W_hh=torch.zeros(2, 2)) or data),
    ("gate", lambda file, data, bomb: data["weights"].update(gate=torch.zeros(2, 2)) or data),
    ("finite", lambda file, data, bomb: data["weights"].update(b_h=torch.ones(32) / 0) or data)])
def test_load_refuses(trained, tmp_path, reason, change):
    """What is not a valid checkpoint is a ValueError that says why, and runs no code."""
    path, marker = tmp_path / "m.pt", tmp_path / "marker"
    bomb = type("Bomb", (), {"__reduce__": lambda _: (Path.touch, (marker,))})()
    save(path, *trained)
    data = torch.load(path, weights_only=True)
    changed = change(path.read_bytes(), data, bomb)
    path.write_bytes(changed) if isinstance(changed, bytes) else torch.save(changed, path)
    with pytest.raises(ValueError, match=rf"m\.pt(.|\n)*{reason}"):
        elman_min.load(path)
    assert not marker.exists()

# ---- Command line ----

ROWS = pd.concat([CHAT := chat(300), CHAT[:3]])

@pytest.fixture
def run(trained, tmp_path, monkeypatch, capsys):
    """Run a command beside chat.csv, which is ROWS, and a checkpoint. Return (status, out, err)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda *_, **__: None)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    save("elman_min.pt", *trained)
    labels = ROWS["target"].map({0: "ham", 1: "spam"})
    ROWS.assign(target=labels).to_csv("chat.csv", index=False)

    def run(line, *texts):
        try:
            status = elman_min.main([*line.split(), *texts])
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return run

def files():
    return {path.name: path.read_bytes() for path in Path().iterdir()}

def assert_table(out, model, vocabulary, frame):
    rows = re.findall(r"^(\w+) +([-.\d]+) +([-.\d]+)$", out.partition(" always ham\n")[2], re.M)
    p, y = predict(model, vocabulary, frame["message"]), torch.tensor(frame["target"].tolist())
    for column, metrics in ((1, elman_min.evaluate(p, y)), (2, elman_min.evaluate(0 * p, y))):
        assert [(row[0], row[column]) for row in rows] == [
            (key, f"{x:.4f}" if isinstance(x, float) else f"{x}") for key, x in metrics.items()]

def test_train_and_test(run):
    """Training uses every option and the training rows only; `test` repeats its metrics."""
    status, out, _ = run("train chat.csv --epochs 6 --batch-size 16 --hidden-size 8 --seed 3 "
                         "--learning-rate 0.02 --word-dropout 0.1 --model", "it's mine.pt")
    (fit, held_out), losses = split(CHAT), []
    model, vocabulary = train(fit, epochs=6, batch_size=16, hidden_size=8, seed=3, word_dropout=0.1,
                              learning_rate=0.02, report=lambda *state: losses.append(state[-1]))
    saved, tokens = elman_min.load("it's mine.pt")
    assert status == 0 and vars(tokens) == vars(vocabulary)
    torch.testing.assert_close(saved.state_dict(), model.state_dict(), rtol=0, atol=0)
    header, _, rest = out.partition("epoch")
    assert [*map(int, re.findall(r'\d+', header))] == [200, 100, len(fit), len(held_out)]
    assert re.findall(r" (\d)/6,.* loss ([.\d]+)\n", rest) == [
        (f"{epoch}", f"{losses[epoch * len(losses) // 6 - 1]:.4f}") for epoch in range(1, 7)]
    assert_table(out, model, vocabulary, held_out)
    for options, frame in (([], held_out), (["--all"], ROWS)):
        status, out, _ = run("test chat.csv --model", "it's mine.pt", *options)
        assert status == 0
        assert_table(out, model, vocabulary, frame)

def test_suggested_command_works_as_printed(run):
    """The toy is learned by word order, saved as toy.pt, and the last line predicts two twins."""
    before, (_, out, _) = files(), run("train --epochs 6 --seed 1")
    toys = elman_min.toy_messages(2000, seed=1).drop_duplicates("message")
    counts = toys["target"].value_counts().sort_index().tolist()  # ham, spam
    assert [*map(int, re.findall(r'\d+', out)[:2])] == counts
    assert re.search(r"f1 +(1\.0|0\.9[5-9])", out)
    assert files() == {**before, "toy.pt": Path("toy.pt").read_bytes()}
    arguments = shlex.split(out.splitlines()[-1].partition("elman_min.py")[2])
    scam, twin = arguments[-2:]
    assert {scam, twin} <= {*toys["message"]}
    assert sorted(tokenize(scam)) == sorted(tokenize(twin))
    out = run("", *arguments)[1]
    assert re.findall(r"^(\w+): ", out, re.MULTILINE) == ["spam", "ham"]

@pytest.mark.parametrize("terminal", [False, True])
def test_long_epoch_shows_progress_in_a_terminal_only(run, monkeypatch, terminal):
    """An epoch of hundreds of batches rewrites a line while it runs, a short one does not."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    out = run("train chat.csv --epochs 1 --batch-size 1")[1]
    assert ("\r" in out) is terminal and len(re.findall("epoch 1/1.*\n", out)) == 1
    assert "\r" not in run("train chat.csv --epochs 1")[1]

def test_predict_shows_every_token(run, trained, monkeypatch):
    """Tokens with probabilities, then the verdict, in printable columns as the terminal is wide."""
    model, vocabulary = trained
    for text, verdict in ((SPAM, "spam"), ("see you at home \x1b[31m\t\r\n\x85", "ham")):
        y = model(vocabulary.encode(text)[None])[0].sigmoid().flatten().tolist()
        heights = []
        for width in (5, 38, 40, 200):
            monkeypatch.setenv("COLUMNS", f"{width}")
            status, out, _ = run("predict", text)
            tokens, _, last = out.partition(f"{verdict}: ")
            assert status == 0 and float(last) == pytest.approx(y[-1], abs=1e-4)
            shown = re.findall(r"(.*?) ([01]\.\d\d)(?: |$)", tokens, re.MULTILINE)
            assert [float(p) for _, p in shown] == pytest.approx(y, abs=0.006)
            assert [name.strip() for name, _ in shown] == [
                token[:14].strip("\x1b") for token in tokenize(text)]
            assert not re.search(r"[^\n -~]", out)
            assert max(map(len, out.splitlines())) <= max(width, 20)
            heights.append(out.count("\n"))
        assert heights[0] == heights[1] > heights[2] > heights[3]

def test_verdicts_and_colors(run, monkeypatch):
    """.5 is ham. Spam is red and ham green, in a terminal only (contrast is 3.9 or more)."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for logit, verdict in ((-200, "ham: 0.0000"), (0, "ham: 0.5000"), (0.01, "spam: 0.5025"),
                           (200, "spam: 1.0000")):
        model = ElmanRNN(1, 1)
        nn.utils.vector_to_parameters(torch.tensor([0.0, 0, 0, 0, logit]), model.parameters())
        save("elman_min.pt", model, Vocabulary())
        assert ("predicts ham" in run("test chat.csv")[1]) is (verdict[:3] == "ham")
        Path("ham.csv").write_text("ham,see you\nham,later\n")  # where ham alone is right
        assert "predicts ham" not in run("test ham.csv --all")[1]
        out = run("predict win")[1]
        for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
            with monkeypatch.context() as patch:
                patch.setenv(name, value)
                assert run("predict win")[1] == re.sub(r"\x1b\[[\d;]*m", "", out)
        colors = re.findall(r"\x1b\[38;5;(\d+)m[^\x1b]+\x1b\[0m", out)
        assert verdict in out and len(colors) == len(tokenize("win")) + 1 and len({*colors}) == 1
        assert colors[0] == ("160" if verdict.startswith("spam") else "28")

def test_last_token_decides(run, monkeypatch):
    """The verdict and its color are those of the last token, here opposite to all others."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    model, vocabulary = ElmanRNN(2, 1), Vocabulary()
    nn.utils.vector_to_parameters(torch.tensor([-9.0, 9, 0, 0, 9, 0]), model.parameters())
    vocabulary.add_token("win")
    save("elman_min.pt", model, vocabulary)
    out = run("predict win")[1]
    assert re.findall(r"5;(\d+)m", out) == ["28"] * 3 + ["160"] * 2 and "spam: 0.9999" in out

@pytest.mark.parametrize("end", ["", "\n"])
def test_predict_reads_standard_input(run, trained, monkeypatch, end):
    """A line gives one row of verdict, probability and text, whatever control characters it has."""
    lines = [SPAM, "", "see you\tat\x1b[31m home\rspam\t1\x85\x0b\x0c\x1fx", "£5"]
    data = io.BytesIO(((end or "\n").join(lines) + end).encode())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(data))
    status, out, _ = run("predict -")
    rows = [row.split("\t") for row in out.removesuffix("\n").split("\n")]
    probability = predict(*trained, lines).tolist()
    assert status == 0 and [float(p) for _, p, _ in rows] == pytest.approx(probability, abs=1e-4)
    assert [row[::2] for row in rows] == [
        [verdict, re.sub(r"[\x00-\x1f\x85]", " ", line)]
        for verdict, line in zip(["spam", "ham", "ham", "ham"], lines)]

def child(*argv, **environment):
    """Start the program in another process, where Ctrl-C works even if it is ignored here."""
    code = ("import faulthandler, runpy, signal; faulthandler.dump_traceback_later(60, exit=True); "
            "signal.signal(signal.SIGINT, signal.default_int_handler); "
            f"runpy.run_path({elman_min.__file__!r}, run_name='__main__')")
    return subprocess.Popen([sys.executable, "-c", code, *argv], env={**os.environ, **environment},
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

@pytest.mark.skipif(os.name == "nt", reason="no SIGPIPE")
def test_predict_answers_each_line_at_once(run):
    """Each answer comes before the next line, in ASCII where need be; a closed pipe is no error."""
    with child("predict", "-", PYTHONUNBUFFERED="", PYTHONIOENCODING="ascii") as process:
        for line, shown in ((SPAM.encode(), SPAM), ("£5".encode(), "?5"), (b"\xff", "?")):
            process.stdin.write(line + b"\n")
            process.stdin.flush()
            assert process.stdout.readline().decode("ascii").split("\t")[2] == f"{shown}\n"
        process.stdout.close()
        process.stdin.write(b"nobody reads the answer\n")
        process.stdin.close()
        assert process.stderr.read() == b"" and process.wait(60) == -signal.SIGPIPE

@pytest.mark.skipif(os.name == "nt", reason="no SIGINT for another process")
def test_ctrl_c_leaves_the_checkpoint_untouched(run):
    """Ctrl-C during training exits with 130 and one line, and changes no file."""
    before = files()
    options = "--epochs=9999 --batch-size=4 --hidden-size=700 --device=cpu"  # slow: shows a flush
    with child("train", "chat.csv", *options.split(), PYTHONUNBUFFERED="") as process:
        while b"epoch" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and files() == before
    assert re.fullmatch(rb"elman_min\.py: .*interrupt.*\n", error)

BAD = {  # what is wrong: command, pattern of the error, content of x.csv
    "missing file": ("test SMSSpamColection", r"SpamColection.*spam\.csv\.README.*train", ""),
    "folder": ("train .", "directory|denied", ""),
    "empty file": ("train x.csv", r"x\.csv", ""),
    "no labels": ("train x.csv", "needs a column of", "a,b\nc,d\n"),
    "other label": ("train x.csv", r"x\.csv.*row 3.*'hm'", "label,text\nham,hi\nhm,there\n"),
    "one class": ("train x.csv", "too few", "".join(f"ham,{i}\n" for i in range(40))),
    "open quote": ("train x.csv", r"x\.csv.*row 2\b", 'label,text\nham,"hello\nspam,win\n'),
    "swallowed": ("train x.csv", r"x\.csv.*quote.*row 2\b", 'ham,a\nham,"b\nspam,c\nham,"d"\n'),
    "a folder": ("train chat.csv --model ..", "folder", ""),
    "commas": ("train x.csv", r"x\.csv.*line 2\b.*quotes", "label,text\nham,hello, you\n"),
    "no checkpoint": ("predict hello --model no.pt", r"no\.pt", ""),
    "not a checkpoint": ("test chat.csv --model chat.csv", r"chat\.csv.*not a checkpoint", ""),
    "model is data": ("train chat.csv --model chat.csv", r"chat\.csv.*\.pt", ""),
    "control characters": ("train chat.csv --model \x1b[31m\x9b", "31m.*pt", ""),
}

@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_line_and_changes_no_file(run, what):
    """Errors in files have status 2 and say on one line what is wrong, before any training."""
    line, pattern, content = BAD[what]
    Path("x.csv").write_text(content, encoding="utf-8")
    before = files()
    status, out, error = run(line)
    assert status == 2 and "epoch" not in out and files() == before
    assert re.fullmatch(rf"elman_min\.py: .*({pattern}).*\n", error)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", error)

@pytest.mark.parametrize("option, accepted, refused", [
    ("--epochs=", f"1 {10**6}", f"0 {10**6 + 1} .5 x"),
    ("--batch-size=", f"1 {10**6}", f"0 {10**6 + 1} 1e3"),
    ("--hidden-size=", "1 1000", "0 1001"),
    ("--learning-rate=", "1e-9 1", "0 9e-10 1.01 nan inf"),
    ("--word-dropout=", "0 1", "-0.1 1.01 nan"),
    ("--seed=", f"0 {2**32 - 1}", f"-1 {2**32} 0.5"),
    ("--device=", "cpu", "cuda mps abacus")])
def test_option_limits(run, option, accepted, refused):
    """Options accept their limits, here up to a missing file, and refuse what is beyond."""
    default = elman_min.train.__kwdefaults__[option[2:-1].replace("-", "_")]
    shown = re.search(rf"{option[:-1]} [^(]*\(({default})\)", run("train --help")[1])
    assert shown or option == "--device="
    for value in accepted.split():
        assert "no.csv" in run(f"train no.csv {option}{value}")[2]
    for line in (*(f"train no.csv {option}{value}" for value in refused.split()),
                 "", "train a b", "test", "predict", "classify"):
        status, out, error = run(line)
        assert status == 2 and not out and error.startswith("usage: ")
        assert "no.csv" not in error and ("=" not in line or option[:-1] in error)

@pytest.mark.parametrize("best, absent", [("cuda", "mps"), ("mps", "cuda")])
def test_device_defaults_to_the_accelerator(run, monkeypatch, capsys, best, absent):
    """The default is what torch reports, cpu is always there, an absent device is refused."""
    monkeypatch.setattr(torch.accelerator, "current_accelerator",
                        lambda check_available: check_available and torch.device(best))
    for option, used in (("", best), (f"--device={best}", best), ("--device=cpu", "cpu")):
        with contextlib.suppress(Exception):  # torch's own, as the device may not be there
            elman_min.main(f"train chat.csv --epochs=1 {option}".split())
        assert re.search(rf"device:? {used}\b", capsys.readouterr().out)
    status, _, error = run(f"train chat.csv --device={absent}")
    assert status == 2 and absent in error and best in error

# ---- README ----
README = Path(__file__).with_name("README.md").read_text(encoding="utf-8")

@pytest.mark.parametrize("code", re.findall("```python example\n(.*?)```", README, re.DOTALL))
def test_readme_example_runs(code, tmp_path, monkeypatch):
    """Each example of the README runs as it stands, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    Path("example.py").write_text(code, encoding="utf-8")
    runpy.run_path("example.py")
