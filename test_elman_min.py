# SPDX-License-Identifier: MIT
"""What elman_min.py promises, checked on generated inputs and on examples.

The name or the docstring of a test says what it promises. A test with @given runs on
25 inputs that hypothesis draws. `python -m pytest -s -k simulation` prints the figures
of Elman's experiments. Shapes are named as in elman_min.py.
"""
import contextlib
import inspect
import io
import itertools
import random
import re
import runpy
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import elman_min
from elman_min import (
    ElmanRNN,
    Vocabulary,
    build_vocabulary,
    evaluate,
    load,
    padded_batches,
    predict,
    read_messages,
    save,
    sequence_loss,
    split,
    token_probabilities,
    tokenize,
    toy_messages,
    train,
)

torch.set_num_threads(1)  # more threads are slower on matrices this small
settings.register_profile("elman", deadline=None, max_examples=25)
settings.load_profile("elman")
sizes = st.integers(1, 5)
seeds = st.integers(0, 2**32 - 1)


# ---- Network ----
@st.composite
def networks(draw):
    """Draw a network and inputs x (B, T, I), in float64. Seed torch for what is drawn later."""
    torch.manual_seed(draw(seeds))
    input_size = draw(sizes)
    model = ElmanRNN(input_size, draw(sizes)).double()
    x = torch.randn(draw(sizes), draw(sizes), input_size, dtype=torch.double)
    return model, x


def random_labels(x):
    """Return random targets (uint8, as any number type will do) and lengths, both (B,)."""
    B, T, _ = x.shape
    targets = torch.randint(2, (B,), dtype=torch.uint8)
    lengths = torch.randint(1, T + 1, (B,))
    return targets, lengths


@given(sizes, sizes, sizes, sizes, sizes)
def test_shapes(B, T, I, H, O):
    """Parameters and results have the documented shapes, for vectors and for ids."""
    model = ElmanRNN(I, H, O)
    assert model.W_xh.shape == (I, H)
    assert model.W_hh.shape == (H, H)
    assert model.b_h.shape == (H,)
    assert model.W_hy.shape == (H, O)
    assert model.b_y.shape == (O,)
    for x in (torch.zeros(B, T, I), torch.zeros(B, T, dtype=torch.long)):
        logits, states = model(x)
        assert logits.shape == (B, T, O)
        assert states.shape == (B, T, H)


@given(networks())
def test_gradient_reaches_every_parameter(case):
    """Every parameter gets a finite gradient, and in W_xh only the rows of the ids used."""
    model, x = case
    assume(x.shape[1] > 1)  # W_hh is used from the second step on
    ids = torch.randint(len(model.W_xh), x.shape[:2])
    logits, _ = model(ids)
    logits.square().sum().backward()
    for weight in model.parameters():
        assert weight.grad.isfinite().all()
        assert weight.grad.any()
    rows = model.W_xh.grad.any(dim=1).nonzero().flatten()
    assert torch.equal(rows, ids.unique())


@given(networks())
def test_matches_nn_rnn(case):
    """With the same parameters and h_0, the results are those of nn.RNN and nn.Linear."""
    model, x = case
    rnn = nn.RNN(*model.W_xh.shape, batch_first=True).double()
    rnn.load_state_dict({
        "weight_ih_l0": model.W_xh.T,
        "weight_hh_l0": model.W_hh.T,
        "bias_ih_l0": model.b_h,
        "bias_hh_l0": torch.zeros_like(model.b_h),  # nn.RNN has a second, redundant bias
    })
    linear = nn.Linear(*model.W_hy.shape).double()
    linear.load_state_dict({"weight": model.W_hy.T, "bias": model.b_y})
    h_0 = torch.rand(len(model.b_h), dtype=torch.double)         # the same for all sequences
    expected, _ = rnn(x, h_0.repeat(1, len(x), 1))
    logits, states = model(x, hidden=h_0)
    torch.testing.assert_close(states, expected)
    torch.testing.assert_close(logits, linear(expected))


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
    So dL/da_t needs dL/da_{t+1}: the loop runs from the last step back to the first. All
    steps and messages share the weights, whose gradients are sums over both:
        dL/dW_xh = sum x_t^T dL/da_t          dL/dW_hy = sum h_t^T dL/dz_t
        dL/dW_hh = sum h_{t-1}^T dL/da_t      dL/db_y  = sum dL/dz_t
        dL/db_h  = sum dL/da_t
    """
    W_xh, W_hh, b_h, W_hy, b_y = [weight.detach() for weight in model.parameters()]
    B, T, _ = x.shape
    h = [x.new_zeros(B, len(W_hh))]                     # h[t] is h_t, x[:, t - 1] is x_t
    for t in range(1, T + 1):
        a = x[:, t - 1] @ W_xh + h[t - 1] @ W_hh + b_h                  # (B, H)
        h.append(torch.tanh(a))
    gradient = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    da = torch.zeros_like(h[0])                                         # dL/da_{T+1} = 0
    for t in range(T, 0, -1):
        w = (t <= lengths) / (B * lengths.double())                     # (B,)
        z = h[t] @ W_hy + b_y                                           # (B, 1)
        dz = (torch.sigmoid(z) - targets[:, None]) * w[:, None]         # (B, 1)
        dh = dz @ W_hy.T + da @ W_hh.T                                  # da of step t + 1
        da = dh * (1 - h[t] ** 2)                                       # (B, H)
        gradient["W_xh"] += x[:, t - 1].T @ da
        gradient["W_hh"] += h[t - 1].T @ da
        gradient["b_h"] += da.sum(0)
        gradient["W_hy"] += h[t].T @ dz
        gradient["b_y"] += dz.sum(0)
    return gradient


@given(networks())
def test_bptt_by_hand_matches_autograd(case):
    """Backpropagation through time by hand gives autograd's gradient of every parameter."""
    model, x = case
    targets, lengths = random_labels(x)
    logits, _ = model(x)
    sequence_loss(logits, targets, lengths).backward()
    autograd = {name: weight.grad for name, weight in model.named_parameters()}
    torch.testing.assert_close(bptt(model, x, targets, lengths), autograd)


@given(networks())
def test_ids_match_one_hot_vectors(case):
    """Token ids give the same logits as one-hot vectors."""
    model, x = case
    I = len(model.W_xh)
    ids = torch.randint(I, x.shape[:2])
    logits, _ = model(ids)
    expected, _ = model(nn.functional.one_hot(ids, I).double())
    torch.testing.assert_close(logits, expected)


@given(networks())
def test_hidden_state_carries_over(case):
    """A sequence in two pieces, the last state passed on, gives the states of the whole."""
    model, x = case
    _, first = model(x)
    _, second = model(x + 1, first[:, -1])
    _, whole = model(torch.cat([x, x + 1], dim=1))
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    with pytest.raises(RuntimeError, match="expand"):  # (1, B, H), as nn.RNN takes it
        model(x, first[None, :, -1])


@given(networks())
def test_is_causal(case):
    """An input changes the logits of its own step, never those of earlier steps."""
    model, x = case
    k = x.shape[1] // 2
    changed = x.clone()
    changed[:, k] += 1
    before, _ = model(x)
    after, _ = model(changed)
    assert torch.equal(before[:, :k], after[:, :k])
    assert not torch.equal(before[:, k], after[:, k])


@given(seeds, st.floats(0.3, 0.95))
def test_gradient_vanishes_geometrically(seed, r):
    """If W_hh scales every length by r < 1, each step back scales the gradient by r or less."""
    torch.manual_seed(seed)
    model = ElmanRNN(4, 4).double()
    orthogonal, _ = torch.linalg.qr(torch.randn(4, 4, dtype=torch.double))
    with torch.no_grad():
        model.W_hh.copy_(r * orthogonal)     # an orthogonal matrix keeps lengths
        model.W_xh.copy_(torch.eye(4))       # so that the gradient at x_t is dL/da_t
    x = torch.randn(1, 30, 4, dtype=torch.double, requires_grad=True)
    logits, _ = model(x)
    logits[0, -1, 0].backward()
    norms = x.grad[0].norm(dim=1)                                       # (T,)
    limits = r * norms[1:] * (1 + 1e-9)                                 # 1e-9 for rounding
    assert (norms[:-1] <= limits).all()
    assert norms[0] > 0                                                 # it reaches step 1


def test_initial_weights_fill_their_range():
    """They are between -1 / sqrt(H) and 1 / sqrt(H), as those of nn.RNN."""
    weights = nn.utils.parameters_to_vector(ElmanRNN(50, 25).parameters())
    assert weights.min().item() == pytest.approx(-0.2, abs=0.01)
    assert weights.max().item() == pytest.approx(0.2, abs=0.01)


@given(networks())
def test_loss_is_the_mean_of_minus_log_probability(case):
    """It is averaged over steps, then messages. Other shapes are refused, not broadcast."""
    model, x = case
    targets, lengths = random_labels(x)
    logits, _ = model(x)
    losses = []
    for z, target, length in zip(logits, targets, lengths):
        spam = torch.sigmoid(z[:length])
        true_class = spam if target == 1 else 1 - spam
        losses.append(-torch.log(true_class).mean())
    expected = torch.stack(losses).mean()
    result = sequence_loss(logits, targets, lengths)
    torch.testing.assert_close(result, expected)
    B, T, _ = logits.shape
    for other in [
        (logits.expand(B, T, 3), targets, lengths),
        (logits, targets[:, None], lengths),
        (logits, targets, lengths[:, None]),
    ]:
        with pytest.raises((ValueError, RuntimeError, IndexError)):
            sequence_loss(*other)


def test_loss_stays_finite_where_sigmoid_saturates():
    """For a very wrong logit the loss is |logit|, and its gradient is still -1 for spam."""
    logit = torch.tensor([[[-1e30]]], requires_grad=True)
    loss = sequence_loss(logit, torch.tensor([1]), torch.tensor([1]))
    loss.backward()
    assert loss == 1e30
    assert logit.grad == -1

# ---- Elman's experiments ----
# The four simulations of the paper. Each network reads a stream and predicts what comes next.
# What differs from the paper, whose learning rates are not printed:
#                       Elman                          here
# hidden units          sigmoid, starting at .5        tanh, starting at 0
# loss                  squared error                  binary cross-entropy of each output
# updates               gradient descent               Adam, with a rate that falls to 0
# gradient goes back    1 step                         3 (XOR), 10, 5 and 3 steps
# hidden units in XOR   2                              3 (with 2, three of twelve seeds failed)
# passes                600, 200, 10 and 6             60, 20, 20 and 6
# error                 "sum squared" in the text,     root mean square over steps and bits,
#                       "RMS" under the figures        in the fourth sum of squares over bits
# In the tables "figure only" means that the paper draws the number but does not print it.


def learn(model, stream, pieces, steps, passes, learning_rate=0.01):
    """Train `model` to predict each vector of `stream` (N, I) from the vectors before it.

    The stream is cut into equal `pieces` that are read in parallel. After every `steps`
    vectors the weights are updated; the state is carried on, but the gradient stops.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=passes)
    updates = (len(stream) - 1) // (pieces * steps)                  # in each pass
    used = updates * pieces * steps
    inputs = stream[:used].view(pieces, updates * steps, -1)         # (pieces, length, I)
    targets = stream[1:used + 1].view(pieces, updates * steps, -1)   # (pieces, length, I)
    for _ in range(passes):
        hidden = None
        chunks = zip(inputs.split(steps, dim=1), targets.split(steps, dim=1))
        for x, target in chunks:
            logits, states = model(x, hidden)
            loss = nn.functional.binary_cross_entropy_with_logits(logits, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            hidden = states[:, -1].detach()
        schedule.step()


@torch.no_grad()
def predict_next(model, stream):
    """Return the predictions of stream[1:], (N - 1, I), and the states, (N - 1, H)."""
    logits, states = model(stream[None, :-1])
    return logits[0].sigmoid(), states[0]


def encode(text, codes):
    """Return the bits of the letters of `text`, (N, I), in floating point."""
    bits = [[float(bit) for bit in codes[letter]] for letter in text]
    return torch.tensor(bits)


def predict_text(seed, units, count, codes, hidden_size, **training):
    """Train a network on `count` random units, such as words, and test it on new ones.

    `codes` maps letters to bits; `training` is passed to `learn`. Return for each new
    letter but the first its place in its unit (N,), and its predicted and actual bits.
    """
    torch.manual_seed(seed)
    generator = random.Random(seed)
    text = "".join(generator.choices(units, k=count))
    stream = encode(text, codes)
    model = ElmanRNN(stream.shape[1], hidden_size, stream.shape[1])
    learn(model, stream, **training)
    new_units = generator.choices(units, k=count)
    new_stream = encode("".join(new_units), codes)
    predicted, _ = predict_next(model, new_stream)
    places = torch.cat([torch.arange(len(unit)) for unit in new_units])
    return places[1:], predicted, new_stream[1:]


def rms(errors):
    return errors.square().mean().sqrt()


def simulate_xor(seed):
    """Predict the next bit (section "Exclusive-Or", Figure 3).

    Only every third bit follows the rule, the XOR of the two before it. At the others, it
    is right by chance half the time: two times in three in all. A network that always uses
    it does best to predict its bit with 2/3: the error is 0.33 at every third bit, 0.53 elsewhere.
    """
    triples = ["000", "011", "101", "110"]             # two bits and their XOR
    places, predicted, bits = predict_text(seed, triples, 1000, {"0": "0", "1": "1"}, 3,
                                           pieces=30, steps=3, passes=60, learning_rate=0.03)
    errors = predicted - bits                          # (2999, 1), also for the picture
    xor = bits[:-2] != bits[1:-1]                      # of the two before bits[2:]
    predicts_xor = (predicted[2:] > 0.5) == xor
    elsewhere = predicts_xor[places[2:] < 2]
    third, others = rms(errors[places == 2]), rms(errors[places < 2])
    return errors, third, others, elsewhere.float().mean()


def test_simulation_xor():
    """The error falls at every third bit; elsewhere the network predicts the XOR, too."""
    _, third, others, agreement = simulate_xor(seed=0)
    print("\nExclusive-Or, Figure 3                        Elman        here")
    print(f"error at every third bit                      figure only  {third:.2f}")
    print(f"  at the other bits                           figure only  {others:.2f}")
    assert third < 0.4
    assert others > 0.45
    assert agreement > 0.85


# Table 1: Consonant, Vowel, Interrupted, High, Back, Voiced.
FEATURES = {"b": "101001", "d": "101101", "g": "101011",
            "a": "010011", "i": "010101", "u": "010111"}


def simulate_letters(seed):
    """Predict the next letter (section "Structure in Letter Sequences", Figures 4 and 5)."""
    places, predicted, bits = predict_text(seed, ["ba", "dii", "guuu"], 1000, FEATURES, 20,
                                           pieces=20, steps=10, passes=20)
    errors = predicted - bits                          # (N, 6)
    vowels, consonants = errors[places > 0], errors[places == 0]
    return rms(vowels), rms(consonants), rms(consonants[:, 0]), rms(consonants[:, 3])


def test_simulation_letters():
    """Vowels are predicted, and that a consonant comes (bit Consonant), not which (bit High)."""
    vowels, consonants, bit_consonant, bit_high = simulate_letters(seed=0)
    print("\nLetters, Figures 4 and 5                      Elman        here")
    print(f"error at vowels                               figure only  {vowels:.2f}")
    print(f"  at consonants                               figure only  {consonants:.2f}")
    assert vowels < 0.1
    assert consonants > 0.2
    assert bit_consonant < 0.15
    assert bit_high > 0.35


def simulate_words(seed):
    """Predict the next letter, without spaces (section "Discovering the Notion 'Word'").

    Figure 6 shows fourteen of the paper's 15 words; "together" is made up. Its 200
    sentences are not printed: here as many words, 1,270, are drawn at random. It calls
    the codes of the letters random, but in Table 2, as here, they number the alphabet.
    """
    words = "many years ago a boy and girl lived by the sea they played happily together".split()
    codes = {letter: f"{ord(letter) - 96:05b}" for letter in "".join(words)}   # a is 00001
    places, predicted, bits = predict_text(seed, words, 1270, codes, 20,
                                           pieces=10, steps=5, passes=20)
    errors = predicted - bits                          # (N, 5)
    error = errors.square().mean(dim=1)                # (N,)
    # The AUC is how often the error at the first letter of a word is higher than at another.
    higher = error[places == 0][:, None] > error[places > 0]
    return rms(errors[places == 0]), rms(errors[places == 1]), higher.float().mean()


def test_simulation_words():
    """The error is higher at the first letter of a word than at later ones."""
    first, second, auc = simulate_words(seed=0)
    print("\nWords, Figure 6                               Elman        here")
    print(f"error at the first letter of a word           figure only  {first:.2f}")
    print(f"  at the second letter                        figure only  {second:.2f}")
    assert first > second
    assert auc > 0.9


ANIMATE = "man woman boy girl cat mouse dog dragon monster lion".split()
INANIMATE = "book rock car glass plate cookie bread sandwich".split()
VERBS = "think sleep exist see chase like move break smell smash eat".split()
WORDS = ANIMATE + INANIMATE + VERBS                   # 29; bits 29 (later zog) and 30 are spare
KINDS = torch.tensor([0] * 10 + [1] * 8 + [2] * 11)   # (29,)
CLASSES = {
    "HUM": "man woman boy girl", "ANIM": "cat mouse dog", "AGRESS": "dragon monster lion",
    "INANIM": "book rock car", "FRAG": "glass plate", "FOOD": "cookie bread sandwich",
    "INTRAN": "think sleep exist", "TRAN": "see chase like", "AGPAT": "move break",
    "PERCEPT": "smell see", "DESTROY": "break smash", "EAT": "eat",
}
TEMPLATES = """HUM EAT FOOD, HUM PERCEPT INANIM, HUM DESTROY FRAG, HUM INTRAN, HUM TRAN HUM,
    HUM AGPAT INANIM, HUM AGPAT, ANIM EAT FOOD, ANIM TRAN ANIM, ANIM AGPAT INANIM, ANIM AGPAT,
    INANIM AGPAT, AGRESS DESTROY FRAG, AGRESS EAT HUM, AGRESS EAT ANIM, AGRESS EAT FOOD"""


def sentence_stream(seed):
    """Return the words of 10,000 sentences as ids (N,), and the sentence so far at each."""
    generator = random.Random(seed)
    ids = []
    beginnings = []
    for template in generator.choices(TEMPLATES.split(","), k=10_000):
        words = [generator.choice(CLASSES[name].split()) for name in template.split()]
        for place, word in enumerate(words, start=1):
            ids.append(WORDS.index(word))
            beginnings.append(tuple(words[:place]))
    return torch.tensor(ids), beginnings


def likelihoods(keys, following):
    """Return for each of N keys the relative frequency of each word after it, (N, 31)."""
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    rows = torch.tensor([numbers[key] for key in keys])
    counts = torch.zeros(len(numbers), 31).index_add(0, rows, following)
    shares = counts / counts.sum(dim=1, keepdim=True)
    return shares[rows]


def compare(predicted, expected):
    """Return the mean sum of squared errors and the mean cosine over all steps."""
    error = (predicted - expected).square().sum(dim=1)
    cosine = torch.cosine_similarity(predicted, expected)
    return error.mean(), cosine.mean()


def mean_states(states, ids):
    return torch.stack([states[ids == word].mean(dim=0) for word in range(29)])


def alike(means):
    """Return how many of the 29 words have a nearest word of their own kind."""
    distances = torch.cdist(means, means).fill_diagonal_(torch.inf)
    nearest = distances.argmin(dim=1)
    return (KINDS[nearest] == KINDS).sum()


def simulate_lexical_classes(seed):
    """Predict the next word (section "Discovering Lexical Classes from Word Order").

    As in the paper, there are 10,000 sentences, and the likelihoods are counted over the
    training sentences with the same beginning. Table 3 prints at most two words of each
    class; the others are from Figure 7, and their classes are our reading, a narrow one:
    monsters are not in ANIM, food and glass are not in INANIM. We take its errors as
    sums of squares. Its .88 may be a root: the likelihoods themselves have .789, and .888
    as a root. Mean states can be alike without learning (footnote 6), so we compare them
    before training, too. At last, the new word zog replaces man.
    """
    ids, beginnings = sentence_stream(seed)
    stream = torch.eye(31)[ids]                        # (N, 31), one-hot
    words, following = ids[:-1], stream[1:]
    torch.manual_seed(seed)
    model = ElmanRNN(31, 150, 31)
    _, untrained = predict_next(model, stream)
    learn(model, stream, pieces=10, steps=3, passes=6, learning_rate=0.001)
    predicted, states = predict_next(model, stream)
    means = mean_states(states, words)
    likelihood = likelihoods(beginnings[:-1], following)
    bigrams = likelihoods(words.tolist(), following)
    new_ids, _ = sentence_stream(seed + 1000)
    new_ids[new_ids == WORDS.index("man")] = 29
    _, new_states = predict_next(model, torch.eye(31)[new_ids])
    zog = new_states[new_ids[:-1] == 29].mean(dim=0)   # (150,)
    nearest = (means - zog).norm(dim=1).argsort()
    return {
        "model": model,
        "means": means,                                # (29, 150)
        "zog": zog,
        "near zog": [WORDS[i] for i in nearest[:3]],
        "network": compare(predicted, likelihood),
        "bigrams": compare(bigrams, likelihood),
        "actual": compare(predicted, following),
        "untrained": alike(mean_states(untrained, words)),
        "alike": alike(means),
    }


def test_simulation_lexical_classes():
    """It predicts better than word pairs can; words used alike, and zog, have similar states."""
    figures = simulate_lexical_classes(seed=0)
    error, cosine = figures["network"]
    bigram_error, bigram_cosine = figures["bigrams"]
    actual_error, _ = figures["actual"]
    before = figures["untrained"]
    print("\nLexical classes, Figures 7 and 8              Elman        here")
    print(f"error to the likelihoods (word pairs {bigram_error:.3f})   .053         {error:.3f}")
    print(f"cosine to the likelihoods (word pairs {bigram_cosine:.3f})  .916         {cosine:.3f}")
    print(f"error to the actual next words                .88          {actual_error:.2f}")
    print(f"words nearest to their kind (untrained {before:2})    figure only  "
          f"{figures['alike']} of 29")
    assert error <= 0.053
    assert error < bigram_error
    assert cosine >= 0.916
    assert cosine > bigram_cosine
    assert figures["alike"] == 29
    assert before < 29
    assert set(figures["near zog"]) <= set(ANIMATE)


# ---- Inside the network ----
# What the network has learned of the toy. `python -m pytest -s -q -k inside` prints the figures.
THINGS = "soap cake book lamp coat desk sofa bike boat farm".split()  # in order of value
FIRST, MY = 6, -4  # the steps of the first thing and of "my", before the second thing


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Train on the toy by the command line. Return the rows it prints and its checkpoint."""
    path = str(tmp_path_factory.mktemp("toy") / "toy.pt")
    with contextlib.redirect_stdout(io.StringIO()) as stdout:
        elman_min.main(["train", "--model", path])
    rows = [" ".join(row.split()) for row in stdout.getvalue().splitlines()]
    return rows, path


def encode_swaps(vocabulary, pairs, words=""):
    """Return the ids of a message for each pair (first thing, second thing), (N, T)."""
    messages = [f"hey swap your {first} {words} for my {second} bye" for first, second in pairs]
    return torch.stack([vocabulary.encode(message) for message in messages])


@torch.no_grad()
def inside_probability(model, vocabulary):
    """Return P(spam) after each of the ten things, and the best possible one, (10,).

    After the first thing, nobody can know whether the second will be worth less. The best
    possible probability is the share of the nine other things that are worth less.
    """
    logits, _ = model(encode_swaps(vocabulary, [(thing, "lamp") for thing in THINGS]))
    return logits[:, FIRST, 0].sigmoid(), torch.arange(10) / 9


@torch.no_grad()
def inside_states(model, vocabulary, words, step):
    """Return the states at `step` for the ten things, projected onto a line, (10,).

    The line is their first principal component: the direction in which they vary most.
    Return its share of the variance, too.
    """
    _, states = model(encode_swaps(vocabulary, [(thing, "lamp") for thing in THINGS], words))
    centered = states[:, step] - states[:, step].mean(dim=0)           # (10, H)
    _, scales, directions = torch.linalg.svd(centered, full_matrices=False)
    places = centered @ directions[0]                                  # (10,)
    share = scales[0] ** 2 / scales.square().sum()
    return places * places[-1].sign(), share       # its sign is arbitrary: the farm gets +


@torch.no_grad()
def inside_memory(model, vocabulary, count):
    """Return the accuracy with `count` words between the things, none of them in training."""
    pairs = list(itertools.permutations(THINGS, 2))
    is_spam = [THINGS.index(first) > THINGS.index(second) for first, second in pairs]
    logits, _ = model(encode_swaps(vocabulary, pairs, "very " * count))
    says_spam = logits[:, -1, 0] > 0                                   # (90,)
    return (says_spam == torch.tensor(is_spam)).float().mean()


def inside_gradient(model, vocabulary):
    """Return how strongly the last logit depends on the token at each step, (16,).

    The norm of the gradient with respect to the one-hot vector, divided by that of the last
    step; geometric mean over the held-out messages with four words between the things.
    """
    _, held_out = split(toy_messages())
    messages = [message for message in held_out["message"] if "as soon as possible" in message]
    ids = torch.stack([vocabulary.encode(message) for message in messages])
    x = nn.functional.one_hot(ids, len(vocabulary)).float().requires_grad_()
    logits, _ = model(x)
    logits[:, -1].sum().backward()
    norms = x.grad.norm(dim=2)                                         # (N, 16)
    return (norms / norms[:, -1:]).log().mean(dim=0).exp()


def print_figures(name, values, form):
    print(f"{name:27}", *[f"{value:{form}}" for value in values])


def test_inside_probability(toy):
    """After the first thing, P(spam) is close to the best possible one."""
    probability, best = inside_probability(*load(toy[1]))
    print()
    print_figures("first thing", THINGS, "")
    print_figures("P(spam) after it", probability, ".2f")
    print_figures("  the best possible", best, ".2f")
    assert (probability - best).abs().max() < 0.15


def test_inside_states(toy):
    """States are in the order of value, which no token tells, and stay so for six words."""
    places, share = inside_states(*load(toy[1]), "", FIRST)
    later, _ = inside_states(*load(toy[1]), "as soon as possible", MY)
    print_figures(f"state ({share:.0%} of variance)", places, "4.1f")
    print_figures("  six words later", later, "4.1f")
    assert (places.diff() > 0).all()
    assert (later.diff() > 0).all()
    assert share > 0.6


def test_inside_memory(toy):
    """The first thing is held over as many words as in training, even if these are new."""
    counts = [0, 1, 2, 3, 4, 6, 8, 10, 20, 30]
    accuracy = [inside_memory(*load(toy[1]), count) for count in counts]
    print_figures("new words between", counts, "4")
    print_figures("accuracy", accuracy, ".2f")
    assert min(accuracy[:5]) > 0.97


def test_inside_gradient(toy):
    """Training makes the last logit depend on early tokens, too."""
    model, vocabulary = load(toy[1])
    torch.manual_seed(0)
    new = ElmanRNN(len(vocabulary), 32)
    before, after = inside_gradient(new, vocabulary), inside_gradient(model, vocabulary)
    print_figures("gradient at token", range(1, 17, 3), "6")
    print_figures("  before training", before[::3], ".4f")
    print_figures("  after training", after[::3], ".4f")
    assert 1e-6 < before[0] < 0.01
    assert after.min() > 0.01


# ---- Text ----
@given(st.text(max_size=60))
def test_tokenize_takes_any_text(message):
    """Any text gives words without white space, between facts and all facts in one token."""
    first, second, third, *words, last = tokenize(message)
    assert re.fullmatch(r"<length \d+><capitals \d+><digits \d>", last)
    assert first + second + third == last
    assert not re.search(r"\s", "".join(words))


@pytest.mark.parametrize("message, words", [
    ("WON £1,000!!!", "won £ 0 , 000 !!!"),
    ("Winners winner -----------", "winner winner ------"),
    ("call09061701461 ٣", "call 00000000000 0"),
    ("“Don’t…”", "“ don ’ t …”"),
    ("Привет, cafe\u0301 นี้", "привет , café นี้"),
    ("win大奖！now 人々のカーブ。9", "win 大 奖 ！ now 人 々 の カ ー ブ 。 0"),
])
def test_words_and_symbols(message, words):
    """Words are cut after six characters, Chinese and Japanese text after each."""
    assert tokenize(message)[3:-1] == words.split()


@pytest.mark.parametrize("message, about", [
    ("x" * 24, "<length 0> <capitals 0> <digits 0>"),
    ("x" * 25, "<length 1> <capitals 0> <digits 0>"),
    ("CALL me", "<length 0> <capitals 6> <digits 0>"),
    ("A 1", "<length 0> <capitals 10> <digits 1>"),
    ("1234", "<length 0> <capitals 0> <digits 3>"),
])
def test_tokens_about_the_message(message, about):
    """Length in steps of 25, capitals in tenths of the letters, digits in powers of two."""
    assert " ".join(tokenize(message)[:3]) == about


def test_vocabulary():
    """Tokens that occur twice or more have one id of their own, all others have id 0."""
    assert Vocabulary(["one", "<UNK>", "two", "one"]).idx_to_token == ["<UNK>", "one", "two"]
    vocabulary = build_vocabulary(pd.DataFrame({"message": ["win it", "WIN now", "now i win"]}))
    facts = ["<length 0>", "<capitals 0>", "<digits 0>"]
    assert vocabulary.idx_to_token == ["<UNK>", *facts, "win", "".join(facts), "now"]
    assert vocabulary.encode("now win it").tolist() == [1, 2, 3, 6, 4, 0, 5]


# ---- Training and prediction ----
HAM = "i will be at home, see you tonight"


def table(targets, messages):
    return pd.DataFrame({"target": targets, "message": messages})


CHAT = table([1, 0, 0] * 10, [f"call me at {i}" for i in range(30)])


def test_padded_batches():
    """Messages are sorted by length; a batch is padded with 0 to its longest one."""
    frame = table([0, 1, 1], ["a b", "a", "a b b"])
    batches = padded_batches(frame, Vocabulary(tokenize("a b")), batch_size=2)
    x, targets, lengths = batches[0]
    assert x.tolist() == [[1, 2, 3, 4, 6, 0], [1, 2, 3, 4, 5, 6]]
    assert targets.tolist() == [1, 0]
    assert lengths.tolist() == [5, 6]


def test_mean_losses_are_reported():
    """After each epoch, `report` gets its number and the mean loss of its batches."""
    reports = []
    model, vocabulary = ElmanRNN(1, 1), Vocabulary()
    train(model, vocabulary, CHAT, epochs=2, batch_size=5, learning_rate=0.0,
          report=lambda *values: reports.append(values))
    [(x, targets, lengths)] = padded_batches(CHAT, vocabulary, len(CHAT))
    logits, _ = model(x)
    loss = pytest.approx(sequence_loss(logits, targets, lengths).item())
    assert reports == [(1, loss), (2, loss)]


class Spy(ElmanRNN):
    """A network that records its inputs and whether it is in training mode."""

    def __init__(self, input_size):
        super().__init__(input_size, 1)
        self.seen = []
        self.modes = []

    def forward(self, x):
        self.seen.append(x)
        self.modes.append(self.training)
        return super().forward(x)


def test_batches_come_in_another_order_in_each_epoch():
    frame = table([0, 1] * 5, ["a " * i for i in range(10)])
    model = Spy(1)
    train(model, Vocabulary(), frame, epochs=2, batch_size=1)
    lengths = [x.shape[1] for x in model.seen]
    assert lengths[:10] != lengths[10:]


def test_word_dropout_drops_single_tokens():
    """In training, each token becomes <UNK> with the given probability."""
    vocabulary = build_vocabulary(CHAT)
    model = Spy(len(vocabulary))
    train(model, vocabulary, CHAT, epochs=1, batch_size=30, word_dropout=0.1)
    dropped = model.seen[0] == 0  # (30, 8); without dropout, no id is 0
    assert dropped.float().mean().item() == pytest.approx(0.1, abs=0.09)
    assert not dropped.all(dim=0).any()
    assert not dropped.all(dim=1).any()


def test_weight_decay_and_learning_rate():
    """An update multiplies by 1 - rate * decay; the rate falls to 0 by equal steps."""
    model = ElmanRNN(2, 1)  # the row of "absent" gets no gradient, only decay
    before = model.W_xh[1].item()
    train(model, Vocabulary(["absent"]), CHAT, epochs=2, batch_size=15, learning_rate=0.1,
          weight_decay=2.0)
    rates = torch.tensor([0.1, 0.075, 0.05, 0.025])  # 2 epochs of 2 batches
    shrunk = (1 - 2 * rates).prod().item()
    assert model.W_xh[1].item() == pytest.approx(before * shrunk)


def test_any_causal_module_is_trained_in_place():
    """In place and in training mode, even after `predict` has set evaluation mode."""
    model = Spy(1)
    before = model.b_y.item()
    wrapper = nn.Sequential(model).eval()  # it has no W_xh
    train(wrapper, Vocabulary(), CHAT, epochs=2, batch_size=30,
          report=lambda *_: predict(wrapper, Vocabulary(), [HAM]))
    assert model.b_y.item() != before
    assert model.modes == [True, False, True, False]


def test_inputs_go_to_the_device_of_the_model():
    """Tensors on the meta device have no values: the error shows how far the code came."""
    model = ElmanRNN(1, 1).to("meta")
    with pytest.raises(RuntimeError, match="fused"):  # the update, after loss and gradient
        train(model, Vocabulary(), CHAT)
    with pytest.raises(NotImplementedError, match="meta"):  # the copy to the CPU
        predict(model, Vocabulary(), [HAM])


@pytest.mark.parametrize("targets", [[0, 0], [1, 2], ["ham", "spam"]])
def test_train_refuses_other_targets(targets):
    frame = table(targets, HAM)
    with pytest.raises(ValueError, match="both ham"):
        train(ElmanRNN(1, 1), Vocabulary(), frame)


def test_predict_reads_each_message_at_its_last_token():
    """N messages have the N probabilities that each has alone, in input order."""
    vocabulary = Vocabulary(tokenize(HAM))
    model = ElmanRNN(len(vocabulary), 4)
    logits, _ = model(vocabulary.encode(HAM)[None])
    steps = token_probabilities(model, vocabulary, HAM)
    assert not steps.requires_grad
    torch.testing.assert_close(steps, torch.sigmoid(logits[0, :, 0]).detach())
    unknown = token_probabilities(model, vocabulary, "x")
    probability = predict(model, vocabulary, [HAM, "x"])
    expected = torch.stack([steps[-1], unknown[-1]])
    assert torch.equal(probability, expected)
    with pytest.raises(TypeError, match="list of messages"):
        predict(model, vocabulary, HAM)


# ---- Data ----
def test_toy_messages_are_twins():
    """Each spam has a ham twin with the same words: only their order tells them apart."""
    frame = toy_messages()
    words = frame["message"].str.split().map(sorted).str.join(" ")
    assert frame["message"].is_unique
    assert set(words[frame["target"] == 1]) == set(words[frame["target"] == 0])
    assert frame["target"].sum() == len(frame) / 2


GOOD_FILES = {  # name of the case: bytes of the file, its ham, its spam
    "header": (b"v1,v2,,\r\nham,hi you,,\r\nspam,now,x,\r\n", "hi you", "now"),
    "no header": (b'Ham,"hi, you"\n SPAM ,now\n', "hi, you", "now"),
    "tabs": (b'\nham\t"hi, you\nspam\tnow "now"\n', '"hi, you', 'now "now"'),
    "labels in a message": (b'ham,"a\nham, eggs\nspam"\nspam,NA\n', "a\nham, eggs\nspam", "NA"),
    "UTF-8": ("ham,£5\nspam,大奖\n".encode(), "£5", "大奖"),
    "byte order mark": ("ham,£5\nspam,now\n".encode("utf-8-sig"), "£5", "now"),
    "Windows-1252": (b"ham,\x93hi\x94\nspam,\x80\x81\n", "“hi”", "€\ufffd"),
}


@pytest.mark.parametrize("data, ham, spam", GOOD_FILES.values(), ids=GOOD_FILES)
def test_file_is_read(tmp_path, data, ham, spam):
    path = tmp_path / "file_without_suffix"
    path.write_bytes(data)
    assert read_messages(path).equals(table([0, 1], [ham, spam]))


BAD_FILES = {  # name of the case: text of the file, words of the error
    "label last": ("text,label\nhi you,ham\n", "row 2 begins with 'hi you'"),
    "labels 0 and 1": ("ham,hi\n0,hi\n1,win\n", "row 2 begins with '0'"),
    "third class": ("ham,hi\n\x1b[31m to twenty characters,x\n", r"'\\x1b\[31m to twenty char'"),
    "one column": ("ham\nspam\n", "needs a column"),
    "header only": ("label,text\n", "needs a column"),
    "empty": ("", "No columns"),
    "commas": ("label,text\nham,hello, you\n", "Expected 2 fields in line 2, saw 3"),
}


@pytest.mark.parametrize("text, words", BAD_FILES.values(), ids=BAD_FILES)
def test_file_is_refused(tmp_path, text, words):
    """The error is one line without control characters that names the file."""
    path = tmp_path / "x.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"x\.csv.*{words}") as error:
        read_messages(path)
    assert str(error.value).isprintable()


def test_split_depends_on_the_message_alone():
    """A distinct message is held out if its crc32, modulo 5, is the fold."""
    frame = table(0, [*"abcdefghijc"])
    fit, held_out = split(frame)
    _, fourth = split(frame, fold=4)
    assert fit["message"].tolist() == list("abdefghj")
    assert held_out["message"].tolist() == ["c", "i"]
    assert fourth["message"].tolist() == ["e", "h", "j"]


# ---- Evaluation and checkpoints ----
def test_metrics_of_an_example():
    """Positions count, not the index of a Series. A probability of .5 is not spam."""
    probability = [0.9, 0.8, 0.7, 0.50000001, 0.5, 0.2, 0.1, 0.3, 0.4, 1]
    target = pd.Series([1, 1, 1, 1, 1, 0, 0, 0, 1, 0], index=range(10, 0, -1))
    assert evaluate(probability, target) == pytest.approx({
        "accuracy": 7 / 10,
        "precision": 4 / 5,
        "recall": 4 / 6,
        "f1": 8 / 11,
        "mcc": (4 * 3 - 1 * 2) / (5 * 6 * 4 * 5) ** 0.5,
        "tp": 4, "fp": 1, "fn": 2, "tn": 3,
    })


def test_metrics_where_all_is_right():
    """Rates are 1, or 0 where they are 0 / 0. Tensors of a comparison will do."""
    assert list(evaluate([], []).values()) == [0, 0, 0, 0, 0, 0, 0, 0, 0]
    assert list(evaluate(torch.tensor([True]), [1]).values()) == [1, 1, 1, 1, 0, 1, 0, 0, 0]
    assert list(evaluate([1, 0], [1, 0]).values()) == [1, 1, 1, 1, 1, 1, 0, 0, 1]


@pytest.mark.parametrize("probability, target", [
    ([0.1, 0.2], [0]), ([1.1], [1]), ([torch.nan], [0]), ([0.1], [2])])
def test_evaluate_refuses(probability, target):
    with pytest.raises(ValueError, match=r"shorter|probabilities from 0 to 1"):
        evaluate(probability, target)


def test_checkpoint_round_trip(tmp_path):
    """Tokens and weights come back bit by bit, on the device asked for."""
    path = tmp_path / "m.pt"
    vocabulary = Vocabulary(tokenize(HAM))
    model = ElmanRNN(len(vocabulary), 3, 2)
    save(model, vocabulary, path)
    again, tokens = load(path)
    elsewhere, _ = load(path, "meta")
    assert vars(tokens) == vars(vocabulary)
    torch.testing.assert_close(again.state_dict(), model.state_dict(), rtol=0, atol=0)
    assert elsewhere.b_y.device.type == "meta"


def test_failed_save_keeps_the_old_checkpoint(tmp_path):
    vocabulary = Vocabulary()
    path = tmp_path / "m.pt"
    save(ElmanRNN(1, 1), vocabulary, path)
    before = path.read_bytes()
    vocabulary.idx_to_token[0] = lambda: "cannot be pickled"
    with pytest.raises(Exception, match=r"pickle|local object"):
        save(ElmanRNN(1, 1), vocabulary, path)
    assert path.read_bytes() == before


def test_save_refuses_what_load_could_not_rebuild(tmp_path):
    for model in (nn.Sequential(ElmanRNN(1, 1)), ElmanRNN(2, 1)):
        with pytest.raises(TypeError, match="its own vocabulary"):
            save(model, Vocabulary(), tmp_path / "m.pt")


@pytest.mark.parametrize("change", [
    {"weights": {"W_hy": torch.zeros(1, 1)}},
    {"tokens": ["<UNK>", "one too many"]},
    {"code": print},  # no function is loaded, so none can run
], ids=str)
def test_load_refuses_what_save_does_not_write(tmp_path, monkeypatch, change):
    """Even if an environment variable asks torch to trust all files."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    weights = ElmanRNN(1, 1).state_dict()
    torch.save({"weights": weights, "tokens": ["<UNK>"], **change}, tmp_path / "m.pt")
    with pytest.raises(ValueError, match=r"m\.pt.* is not a checkpoint"):
        load(tmp_path / "m.pt")


# ---- Command line ----
@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command in an empty folder. Return the rows it prints."""
    monkeypatch.chdir(tmp_path)

    def run(line, *text):
        elman_min.main([*line.split(), *text])
        return [" ".join(row.split()) for row in capsys.readouterr().out.splitlines()]

    return run


def test_toy_from_training_to_prediction(run, toy):
    """`train` reports and tests what it saved; `test` and `predict` read it again."""
    rows, path = toy
    heading, saved, metrics = rows[0], rows[18], rows[19:]  # between them, 17 epochs
    accuracy = metrics[0].split()[1]
    assert "4,254 distinct ones to train, 1,146 to test" in heading
    assert re.fullmatch(r"epoch 17 loss \d\.\d{4}", rows[17])
    assert saved == f"saved '{path}'"
    assert float(accuracy) > 0.99
    assert run(f"test --model {path}") == [heading, *metrics]
    frame = toy_messages().replace({"target": {0: "ham", 1: "spam"}})
    frame.to_csv("toy.csv", index=False)
    assert run(f"test toy.csv --model {path}") == [heading, *metrics]
    shown = run(f"predict --model {path}", "dear swap your boat for my cake bye")
    assert re.fullmatch(r"spam \(P\(spam\) = 0\.9\d+\)", shown[-1])


def test_order_of_the_rows_does_not_matter():
    """The toy is learned, too, if its rows are sorted by class."""
    fit, held_out = split(toy_messages().sort_values("target"))
    torch.manual_seed(0)
    vocabulary = build_vocabulary(fit)
    model = ElmanRNN(len(vocabulary), 32)
    train(model, vocabulary, fit)
    probability = predict(model, vocabulary, held_out["message"])
    assert evaluate(probability, held_out["target"])["accuracy"] > 0.99


def test_training_can_be_repeated(run, monkeypatch):
    monkeypatch.setattr(elman_min, "toy_messages", lambda: CHAT)
    assert run("train") == run("train")


def test_predict_shows_every_token(run):
    """Each token with its probability and a bar, then the label; all of it printable."""
    model = ElmanRNN(2, 1)  # gives .5, which is not spam, until "win"
    # W_xh is 0 for <UNK> and .3 for win, W_hh .05, W_hy 9, both biases 0.
    parameters = torch.tensor([0, 0.3, 0.05, 0, 9, 0])
    nn.utils.vector_to_parameters(parameters, model.parameters())
    save(model, Vocabulary(["win"]), "elman_min.pt")
    assert run("predict", "")[-1] == "ham (P(spam) = 0.5000)"
    assert run("predict", "win \x1b") == [
        "0.50 ########## '<length 0>'", "0.50 ########## '<capitals 0>'",
        "0.50 ########## '<digits 0>'", "0.93 ################### 'win'",
        r"0.53 ########### '\x1b'", "0.50 ########## '<length 0><capitals 0><digits 0>'",
        "spam (P(spam) = 0.5016)"]


def test_predict_runs_in_a_notebook(toy, monkeypatch):
    """There, sys.stdout is not a file, and has no encoding to change."""
    stdout = io.StringIO()
    monkeypatch.setattr(sys, "argv", ["elman_min.py", "predict", "hi", "--model", toy[1]])
    monkeypatch.setattr(sys, "stdout", stdout)
    runpy.run_path(elman_min.__file__, run_name="__main__")
    assert "P(spam)" in stdout.getvalue()


@pytest.mark.parametrize("command, words", [
    ("forecast", "invalid choice"),
    ("predict", "needs a text"),
    ("train --model m.csv", r"must end in \.pt"),
    ("train SMSSpamColection", r"SMSSpamColection'; for data, see spam\.csv\.README"),
    ("predict hi", r"elman_min\.pt'; .* run train \[FILE\]"),
    ("test", r"toy\.pt'"),
    ("train --model no/m.pt", r"m\.pt\.tmp'"),
    ("train two.csv", "too few messages"),
    ("train ham.csv", "both ham"),
    ("test --model foreign.pt", r"foreign\.pt' is not a checkpoint"),
])
def test_command_is_refused(run, monkeypatch, capsys, command, words):
    """The output says what is wrong; the status is not 0, and no file is written."""
    monkeypatch.setattr(elman_min, "toy_messages", lambda: CHAT)
    Path("two.csv").write_text("ham,see you soon\nspam,win it now\n")
    Path("ham.csv").write_text("".join(f"ham,{i}\n" for i in range(30)))
    Path("foreign.pt").write_text("foreign")
    before = sorted(Path().iterdir())
    with pytest.raises(SystemExit) as error:
        run(command)
    status = error.value.code  # 2, or a text that the interpreter prints, with the status 1
    assert re.search(words, f"{capsys.readouterr().err.rstrip()}{status}")
    assert status
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize("command, device", [("train", "cpu"), ("train --device meta", "meta")])
def test_device_is_the_cpu_unless_asked_for_another(run, monkeypatch, command, device):
    """Others are what torch reports as an available accelerator."""
    def stop(model, *_):  # in place of training
        sys.exit(model.b_y.device.type)

    monkeypatch.setattr(torch.accelerator, "current_accelerator",
                        lambda check_available: torch.device("meta"))
    monkeypatch.setattr(elman_min, "train", stop)
    with pytest.raises(SystemExit, match=device):
        run(command)


# ---- README ----
@pytest.fixture
def readme():
    return Path(__file__).with_name("README.md").read_text(encoding="utf-8")


def test_readme_shows_the_network(readme):
    """Its `forward` is that of the file, line by line."""
    code = textwrap.dedent(inspect.getsource(ElmanRNN.forward))
    assert f"```python\n{code}```" in readme


def test_readme_examples_run(readme, tmp_path, monkeypatch):
    """The examples of the README run as they stand, one after the other."""
    examples = re.findall("```python example\n(.*?)```", readme, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec("".join(examples), {})
    assert Path("scored.csv").exists()
