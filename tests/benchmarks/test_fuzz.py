from __future__ import annotations

import random
from collections import Counter

import pytest
from typer.testing import CliRunner

from benchmarks import __main__ as command
from benchmarks import fuzz as fuzzing
from benchmarks.fuzz import QUICK, Findings, fuzz
from benchmarks.fuzz.smiles import mutate
from benchmarks.fuzz.trained import no_numbers, refusal, wrong_answers
from graphattn.errors import InputError

GIVEN = [["smiles"], ["C"], ["X"]]
ANSWER = [["smiles", "prediction", "error"], ["C", "1.5", ""], ["X", "", "no atom"]]


def test_a_short_form_finds_no_fault() -> None:
    found = fuzz(QUICK, seed=1)
    assert [fault for one in found for fault in one.faults] == []
    tried = {one.name: one.tried for one in found}
    assert tried["mutated SMILES"] == QUICK.smiles
    assert tried["mutated run files"] + tried["… with a new manifest"] == QUICK.files * 4 // 5
    assert tried["mutated checkpoints"] + tried["… with a new checksum"] == QUICK.files // 5


@pytest.mark.parametrize(
    ("row", "answer", "fault"),
    [
        (2, ["X", "", ""], "has prediction '' and error ''"),
        (1, ["C", "nan", ""], "has prediction 'nan'"),
        (1, ["C ", "1.5", ""], "became ['C ']"),
        (2, ["X", "", "two\nlines"], "an error of several lines"),
    ],
)
def test_wrong_answers_are_found(row: int, answer: list[str], fault: str) -> None:
    assert wrong_answers(ANSWER, GIVEN) is None
    changed = [*ANSWER[:row], answer, *ANSWER[row + 1 :]]
    assert fault in str(wrong_answers(changed, GIVEN))
    assert "2 rows were given, and 1 are answered" in str(wrong_answers(ANSWER[:2], GIVEN))


def test_a_refusal_is_one_sentence() -> None:
    assert refusal(InputError("there is no column")) is None
    assert refusal(KeyError("a")) == "KeyError: 'a'"
    assert "2 line ends" in str(refusal(InputError("a\nb\nc")))


def test_no_numbers() -> None:
    assert not no_numbers(ANSWER)
    assert no_numbers([["id", "prediction", "probability_a"], ["n1", "a", "nan"]])
    assert no_numbers([["id", "prediction"], ["n1", ""]])


def test_mutation_depends_on_the_seed_alone() -> None:
    first, second = ([mutate("CCO", ["c1ccccc1"], rng) for _ in range(50)] for rng in (random.Random(3), random.Random(3)))
    assert first == second
    assert len(set(first)) > 25


def test_a_fault_is_shown_and_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def found(sizes: fuzzing.Sizes, seed: int, say: object) -> list[Findings]:
        seen.append((sizes, seed))
        return [Findings("tables", Counter(answered=2, fault=1), ["row 1 is gone"], 0.5)]

    monkeypatch.setattr(fuzzing, "fuzz", found)
    result = CliRunner().invoke(command.app, ["fuzz", "--seed", "4", "--kills", "0"])
    assert result.exit_code == 1
    assert "tables: row 1 is gone" in result.output
    assert "--seed 4 --smiles 20000 --files 500 --tables 400 --kills 0" in result.output
    assert seen == [(fuzzing.Sizes(kills=0), 4)]
