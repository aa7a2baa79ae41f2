import subprocess
import sys
import zlib

import numpy as np
import pytest

from agent_gym_env.encoders.text import HashingEncoder


def test_vectors_have_length_one_or_nothing_in_them() -> None:
    vectors = HashingEncoder(dim=32).encode(["A table for two.", "", "¿Qué?"])
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1.0, 0.0, 1.0])


def test_texts_that_share_words_lie_closer_together() -> None:
    encoder = HashingEncoder(dim=512)
    one, like, other = encoder.encode(["a table for two", "a table for six", "play some jazz"])
    assert one @ like > one @ other


def test_one_word_lies_in_the_bucket_and_has_the_sign_of_its_crc() -> None:
    crc = zlib.crc32(b"tea")
    vector = HashingEncoder(dim=16).encode(["Tea"])[0]
    assert vector[(crc & (2**31 - 1)) % 16] == (-1.0 if crc >> 31 else 1.0)
    assert np.count_nonzero(vector) == 1


def test_pairs_of_words_tell_word_order() -> None:
    texts = ["from Rome to Oslo", "to Oslo from Rome"]
    one, other = HashingEncoder(dim=4096).encode(texts)
    assert one @ other < 0.99
    one, other = HashingEncoder(dim=4096, ngrams=1).encode(texts)
    assert one @ other == pytest.approx(1.0)


def test_no_texts_give_no_rows() -> None:
    assert HashingEncoder(dim=8).encode([]).shape == (0, 8)


def test_lone_surrogates_are_words_like_any_other() -> None:
    assert np.isfinite(HashingEncoder().encode(["\ud800 tea"])).all()


def test_case_and_punctuation_do_not_count() -> None:
    one, other = HashingEncoder().encode(["Two seats, please!", "two seats please"])
    assert (one == other).all()


def test_another_process_gives_the_same_bytes() -> None:
    code = (
        "from agent_gym_env.encoders.text import HashingEncoder as E;"
        "print(E(dim=16).encode(['Grüße aus Lund']).tobytes().hex())"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True,
            text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert runs[0] == runs[1] != ""


@pytest.mark.parametrize("options", [{"dim": 0}, {"ngrams": 0}])
def test_arguments_are_checked(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"must|at least"):
        HashingEncoder(**options)
