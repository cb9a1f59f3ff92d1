# SPDX-License-Identifier: MIT
"""What elman_min.py promises, as properties over inputs that nobody picked.

    python -m pytest                            checks them all
    python test_elman_min.py [spam.csv]         no test: measures speed, and on a file the figures of README.md

Sizes follow the docstrings: B messages, T words, V tokens, I inputs, H units, O outputs.
"""
from __future__ import annotations

import functools
import importlib.util
import itertools
import os
import pickle
import re
import runpy
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import nn

import elman_min
from elman_min import (
    THRESHOLD,
    Batches,
    ElmanRNN,
    Vocabulary,
    evaluate,
    load,
    main,
    message_loss,
    predict,
    read_messages,
    save,
    split,
    tokenize,
    toy_messages,
    train,
)

torch.set_num_threads(1)  # the networks here are too small to share
settings.register_profile("elman", deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
settings.load_profile("elman")

BLOG = ("Free entry in 2 a wkly comp to win FA Cup final tkts 21st May 2005. Text FA to 87121 to receive entry "
        "question(std txt rate)T&C's apply 08452810075over18's")
small = st.integers(1, 6)
seeds = st.integers(0, 2**32 - 1)
texts = st.text(st.characters(), max_size=60)                 # lone surrogates and control characters included
scales = st.floats(0.1, 3)
messages = st.lists(texts, max_size=20)


@st.composite
def networks(draw, output_size=small, scale=scales):
    """An ElmanRNN in double precision with weights of every size, ids (B, T) and vectors (B, T, I) for it."""
    torch.manual_seed(draw(seeds))
    model = ElmanRNN(draw(small), draw(small), draw(output_size)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * draw(scale))
    batch, steps = draw(small), draw(st.integers(1, 12))
    I = model.W_xh.shape[0]
    return model, torch.randint(0, I, (batch, steps)), torch.randn(batch, steps, I, dtype=torch.double)


def state_for(model, x):
    return torch.rand(len(x), model.W_hh.shape[0], dtype=torch.double) * 2 - 1


# ------------------------------------------------------------------------------- shapes and values


@given(networks())
def test_shapes_are_as_the_docstrings_promise(case):
    model, ids, vectors = case
    B, T, H, O = ids.shape + model.W_hy.shape
    for x, hidden in itertools.product((ids, vectors), (None, state_for(model, ids))):
        logits, last = model(x, hidden)
        assert logits.shape == (B, T, O) and last.shape == (B, H)
        assert logits.dtype == last.dtype == torch.double


@given(networks())
def test_parameters_are_five_raw_matrices_of_the_papers_shapes(case):
    model, _, _ = case
    I, H, O = model.W_xh.shape[0], model.W_hh.shape[0], model.W_hy.shape[1]
    assert {name: tuple(p.shape) for name, p in model.named_parameters()} == {
        "W_xh": (I, H), "W_hh": (H, H), "b_h": (H,), "W_hy": (H, O), "b_y": (O,)}
    assert [type(module) for module in model.modules()] == [ElmanRNN]


@given(networks())
def test_ids_and_their_one_hot_vectors_give_the_same_logits(case):
    model, ids, _ = case
    one_hot = nn.functional.one_hot(ids, len(model.W_xh)).double()
    torch.testing.assert_close(model(ids), model(one_hot))


@given(networks())
def test_torch_rnn_with_the_same_weights_gives_the_same_logits_and_state(case):
    model, _, x = case
    peer = nn.RNN(*model.W_xh.shape, batch_first=True).double()
    with torch.no_grad():
        for theirs, ours in zip(peer.parameters(), (model.W_xh.T, model.W_hh.T, model.b_h, 0 * model.b_h)):
            theirs.copy_(ours)
    hidden = state_for(model, x)
    states, last = peer(x, hidden[None])
    logits, h = model(x, hidden)
    torch.testing.assert_close(logits, states @ model.W_hy + model.b_y)
    torch.testing.assert_close(h, last[0])


@given(networks(), st.data())
def test_two_pieces_with_the_state_carried_over_equal_the_whole(case, data):
    model, x, _ = case
    assume(x.shape[1] > 1)
    cut = data.draw(st.integers(1, x.shape[1] - 1))
    whole, last = model(x)
    first, hidden = model(x[:, :cut])
    second, carried = model(x[:, cut:], hidden)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    torch.testing.assert_close(carried, last)


@given(networks(), st.data())
def test_what_comes_from_step_k_on_changes_nothing_before_step_k(case, data):
    model, _, x = case
    k = data.draw(st.integers(0, x.shape[1] - 1))
    changed = x.clone()
    changed[:, k:] = torch.randn_like(changed[:, k:])
    assert torch.equal(model(x)[0][:, :k], model(changed)[0][:, :k])
    assert not torch.equal(model(x)[0][:, k:], model(changed)[0][:, k:])


@given(networks(), seeds)
def test_no_row_of_a_batch_notices_the_order_of_the_others(case, seed):
    model, x, _ = case
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(model(x[order]), tuple(y[order] for y in model(x)))


@given(networks(scale=st.floats(0, 30)), st.integers(1, 400))
def test_the_state_stays_within_one_and_logits_are_finite(case, steps):
    model, ids, _ = case
    states, h = [], None
    for x in ids[:, :1].repeat(1, steps).split(7, 1):
        logits, h = model(x, h)
        states.append(h)
        assert logits.isfinite().all()
    assert torch.stack(states).abs().max() <= 1


@given(st.lists(st.tuples(st.floats(-15, 15), st.booleans()), min_size=1))
def test_the_loss_is_the_textbook_formula_where_that_is_finite(pairs):
    z = torch.tensor([z for z, _ in pairs], dtype=torch.double)
    y = torch.tensor([y for _, y in pairs], dtype=torch.double)
    p = 1 / (1 + torch.exp(-z))
    textbook = -(y * torch.log(p) + (1 - y) * torch.log(1 - p))
    one_step = torch.ones(len(z), dtype=torch.long)
    torch.testing.assert_close(message_loss(z[:, None], y, one_step), textbook.mean(), rtol=1e-8, atol=0)


@pytest.mark.parametrize("z", [100.0, -100.0])
@pytest.mark.parametrize("y", [0.0, 1.0])
def test_the_loss_stays_finite_and_teaches_where_the_textbook_formula_does_not(z, y):
    logits = torch.tensor([[z]], requires_grad=True)
    loss = message_loss(logits, torch.tensor([y]), torch.tensor([1]))
    loss.backward()
    wrong = (z > 0) != (y > 0)
    assert loss.item() == pytest.approx(100.0 if wrong else 0.0)
    assert logits.grad.item() == pytest.approx((1.0 if z > 0 else -1.0) if wrong else 0.0)


@given(networks(st.just(1)), st.data())
def test_padding_adds_nothing_to_the_loss_and_each_message_counts_alike(case, data):
    model, ids, _ = case
    B, T = ids.shape
    lengths = torch.tensor(data.draw(st.lists(st.integers(1, T), min_size=B, max_size=B)))
    y = torch.randint(0, 2, (B,)).double()
    alone = [message_loss(model(ids[i:i + 1, :n])[0][..., 0], y[i:i + 1], torch.tensor([n]))
             for i, n in enumerate(lengths.tolist())]
    torch.testing.assert_close(message_loss(model(ids)[0][..., 0], y, lengths), torch.stack(alone).mean())


# ----------------------------------------------------------------------------------- gradient flow


def gradients_by_hand(model, x, y, lengths):
    """Backpropagation through time, written out. x (B, T, I); y, lengths (B,). No autograd.

    L is the loss, a_t the sum inside tanh: h_t = tanh(a_t), z_t = h_t W_hy + b_y. A ' behind a matrix
    transposes it; * multiplies number by number.
    The chain rule needs one question answered for each quantity: which later ones does it feed?

    z_t feeds only its own loss term, - y log sigmoid(z) - (1 - y) log sigmoid(-z). As the derivative of
    log sigmoid(z) is sigmoid(-z), and sigmoid(z) + sigmoid(-z) = 1, all that is left is
        dL/dz_t = (sigmoid(z_t) - y) w_t                 w_t = 1 / (B length), and 0 on padding
    h_t feeds z_t and, one step later, a_{t+1}. Two ways out, so two terms:
        dL/dh_t = dL/dz_t W_hy' + dL/da_{t+1} W_hh'      the second is 0 at the last step
    a_t feeds h_t alone, and the slope of tanh is 1 - tanh^2:
        dL/da_t = dL/dh_t * (1 - h_t^2)
    So the steps must be walked backwards: that is the gradient through time. Every further step
    multiplies by W_hh' and by 1 - h^2 <= 1: where W_hh is small the gradient dies out on its way back,
    where it is large it may explode.
    The weights are the same at each step, so each step adds to their gradients what it fed through them:
        dL/dW_xh = sum x_t' dL/da_t    dL/dW_hh = sum h_{t-1}' dL/da_t    dL/db_h = sum dL/da_t
        dL/dW_hy = sum h_t' dL/dz_t    dL/db_y  = sum dL/dz_t
    """
    W_xh, W_hh, b_h, W_hy, b_y = (p.detach() for p in model.parameters())
    B, T, _ = x.shape
    h = [torch.zeros(B, len(W_hh), dtype=x.dtype)]                          # h[t] is h_t, h[0] = 0
    for t in range(T):
        h.append(torch.tanh(x[:, t] @ W_xh + h[t] @ W_hh + b_h))            # (B, H)
    gradient = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    da_next = torch.zeros_like(h[0])                                        # (B, H)
    for t in range(T, 0, -1):
        w = ((t <= lengths).to(x) / (B * lengths))[:, None]                      # (B, 1)
        dz = (torch.sigmoid(h[t] @ W_hy + b_y) - y[:, None]) * w            # (B, 1)
        dh = dz @ W_hy.T + da_next @ W_hh.T                                 # (B, H)
        da = dh * (1 - h[t] ** 2)                                           # (B, H)
        gradient["W_hy"] += h[t].T @ dz
        gradient["b_y"] += dz.sum(0)
        gradient["W_xh"] += x[:, t - 1].T @ da
        gradient["W_hh"] += h[t - 1].T @ da
        gradient["b_h"] += da.sum(0)
        da_next = da
    return gradient


@given(networks(st.just(1), st.floats(0.1, 1)), st.data())
def test_backpropagation_through_time_by_hand_gives_the_gradients_of_backward(case, data):
    model, ids, vectors = case
    B, T = ids.shape
    lengths = torch.tensor(data.draw(st.lists(st.integers(1, T), min_size=B, max_size=B)))
    y = torch.randint(0, 2, (B,)).double()
    for x, seen in ((ids, nn.functional.one_hot(ids, len(model.W_xh)).double()), (vectors, vectors)):
        model.zero_grad()
        message_loss(model(x)[0][..., 0], y, lengths).backward()
        torch.testing.assert_close({name: p.grad for name, p in model.named_parameters()},
                                   gradients_by_hand(model, seen, y, lengths), rtol=1e-9, atol=1e-12)


@settings(max_examples=5)
@given(networks(scale=st.floats(0.1, 1)))
def test_gradcheck_agrees(case):
    model, _, x = case
    names, weights = zip(*model.named_parameters())

    def run(x, hidden, *weights):
        return torch.func.functional_call(model, dict(zip(names, weights)), (x, hidden))

    assert torch.autograd.gradcheck(run, (x.requires_grad_(), state_for(model, x).requires_grad_(), *weights))


@given(networks(scale=st.floats(0.1, 1)))
def test_every_parameter_gets_a_gradient_and_of_W_xh_only_rows_of_words_that_occur(case):
    model, ids, _ = case
    model(ids)[0].sum().backward()
    for parameter in model.parameters():
        assert parameter.grad.isfinite().all()
    for name in ("W_xh", "b_h", "W_hy", "b_y") + (("W_hh",) if ids.shape[1] > 1 else ()):
        assert getattr(model, name).grad.any()
    assert set(model.W_xh.grad.any(1).nonzero()[:, 0].tolist()) <= set(ids.flatten().tolist())


@given(networks(st.just(1), st.just(0.5)))
def test_the_last_answer_depends_on_the_first_word_through_W_hh_and_only_so(case):
    model, _, x = case
    assume(x.shape[1] > 1)
    x.requires_grad_()
    gradient, = torch.autograd.grad(model(x)[0][:, -1].sum(), x)
    assert gradient[:, 0].any()
    with torch.no_grad():
        model.W_hh.zero_()
    gradient, = torch.autograd.grad(model(x)[0][:, -1].sum(), x)
    assert not gradient[:, :-1].any() and gradient[:, -1].any()


@given(seeds, st.floats(0.3, 0.95), st.integers(2, 8))
def test_the_gradient_vanishes_with_distance_where_W_hh_shrinks_every_vector(seed, radius, hidden_size):
    torch.manual_seed(seed)
    model = ElmanRNN(hidden_size, hidden_size).double()
    with torch.no_grad():  # a rotation, made smaller: its eigenvalues and singular values all are the radius
        model.W_hh.copy_(radius * torch.linalg.qr(torch.randn(hidden_size, hidden_size, dtype=torch.double))[0])
        model.W_xh.copy_(torch.eye(hidden_size))
    x = torch.randn(1, 40, hidden_size, dtype=torch.double, requires_grad=True)
    gradient, = torch.autograd.grad(model(x)[0][0, -1, 0], x)
    size = gradient[0].norm(dim=1).flip(0)                     # (T,), by distance from the last word
    assert (size[1:] <= radius * size[:-1] * (1 + 1e-9)).all()
    assert 0 < size[-1] < size[0]


# ------------------------------------------------------------------------------ words and messages


@given(texts)
def test_tokenize_takes_any_text_and_gives_words_without_spaces_or_digits_other_than_0(message):
    tokens = tokenize(message)
    assert all(token and not any(c.isspace() for c in token) for token in tokens)
    assert not any(c.isdecimal() and c != "0" for token in tokens for c in token)
    assert tokens == tokenize(message + " ") and "<UNK>" not in tokens


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_numbers_of_as_many_digits_are_one_token(a, b):
    same = len(str(a)) == len(str(b))
    assert (tokenize(f"call {a} now") == tokenize(f"Call {b} NOW")) is same
    assert tokenize(f"x{a}") == ["x", "0" * len(str(a))]


def test_words_marks_and_digits_are_told_apart_wherever_they_touch():
    assert tokenize("Won £1,000!!! T&C's_apply") == ["won", "£", "0", ",", "000", "!!!", "t", "&", "c", "'", "s",
                                                      "_", "apply"]
    assert tokenize("winner winners") == ["winner", "winner"]
    assert tokenize("") == tokenize(" \t\n") == []


@given(messages, texts, st.integers(1, 3))
def test_a_vocabulary_numbers_what_is_frequent_and_encodes_anything(known, message, min_count):
    vocabulary = Vocabulary(known, min_count)
    counts = Counter(token for m in known for token in tokenize(m))
    assert set(vocabulary.token_to_idx) == {"<UNK>"} | {t for t, n in counts.items() if n >= min_count}
    assert vocabulary.idx_to_token[0] == "<UNK>"
    assert [vocabulary.token_to_idx[t] for t in vocabulary.idx_to_token] == list(range(len(vocabulary)))
    assert vocabulary.idx_to_token == Vocabulary(known, min_count).idx_to_token
    for m in [message, *known]:
        ids = vocabulary.encode(m)
        assert ids.dtype == torch.int64 and ids.ndim == 1 and len(ids) >= 1
        assert 0 <= ids.min() and ids.max() < len(vocabulary)
        assert vocabulary.decode(ids) == ([t if t in vocabulary.token_to_idx else "<UNK>" for t in tokenize(m)]
                                          or ["<UNK>"])
        one_hot = vocabulary.one_hot(m)
        assert one_hot.shape == (len(ids), len(vocabulary)) and one_hot.is_floating_point()
        assert torch.equal(one_hot.sum(1), torch.ones(len(ids))) and torch.equal(one_hot.argmax(1), ids)


@given(messages)
def test_add_token_gives_the_next_number_once(tokens):
    vocabulary = Vocabulary()
    for token in tokens:
        before, number = len(vocabulary), vocabulary.token_to_idx.get(token)
        assert vocabulary.add_token(token) == (before if number is None else number)
        assert len(vocabulary) == before + (number is None)


@given(messages, seeds, st.integers(2, 6))
def test_split_keeps_every_row_once_repeats_together_and_does_not_see_the_order(rows, seed, folds):
    frame = pd.DataFrame({"target": [len(m) % 2 for m in rows], "message": rows}, dtype=object)
    held_out = []
    for fold in range(folds):
        learn, test = split(frame, fold, folds)
        assert sorted([*learn.index, *test.index]) == list(frame.index)
        assert not set(learn["message"]) & set(test["message"])
        assert set(split(frame.sample(frac=1, random_state=seed), fold, folds)[1].index) == set(test.index)
        held_out += list(test.index)
    assert sorted(held_out) == list(frame.index)


def test_split_holds_out_about_one_in_folds():
    assert 150 < len(split(toy_messages(1000))[1]) < 250


fields = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=9, max_size=40)
rows = st.lists(st.tuples(st.sampled_from(["ham", "spam"]), fields), min_size=1, max_size=12)


def quoted(*cells):
    return ",".join('"' + cell.replace('"', '""') + '"' for cell in cells)


@given(rows, st.sampled_from(["\n", "\r\n"]), st.randoms(use_true_random=False))
def test_each_accepted_format_gives_the_same_messages(tmp_path_factory, rows, end, random):
    path = tmp_path_factory.mktemp("formats") / "messages"
    case = random.choice([str.lower, str.upper, str.title])
    plain = [(label, '"' + message.translate({9: " ", 10: " ", 13: " "})) for label, message in rows]   # a plain quote
    latin = [(label, message.encode("latin-1", "ignore").decode("latin-1") + " £ no UTF-8") for label, message in rows]
    for written, encoding, lines in (
            (rows, "utf-8", ["v1,v2,,,"] + [f"{label},{quoted(m)},,," for label, m in rows]),
            (rows, "utf-8-sig", ["label,text"] + [f"{case(label)},{quoted(m)}" for label, m in rows]),
            (rows, "utf-8-sig", [f"{case(label)},{quoted(m)}" for label, m in rows]),
            (rows, "utf-8", ["Message,id,Category"] + [f"{quoted(m)},7, {label} " for label, m in rows]),
            (latin, "latin-1", ["v1,v2,,,"] + [f"{label},{quoted(m)},,," for label, m in latin]),
            (plain, "utf-8", ["", *(f"{label}\t{m}" for label, m in plain)])):
        path.write_bytes(end.join([*lines, ""]).encode(encoding))
        found = read_messages(path)
        assert list(found.columns) == ["target", "message"]
        assert list(zip(found["target"], found["message"])) == [(int(l == "spam"), m) for l, m in written]


@given(st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(
    [b"ham", b"spam", b",", b"\t", b'"', b"\n", b"\r", b"\0", b"\xff", b"x", b" "]), max_size=30).map(b"".join)))
def test_any_bytes_are_messages_or_the_documented_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("bytes") / "any.csv"
    path.write_bytes(data)
    try:
        found = read_messages(path)
    except ValueError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:
        assert len(found) and set(found["target"]) <= {0, 1} and found["message"].map(type).eq(str).all()


def test_null_empty_and_na_messages_are_text(tmp_path):
    path = tmp_path / "nulls.csv"
    path.write_text('label,text\nham,\nspam,""\nham,NA\nspam,null\nham\n')
    found = read_messages(path)
    assert found["message"].tolist() == ["", "", "NA", "null", ""]
    assert Vocabulary().encode("").tolist() == [0]


def test_a_message_of_any_length_is_read(tmp_path):
    (tmp_path / "long.csv").write_text(f"label,text\nham,\"{'word ' * 50_000}\"\nspam,win\n")
    assert read_messages(tmp_path / "long.csv")["message"].str.len().tolist() == [250_000, 3]


@given(st.integers(1, 300), seeds)
def test_the_toy_cannot_be_solved_by_counting_words(n, seed):
    frame = toy_messages(n, seed)
    assert len(frame) == n and frame.equals(toy_messages(n, seed))
    bags = Counter()
    for target, message in zip(frame["target"], frame["message"]):
        bags[tuple(sorted(tokenize(message)))] += 1 if target else -1
    assert sum(abs(excess) for excess in bags.values()) == n % 2     # every scam has its twin, but for an odd one


@given(st.lists(st.integers(1, 60), max_size=60), st.integers(1, 8), st.integers(1, 100))
def test_batches_hold_every_message_once_within_the_limits_and_pad_behind_the_last_word(lengths, size, max_words):
    pairs = [(torch.full((n,), i + 1), i) for i, n in enumerate(lengths)]
    batches = Batches(pairs, size, max_words)
    seen = []
    for b in range(len(batches)):
        x, n, values = batches[b]
        assert x.shape == (len(n), n.max()) and len(n) <= size
        assert len(n) == 1 or x.numel() <= max_words
        for row, length, i in zip(x.tolist(), n.tolist(), values.tolist()):
            assert row == [i + 1] * lengths[i] + [0] * (x.shape[1] - length)
            seen.append(i)
    assert sorted(seen) == list(range(len(lengths)))
    steps = [max(batches[b][1]) for b in range(len(batches))]
    assert steps == sorted(steps)


# ----------------------------------------------------------------------------- learning and judging


def chat(n: int, seed: int = 0) -> pd.DataFrame:
    """`n` distinct messages, a third of them advertisements, from made-up phrases."""
    import random
    pick = random.Random(seed).choice
    offers = ["free entry", "win a prize", "txt to 80082", "claim your award", "call 09061701461 now", "reply STOP",
              "cost 150p per msg", "cash or tickets", "weekly competition", "std rate applies"]
    talk = ["see you at 8", "i am late sorry", "what are you doing", "lol ok", "how was the exam", "at home now",
            "call me when you can", "mum says hi", "are you free tonight", "the bus is slow"]
    rows: dict[str, int] = {}
    while len(rows) < n:
        spam = len(rows) % 3 == 0
        rows.setdefault(" ".join(pick(offers if spam else talk) for _ in range(pick([3, 4, 5]))), int(spam))
    return pd.DataFrame({"target": list(rows.values()), "message": list(rows)})


@pytest.fixture(scope="module")
def trained():
    return train(chat(300), epochs=30)


def test_predict_reads_each_message_at_its_own_last_word(trained):
    model, vocabulary = trained
    many = ["", *chat(40, 1)["message"], BLOG, "ok"]
    alone = [torch.sigmoid(model(vocabulary.encode(m)[None])[0][0, -1, 0]) for m in many]
    torch.testing.assert_close(predict(model, vocabulary, many), torch.stack(alone).detach())
    assert predict(model, vocabulary, []).shape == (0,)


def test_predict_neither_trains_nor_draws(trained):
    state = torch.random.get_rng_state()
    probability = predict(*trained, [BLOG] * 3)
    assert torch.equal(predict(*trained, [BLOG] * 3), probability) and not probability.requires_grad
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_blogs_sentence_is_spam_for_a_network_that_never_saw_it(trained):
    probability = predict(*trained, [BLOG, "i will be at home, see you tonight"])
    assert probability[0] > THRESHOLD > probability[1]


def test_the_default_network_is_small(trained):
    model, vocabulary = trained
    assert model.W_xh.shape == (len(vocabulary), 32) and sum(p.numel() for p in model.parameters()) < 10_000


def test_every_word_counts_not_only_one(trained):
    model, vocabulary = trained
    x = nn.functional.one_hot(vocabulary.encode(BLOG), len(vocabulary)).float()[None].requires_grad_()
    model(x)[0][0, -1, 0].backward()
    assert x.grad[0].any(1).all()


def test_unk_is_learned_from_rare_and_hidden_words():
    frame = chat(60)
    before = train(frame, epochs=1, learning_rate=1e-12)[0].W_xh[0]
    assert (train(frame, epochs=1)[0].W_xh[0] - before).abs().max() > 1e-4
    frame["message"] = [f"once{'abcdefghij'[i % 10]}{'klmnop'[i // 10]} {m}" for i, m in enumerate(frame["message"])]
    start, end = (train(frame, epochs=1, hide=0, learning_rate=rate)[0].W_xh[0] for rate in (1e-12, 3e-3))
    assert (end - start).abs().max() > 1e-4                       # of words that occur once, with none hidden


def test_order_alone_is_learned_where_no_count_of_words_can_tell():
    model, vocabulary = train(toy_messages(800), epochs=15)
    fresh = toy_messages(300, seed=1)
    fresh = fresh[~fresh["message"].isin(toy_messages(800)["message"])]
    figures = evaluate(predict(model, vocabulary, fresh["message"].tolist()), torch.tensor(fresh["target"].tolist()))
    assert figures["F1"] > 0.97


def test_the_same_seed_gives_the_same_weights_bit_for_bit_and_another_seed_others():
    def weights(seed):
        return torch.cat([p.flatten() for p in train(chat(60), epochs=2, seed=seed)[0].parameters()])

    torch.manual_seed(5)
    first = weights(0)
    torch.manual_seed(6)
    assert torch.equal(weights(0), first) and not torch.equal(weights(1), first)


def test_training_needs_both_classes_and_says_so():
    for frame in (chat(30).query("target == 1"), chat(30)[:0]):
        with pytest.raises(ValueError, match="both ham and spam"):
            train(frame)


@pytest.mark.parametrize("setting", [{"epochs": 0}, {"batch_size": -1}, {"hidden_size": 0}, {"learning_rate": 0.0},
                                     {"learning_rate": float("nan")}, {"hide": 2.0}, {"seed": -1}])
def test_a_setting_that_makes_no_sense_is_refused_by_its_name(setting):
    with pytest.raises(ValueError, match=next(iter(setting)).replace("_", ".")):
        train(chat(30), **setting)


@pytest.mark.parametrize("epochs", range(1, 8))
def test_any_number_of_steps_will_do(epochs):
    steps = []
    train(chat(30), epochs=epochs, report=lambda *state: steps.append(state))
    assert len(steps) == epochs


def test_a_gradient_that_is_no_number_stops_the_training_even_where_the_loss_is_one(monkeypatch):
    real = message_loss
    monkeypatch.setattr(elman_min, "message_loss", lambda z, y, n: real(z, y, n) + (0 * z).sum().sqrt())
    with pytest.raises(FloatingPointError, match="learning rate"):
        train(chat(30), epochs=1, batch_size=30)
    with pytest.raises(FloatingPointError, match="learning rate"):
        train(chat(30), learning_rate=1e38)


def test_every_epoch_puts_other_messages_of_a_length_together(monkeypatch):
    company = []

    def recorded(pairs, batch_size):
        batches = Batches(pairs, batch_size)
        company.append({frozenset(tuple(ids.tolist()) for ids, _ in batch) for batch in batches.batches})
        return batches

    monkeypatch.setattr(elman_min, "Batches", recorded)
    train(chat(60), epochs=2, batch_size=8)
    assert company[-1] != company[-2]


def test_no_gradient_is_longer_than_1_however_steep_the_loss(monkeypatch):
    real, lengths = message_loss, []
    monkeypatch.setattr(elman_min, "message_loss", lambda z, y, n: 1000 * real(z, y, n))
    train(chat(30), epochs=2, report=lambda model, *_: lengths.append(
        torch.cat([p.grad.flatten() for p in model.parameters()]).norm().item()))
    assert len(lengths) == 2 and max(lengths) <= 1.0001


@given(st.lists(st.tuples(st.sampled_from([0.1, THRESHOLD, 0.95]) | st.floats(0, 1), st.booleans()), min_size=1))
def test_the_figures_agree_with_their_definitions(pairs):
    probability, target = torch.tensor([p for p, _ in pairs], dtype=torch.double), torch.tensor([int(y) for _, y in pairs])
    figures = evaluate(probability, target)
    called = pd.Series([int(p > THRESHOLD) for p, _ in pairs])
    truth = pd.Series([int(y) for _, y in pairs])
    table = pd.crosstab(truth, called).reindex(index=[0, 1], columns=[0, 1], fill_value=0)
    assert [[figures["TN"], figures["FP"]], [figures["FN"], figures["TP"]]] == table.values.tolist()
    assert figures["accuracy"] == pytest.approx((truth == called).mean())
    if truth.nunique() == called.nunique() == 2:
        assert figures["Matthews"] == pytest.approx(truth.corr(called))
        assert figures["precision"] == pytest.approx(truth[called == 1].mean())
        assert figures["recall"] == pytest.approx(called[truth == 1].mean())
        assert figures["ham blocked"] == pytest.approx(called[truth == 0].mean())
        if figures["TP"]:
            assert 2 / figures["F1"] == pytest.approx(1 / figures["precision"] + 1 / figures["recall"])
    assert pd.Series(figures).notna().all()


# ----------------------------------------------------------------------------------------- keeping


def test_a_network_saved_and_loaded_answers_identically(trained, tmp_path):
    save(tmp_path / "m.pt", *trained)
    model, vocabulary = load(tmp_path / "m.pt")
    many = chat(50, 2)["message"].tolist()
    assert torch.equal(predict(model, vocabulary, many), predict(*trained, many))
    assert [p.name for p in tmp_path.iterdir()] == ["m.pt"]


def test_a_failed_save_leaves_the_old_checkpoint_and_nothing_else(trained, tmp_path, monkeypatch):
    path = tmp_path / "m.pt"
    save(path, *trained)
    old = path.read_bytes()

    def full(*_):
        raise OSError("disk full")

    for where, step in ((Path, "write_bytes"), (elman_min.os, "replace")):
        with monkeypatch.context() as patch, pytest.raises(OSError, match="disk full"):
            patch.setattr(where, step, full)
            save(path, *trained)
        assert path.read_bytes() == old and len(list(tmp_path.iterdir())) == 1


class Bomb:
    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return Path.touch, (Path(self.marker),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("how", ["torch", "pickle", "cut", "else", "tokens", "shapes", "empty"])
def test_what_is_no_checkpoint_is_refused_and_runs_no_code(trained, tmp_path, how):
    path, marker = tmp_path / "m.pt", tmp_path / "ran"
    save(path, *trained)
    kept = torch.load(path, weights_only=True)
    if how in ("torch", "pickle"):
        (torch.save if how == "torch" else lambda kept, path: path.write_bytes(pickle.dumps(kept)))(
            {**kept, "bomb": Bomb(marker)}, path)
    elif how == "tokens":
        torch.save({**kept, "tokens": kept["tokens"][:-1]}, path)
    elif how == "shapes":
        torch.save({**kept, "weights": {**kept["weights"], "W_hh": torch.zeros(2, 2)}}, path)
    else:
        path.write_bytes({"cut": path.read_bytes()[:-300], "else": b"ham,hello\n", "empty": b""}[how])
    with pytest.raises(ValueError, match="checkpoint"):
        load(path)
    assert not marker.exists()


# ------------------------------------------------------------------------------------- the program


ZEBRAS = split(chat(60, 9).assign(message=lambda frame: "zebra " + frame["message"]))[1]   # a word held out alone
CHAT = pd.concat([chat(240), ZEBRAS], ignore_index=True)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to run in, but for chat.csv, which is CHAT and three repeats."""
    monkeypatch.chdir(tmp_path)
    frame = pd.concat([CHAT, CHAT[:3]])
    frame.assign(v1=frame["target"].map({0: "ham", 1: "spam"}))[["v1", "message"]].to_csv("chat.csv", index=False)
    return tmp_path


def test_train_then_test_from_end_to_end(folder, capsys, monkeypatch):
    frames = []
    monkeypatch.setattr(elman_min, "train", lambda frame, **recipe: frames.append(frame) or train(frame, **recipe))
    assert main(["train", "chat.csv", "--epochs", "20", "--seed", "3"]) == 0
    learn, held_out = split(CHAT)
    out = capsys.readouterr().out
    assert f"{len(CHAT) + 3} rows, 3 repeats dropped, {len(CHAT)} messages" in out and out.count("\nepoch") == 20
    assert f"learning from {len(learn)}, judged by {len(held_out)} held out" in out
    assert frames[0]["message"].tolist() == learn["message"].tolist()
    model, vocabulary = load("elman_min.pt")
    assert vocabulary.idx_to_token == Vocabulary(learn["message"]).idx_to_token
    assert "zebra" in Vocabulary(held_out["message"]).token_to_idx and "zebra" not in vocabulary.token_to_idx
    assert max(map(len, out.splitlines())) <= 80

    assert main(["test", "chat.csv"]) == 0
    printed = capsys.readouterr().out
    figures = evaluate(predict(model, vocabulary, held_out["message"].tolist()), torch.tensor(held_out["target"].tolist()))
    assert f"F1  {figures['F1']:.4f}".split() == next(x for x in printed.splitlines() if x[:2] == "F1").split()[:2]
    assert printed.partition("\n")[2] in out                   # the same figures as at the end of training

    assert main(["test", "chat.csv", "--all"]) == 0
    everything = capsys.readouterr().out
    counts = [int(x) for x in everything.replace(";", " ").split() if x.isdigit()]
    assert sum(counts[-4:]) == len(CHAT) + 3


def test_balance_evens_the_classes_of_the_training_part_only(folder, capsys, monkeypatch):
    frames = []
    monkeypatch.setattr(elman_min, "train", lambda frame, **recipe: frames.append(frame) or train(frame, **recipe))
    assert main(["train", "chat.csv", "--epochs", "1", "--balance"]) == 0
    learn, held_out = split(CHAT)
    spam = int(learn["target"].sum())
    assert frames[0]["target"].value_counts().to_dict() == {0: spam, 1: spam}
    assert f"learning from {2 * spam}, judged by {len(held_out)} held out" in capsys.readouterr().out


def test_texts_are_shown_word_by_word_plain_in_a_pipe_and_coloured_on_a_terminal(folder, trained, capsys, monkeypatch):
    save("elman_min.pt", *trained)
    assert main(["test", BLOG, "\x1b[31m", ""]) == 0
    plain = capsys.readouterr().out
    assert "\x1b" not in plain and plain.count("after the last word") == 3 and "spam: " in plain
    assert all(token[:13] in plain for token in tokenize(BLOG))
    numbers = [float(x) for x in plain.split("spam:")[0].split() if len(x) == 4 and x[1] == "."]
    logits = trained[0](trained[1].encode(BLOG)[None])[0]
    assert numbers == pytest.approx(torch.sigmoid(logits).flatten().tolist(), abs=0.006)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["test", BLOG]) == 0 and "\x1b[38;5;" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(["test", BLOG]) == 0 and "\x1b" not in capsys.readouterr().out


def test_standard_input_streams_a_line_out_for_each_line_in(folder, trained):
    save("elman_min.pt", *trained)
    program = subprocess.Popen([sys.executable, elman_min.__file__, "test", "-"], stdin=-1, stdout=-1,
                               env={**os.environ, "PYTHONUNBUFFERED": ""})
    patience = threading.Timer(60, program.kill)                 # else an answer that never comes is waited for
    patience.start()
    for line, end in ((BLOG, "\n"), ("mum says hi £1", "\r\n"), ("", "\n")):   # each sent when the last was answered
        program.stdin.write((line + end).encode("utf-8-sig"))                  # a byte order mark belongs to no message
        program.stdin.flush()
        verdict, probability, message = program.stdout.readline().decode().rstrip("\n").split("\t")
        expected = predict(*trained, [line]).item()
        assert (verdict, message) == ("spam" if expected > THRESHOLD else "ham", line)
        assert float(probability) == pytest.approx(expected, abs=1e-4) and len(probability) == 6
    rest, _ = program.communicate("last, without its end \u00e9".encode("latin-1"))
    patience.cancel()
    assert rest.decode().endswith("\tlast, without its end \u00e9\n") and program.returncode == 0


@pytest.mark.parametrize("terminal", [True, False])
def test_a_long_epoch_shows_how_far_it_is_but_only_on_a_terminal(folder, capsys, monkeypatch, terminal):
    clock = itertools.count(0, 10)                                # each look at it finds ten seconds gone
    monkeypatch.setattr(elman_min.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert main(["train", "chat.csv", "--epochs", "2", "--batch-size", "80", "--device", "cpu"]) == 0
    shown = re.findall(r"epoch +(\d)/2  (\d+)%\r", capsys.readouterr().out)
    assert shown == sorted(shown, key=lambda pair: (pair[0], int(pair[1])))
    assert {epoch for epoch, _ in shown} == ({"1", "2"} if terminal else set())


@pytest.mark.parametrize("error", [RuntimeError("no memory\nand where"), MemoryError()])
def test_running_out_of_memory_is_one_line_too(capsys, monkeypatch, error):
    def run_train(args):
        raise error

    monkeypatch.setattr(elman_min, "run_train", run_train)
    assert main(["train", "--device", "cpu"]) == 2
    assert re.fullmatch(r"elman_min.py: (no memory|not enough memory)\n", capsys.readouterr().err)


@pytest.mark.parametrize("line, status", [("train chat.csv", 141), ("test Hello!", 141), ("test Hello! no.csv", 2)])
def test_where_the_reader_of_the_output_has_gone_it_stops_and_loses_nothing(folder, trained, line, status):
    save("elman_min.pt", *trained)
    before = Path("elman_min.pt").read_bytes()
    program = subprocess.Popen([sys.executable, elman_min.__file__, *line.split()], stdout=-1, stderr=-1,
                               env={**os.environ, "PYTHONUNBUFFERED": ""})
    program.stdout.close()
    assert program.stderr.read().count(b"\n") == (status == 2) and program.wait() == status
    assert Path("elman_min.pt").read_bytes() == before


def test_ctrl_c_keeps_what_has_been_learned_and_exits_130(folder, capsys, monkeypatch):
    epochs = []

    def interrupt(probability, target):
        epochs.append(1)
        if len(epochs) == 2:
            signal.raise_signal(signal.SIGINT)
        return evaluate(probability, target)

    monkeypatch.setattr(elman_min, "evaluate", interrupt)
    assert main(["train", "chat.csv"]) == 130
    assert "learned so far is in elman_min.pt" in capsys.readouterr().out
    model, vocabulary = load("elman_min.pt")
    assert len(epochs) == 2 and predict(model, vocabulary, [BLOG]).isfinite().all()


BAD = {  # what is wrong: (the file, or None, and the command line, and what the line on stderr must say)
    "missing file": (None, "train x.csv", "spam.csv.README"),
    "missing file to test": (None, "test x.csv --model MODEL", "x.csv"),
    "folder": (None, "train .", "irectory"),
    "empty": ("", "train x.csv", "empty"),
    "header alone": ("label,text\n", "train x.csv", "needs a column of ham and spam"),
    "one column": ("ham\nspam\n", "train x.csv", "1 columns"),
    "no labels": ("a,b\nc,d\n", "train x.csv", "needs a column of ham and spam"),
    "another label": ("label,text\nham,hello\nhm,there\n", "train x.csv", "row 3 is labelled 'hm'"),
    "one class": ("label,text\n" + "".join(f"ham,{i}\n" for i in range(40)), "train x.csv", "too few messages"),
    "too few": ("label,text\nham,hello\nspam,win\n", "train x.csv", "too few messages"),
    "no text": ("h\0a\0m\0,\0x\0", "train x.csv", "not text"),
    "unclosed quote": ('label,text\nham,"hello\nspam,win\n', "train x.csv", "EOF inside string"),
    "too many columns": ("label,text\nham,hello, you\n", "train x.csv", "line 2"),
    "negative epochs": (None, "train chat.csv --epochs -1", "epochs"),
    "no units": (None, "train chat.csv --hidden-size 0", "hidden"),
    "no batch": (None, "train chat.csv --batch-size 0", "batch"),
    "half an epoch": (None, "train chat.csv --epochs .5", "--epochs"),
    "no number": (None, "train chat.csv --learning-rate nan", "learning"),
    "a rate too high": (None, "train chat.csv --learning-rate 1e38", "learning rate"),
    "huge seed": (None, "train chat.csv --seed 99999999999999999999", "seed"),
    "unknown device": (None, "train chat.csv --device abacus", "--device"),
    "absent device": (None, "train chat.csv --device DEVICE", "no DEVICE device"),
    "no command": (None, "", "train|test"),
    "nothing to test": (None, "test", "TEXT"),
    "missing checkpoint": (None, "test hello", "train writes the checkpoint"),
    "a checkpoint of something else": (None, "test hello --model chat.csv", "chat.csv is no checkpoint"),
    "a folder to write to that does not exist": (None, "train chat.csv --model no/such/m.pt", "no/such/m.pt"),
    "a folder to write to and no file": (None, "train chat.csv --model no/", "no/"),
    "a file where a folder should be": (None, "train chat.csv --model chat.csv/m.pt", "no file in a folder"),
    "a name too long": (None, "train chat.csv --model " + 999 * "m", "too long"),
    "an unclosed quote before another": ('label,text\nham,"a\nspam,c\nham,"d"\nspam,e\nham,f\n', "train x.csv", "broken"),
    "a name of two lines": (None, ["train", "no\nsuch.csv"], "no such.csv does not exist"),
    "a checkpoint that is a folder": (None, "train chat.csv --model ..", "irectory"),
    "too many units": (None, "train chat.csv --hidden-size 99999999", "hidden"),
    "a file to write to that is something else": (None, "train chat.csv --model chat.csv", "chat.csv is no checkpoint"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_clear_line_and_status_2_and_nothing_is_lost(folder, trained, capsys, what):
    content, line, expected = BAD[what]
    save("MODEL", *trained)
    have = torch.accelerator.current_accelerator(check_available=True)
    absent = "mps" if have is None or have.type == "cuda" else "cuda"
    if content is not None:
        Path("x.csv").write_text(content)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert main(line if isinstance(line, list) else line.replace("DEVICE", absent).split()) == 2
    error = capsys.readouterr().err
    assert error.startswith("elman_min.py: ") and error.count("\n") == 1 and expected.replace("DEVICE", absent) in error
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("command", [["--help"], ["train", "--help"], ["test", "--help"]])
def test_help_names_every_option(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main(command)
    out = capsys.readouterr().out
    assert stop.value.code == 0
    assert all(option in out for option in {"train": ["--model", "--device", "--epochs", "--batch-size", "--hidden-size",
                                                      "--learning-rate", "--seed", "--balance", f"({elman_min.RECIPE['epochs']})"],
                                            "test": ["--model", "--device", "--all", "TEXT", "CSV"]}.get(command[0], ["train", "test"]))


def test_without_a_file_it_trains_on_the_toy_and_says_why(folder, capsys):
    assert main(["train", "--epochs", "1", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "Whoever counts words" in out and "made up: 2,000 rows" in out


# -------------------------------------------------------------------------------------- the README

README = Path(__file__).with_name("README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", re.findall(r"```python example\n(.*?)```", README, re.DOTALL))
def test_each_example_of_the_readme_runs_as_it_stands(code, tmp_path):
    assert code.count("\nassert ") == 1 and len(code.splitlines()) <= 15
    (tmp_path / "example.py").write_text(code, encoding="utf-8")
    runpy.run_path(str(tmp_path / "example.py"))


def test_what_the_readme_names_exists():
    assert len(re.findall("```python example", README)) == 3
    source, names = Path(elman_min.__file__).read_text(encoding="utf-8"), set(re.findall(r"`(test_\w+)`", README))
    lines = re.findall(r"^\| .* \| `(.*)` \|$", README.partition("| equation |")[2].partition("\n\n")[0], re.MULTILINE)
    assert len(lines) == 5 and all(line in source for line in lines)
    assert len(names) >= 10 and names <= set(globals())


# --------------------------------------------------------------------------------------- the paper


def xor_stream(n: int, seed: int) -> torch.Tensor:
    """(n, 1): bits in which every third is the XOR of the two before it, else drawn (Elman 1990, page 186)."""
    torch.manual_seed(seed)
    a, b = torch.randint(0, 2, (2, n // 3))
    return torch.stack([a, b, a ^ b], 1).flatten()[:, None].float()


def xor_errors() -> list[float]:
    """The root mean squared error of predicting each of 12 bits in a row, over a stream never seen in training."""
    stream = xor_stream(3000, 0).view(50, 60, 1)
    torch.manual_seed(0)
    model = ElmanRNN(1, 16)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(150):
        optimizer.zero_grad()
        logits, _ = model(stream[:, :-1])
        message_loss(logits[..., 0].reshape(-1, 1), stream[:, 1:, 0].flatten(), torch.ones(50 * 59)).backward()
        optimizer.step()
    fresh = xor_stream(12 * 250, 1)
    with torch.no_grad():
        logits, _ = model(torch.cat([torch.zeros(1, 1), fresh[:-1]])[None])                # (1, 3000, 1)
    return (torch.sigmoid(logits[0, :, 0]) - fresh[:, 0]).square().view(250, 12).mean(0).sqrt().tolist()


def test_elmans_sequential_xor_only_every_third_bit_can_be_foreseen():
    errors = xor_errors()
    assert len(errors) == 12 and max(errors[2::3]) < 0.1
    assert 0.45 < min(errors[0::3] + errors[1::3])                # always saying one half would give 0.5


# ----------------------------------------------------------------------------------- the benchmark


class Peer(nn.Module):
    """The same network from torch's ready-made layers, with the cell nn.RNN, nn.GRU or nn.LSTM."""

    def __init__(self, cell, input_size, hidden_size):
        super().__init__()
        self.embedding, self.output = nn.Embedding(input_size, hidden_size), nn.Linear(hidden_size, 1)
        self.cell = cell(hidden_size, hidden_size, batch_first=True)

    W_xh = property(lambda self: self.embedding.weight)

    def forward(self, x, lengths=None):
        x = self.embedding(x)
        if lengths is None:
            states, last = self.cell(x)
        else:
            packed, last = self.cell(nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
            states, _ = nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
        return self.output(states), last


def median_ratio(ours, peer, x, lengths=None, pairs=40) -> float:
    """Time of a forward and backward pass of ours against the peer's, in turn: the median of `pairs` ratios."""
    ratios = []
    for _ in range(pairs):
        start = time.perf_counter()
        ours(x)[0].sum().backward()
        between = time.perf_counter()
        peer(x, *() if lengths is None else (lengths,))[0].sum().backward()
        ratios.append((between - start) / (time.perf_counter() - between))
    return statistics.median(ratios)


def benchmark_speed() -> None:
    sizes = list(itertools.product((25, 120), (64, 128)))
    print("one batch forward and backward against nn.Embedding + nn.RNN + nn.Linear, whose time is 1, on one thread;")
    print("in brackets with lengths from 1 to all, where the peer has them packed")
    print(" " * 12 + "".join(f"{f'{T} words, {H} units':>22}" for T, H in sizes))
    for B in (32, 64):
        row = f"{B} messages"
        for T, H in sizes:
            ours, peer = ElmanRNN(3500, H), Peer(nn.RNN, 3500, H)
            x, lengths = torch.randint(0, 3500, (B, T)), torch.linspace(1, T, B).long()
            row += f"{median_ratio(ours, peer, x):>14.2f} ({median_ratio(ours, peer, x, lengths):.2f})"
        print(row)


def auc(probability: torch.Tensor, target: torch.Tensor) -> float:
    """The area under the ROC curve: how often a spam message has a higher probability than a ham message."""
    rank, spam = pd.Series(probability.tolist()).rank(), pd.Series(target.tolist()) == 1
    return (rank[spam].mean() - (spam.sum() + 1) / 2) / (~spam).sum()


def folds_of(frame: pd.DataFrame, seed: int, folds: int = 5):
    """(train, test) for each fold, with as much spam in each."""
    frame = frame.sample(frac=1, random_state=seed)
    fold = frame.groupby("target").cumcount() % folds
    return [(frame[fold != k], frame[fold == k]) for k in range(folds)]


def judged(learn: pd.DataFrame, test: pd.DataFrame, seed: int, hide: float = 0.3) -> tuple[dict[str, float], pd.DataFrame]:
    """The figures on `test` after training on `learn`, and the probability and truth of each message."""
    start = time.perf_counter()
    model, vocabulary = train(learn, seed=seed, hide=hide)
    seconds = time.perf_counter() - start
    p, target = predict(model, vocabulary, test["message"].tolist()), torch.tensor(test["target"].tolist())
    return {**evaluate(p, target), "AUC": auc(p, target), "s": seconds}, pd.DataFrame({"says": p, "is spam": target})


def classic(words, peer, learn: pd.DataFrame, test: pd.DataFrame) -> dict[str, float]:
    """The figures on `test` of a peer that counts words."""
    peer.fit(words.fit_transform(learn["message"]), learn["target"])
    called = peer.predict(words.transform(test["message"])).tolist()
    return evaluate(torch.tensor(called), torch.tensor(test["target"].tolist()))


def benchmark_accuracy(path: str) -> None:
    everything = read_messages(path)
    distinct = everything.drop_duplicates("message")
    cut = round(0.3 * len(everything))
    almeida = everything[:cut], everything[cut:]
    reliability, first_third = {}, {"ElmanRNN": [judged(*almeida, seed)[0] for seed in range(5)]}
    print(f"\n{len(distinct):,} distinct messages, 5 folds of as much spam each, spam above {THRESHOLD}, one thread")
    print("recipe              runs  F1     spread least    AUC    Matthews spread  seconds")
    for name, seeds, hide in (("ElmanRNN", range(4), 0.3), ("ElmanRNN, hide=0", range(2), 0.0),
                                ("nn.GRU", range(2), 0.3), ("nn.LSTM", range(2), 0.3)):
        with pytest.MonkeyPatch.context() as patch:
            if name.startswith("nn."):
                patch.setattr(elman_min, "ElmanRNN", functools.partial(Peer, getattr(nn, name[3:])))
            runs = [judged(learn, test, seed, hide) for seed in seeds for learn, test in folds_of(distinct, seed)]
        figures = pd.DataFrame([figures for figures, _ in runs])
        mean, spread = figures.mean(), figures.std()
        print(f"{name:<20}{len(runs):>3}  {mean['F1']:.4f} {spread['F1']:.4f} {figures['F1'].min():.4f}   {mean['AUC']:.4f}"
              f"   {mean['Matthews']:.4f} {spread['Matthews']:.4f}  {figures['s'].median():.1f}")
        answers = pd.concat([answers for _, answers in runs])
        tenths = answers.groupby((answers["says"] * 10).astype(int).clip(upper=9))
        reliability[name] = pd.concat([tenths.size().rename("messages").map(str),
                                       tenths.mean().map("{:.3f}".format)], axis=1).T
    if importlib.util.find_spec("sklearn"):  # classic peers, for those who have it
        text, bayes, svm = (importlib.import_module(f"sklearn.{name}") for name in
                            ("feature_extraction.text", "naive_bayes", "svm"))
        for name, words, peer in (
                ("words, naive Bayes", text.CountVectorizer(), bayes.MultinomialNB()),
                ("bigrams, linear SVM", text.TfidfVectorizer(
                    tokenizer=tokenize, token_pattern=None, ngram_range=(1, 2), sublinear_tf=True), svm.LinearSVC())):
            figures = pd.DataFrame([classic(words, peer, *parts) for seed in range(4) for parts in folds_of(distinct, seed)])
            mean, spread = figures.mean(), figures.std()
            print(f"{name:<20}{len(figures):>3}  {mean['F1']:.4f} {spread['F1']:.4f} {figures['F1'].min():.4f}   -     "
                  f"   {mean['Matthews']:.4f} {spread['Matthews']:.4f}")
            first_third[name] = [classic(words, peer, *almeida)]
    print("\nreliability: messages by tenth of the probability, what it says in the mean, and what share is spam")
    for name in ("ElmanRNN, hide=0", "ElmanRNN"):
        print(name + reliability[name].to_string(header=False).replace("messages", "\nmessages"))
    print("\nfirst 30 % to train, the rest to test, repeats left in (Almeida et al. 2011, Table 7)")
    print("recipe              runs  accuracy  Matthews  ham blocked")
    for name, rows in first_third.items():
        mean = pd.DataFrame(rows).mean()
        print(f"{name:<20}{len(rows):>3}   {mean['accuracy']:.4f}    {mean['Matthews']:.4f}    {mean['ham blocked']:.4f}")
    model, vocabulary = train(distinct, epochs=1)
    start = time.perf_counter()
    predict(model, vocabulary, everything["message"].tolist())
    print(f"judging {len(everything):,} messages: {time.perf_counter() - start:.2f} s")


def benchmark_scale(path: str) -> None:
    """Each line in a process of its own, for its peak memory; copies of a message differ in a last word."""
    print("\nscale: messages a second (median epoch) and peak memory of the process; on Linux", flush=True)
    for copies, rows, long in ((1, 5000, 0), (8, 41000, 0), (8, 41000, 50000)):
        subprocess.run([sys.executable, "-c", f"""if True:
            import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
            import pandas, pathlib, re, statistics, time, torch, elman_min
            torch.set_num_threads(1)
            base = elman_min.read_messages({path!r}).drop_duplicates("message")
            frame = pandas.concat([base.assign(message=base["message"] + f" {{chr(97 + i)}}") for i in range({copies})])
            frame = frame[:{rows}].reset_index(drop=True)
            if {long}:
                frame.loc[0, "message"] = "word " * {long}
            ends = []
            elman_min.train(frame, epochs=1 + 123000 // {rows},
                            report=lambda m, v, done, loss: done % 1 or ends.append(time.perf_counter()))
            speed = len(frame) / statistics.median(b - a for a, b in zip(ends, ends[1:]))
            # not getrusage: what it calls the peak may be that of the process which started this one
            peak = int(re.search(r"VmHWM:\\s*(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]) / 1024
            print(f"{{len(frame):>8,}} messages{', one of them of 50,000 words' if long else ''}: "
                  f"{{speed:,.0f}} a second, {{peak:,.0f}} MiB")"""], check=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("Elman's Figure 3: error of predicting the next bit; every third is the XOR of the two before")
    errors = xor_errors()
    for tenths in range(5, -1, -1):
        print(f"  .{tenths}  " + "   ".join("*" if round(10 * error) == tenths else " " for error in errors))
    print("  bit  " + "  ".join(f"{place:<2}" for place in range(1, 13)))
    benchmark_speed()
    for file in sys.argv[1:]:
        benchmark_accuracy(file)
        benchmark_scale(file)
