from __future__ import annotations

import dataclasses
import json
import os
import socket

import pytest
import torch
from typer.testing import CliRunner

from benchmarks import __main__ as command
from benchmarks import runner, worker
from benchmarks.cases import CASES, Bar, Case, select
from benchmarks.ceiling import Ceiling
from benchmarks.families import Contender
from benchmarks.graphs import GRAPHS
from benchmarks.measure import Timing
from benchmarks.parity import TOLERANCE, ParityError, check_against_float64
from benchmarks.runner import figures, in_fresh_process
from benchmarks.worker import Alone, Options, compare
from graphattn.errors import InputError

QUICK = Options(threads=1, rounds=1, quick=True, rivals=("pyg", "padded", "tuned", "reference"))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_registry_is_well_formed(case: Case) -> None:
    assert case.name.startswith(case.group)
    assert case.graph in GRAPHS
    assert {"ours", case.baseline} <= set(case.family.contenders)
    assert set(case.modes) <= {"forward", "step", "epoch"}
    assert set(case.rivals) <= set(Options().rivals)
    ratios = {f"{mode} {rival}/ours" for mode in case.modes for rival in case.rivals}
    shares = {f"{mode} of ceiling" for mode in case.modes} if case.rows else set()
    memory = {f"memory {case.baseline}/ours", "extra gigabytes"} if case.memory else set()
    for bar in case.bars:
        assert bar.figure in ratios | shares | memory
        assert (bar.at_least is None) != (bar.at_most is None)


def test_every_bar_of_the_contract_is_there() -> None:
    def bars(pattern: str) -> set[str]:
        return {str(bar) for case in select([pattern]) for bar in case.bars}

    for score in ("dot", "gatv2", "gat"):
        for graph in ("random", "power-law"):
            for shape in ("8x8", "4x32"):
                assert {"step pyg/ours ≥ 10", "step tuned/ours ≥ 4"} <= bars(f"op-{score}-{graph}-{shape}")
    for shape in ("8x8", "4x32"):
        assert {"forward of ceiling ≥ 0.7", "step of ceiling ≥ 0.6", "memory pyg/ours ≥ 5"} <= bars(f"op-dot-random-{shape}")
        assert "memory pyg/ours ≥ 8" in bars(f"op-gatv2-random-{shape}")
        assert bars(f"layer-dot-*-{shape}") == {"step pyg/ours ≥ 5"}
        assert bars(f"layer-gatv2-*-{shape}") == {"step pyg/ours ≥ 7"}
    assert bars("molecules-masked-*") == {"step pyg/ours ≥ 2.5"}
    assert bars("molecules-full-molecules-*") == {"step padded/ours ≥ 5"}
    assert bars("molecules-full-skewed-*") == {"step padded/ours ≥ 50"}
    assert bars("cora-gat*") == {"epoch pyg/ours ≥ 2"}
    assert bars("overhead-*") == {"forward pyg/ours ≥ 1", "step pyg/ours ≥ 1"}
    assert bars("large-*") == {"extra gigabytes ≤ 3"}
    assert bars("dropin-gat-cora") == {"forward pyg/ours ≥ 1", "step pyg/ours ≥ 1"}
    for layer in ("gat", "gatv2", "transformer"):
        assert bars(f"dropin-{layer}-power-law") == {"step pyg/ours ≥ 3", "memory pyg/ours ≥ 4"}
    assert bars("dropin-gps-molecules-one-large") == {"step pyg/ours ≥ 8"}


def test_cases_are_chosen_by_name_group_or_pattern() -> None:
    assert [case.name for case in select(["overhead-dot"])] == ["overhead-dot"]
    assert {case.group for case in select(["cora", "large"])} == {"cora", "large"}
    assert len(select([])) == len(CASES)
    with pytest.raises(InputError, match="got 'no-such'"):
        select(["cora", "no-such"])


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.heads == 8])
def test_parity_of_every_family_on_every_kind_of_graph(name: str) -> None:
    case = CASES[name]
    assert check_against_float64(case) <= TOLERANCE


def spoil(monkeypatch, name: str, change) -> None:
    """Makes ours of a case compute something else: `change` gets the forward function and the inputs by name."""
    case = CASES[name]
    build = case.family.contenders["ours"]

    def spoilt(graph, heads, inputs) -> Contender:
        contender = build(graph, heads, inputs)
        return dataclasses.replace(contender, forward=lambda: change(contender.forward, inputs))

    family = dataclasses.replace(case.family, contenders={**case.family.contenders, "ours": spoilt})
    monkeypatch.setitem(CASES, name, dataclasses.replace(case, family=family))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda forward, inputs: forward() * 1.001, "output by 1.0e-03"),
        (lambda forward, inputs: forward() * float("nan"), "output by nan"),
        # The output is right, and one gradient of three is not.
        (lambda forward, inputs: forward() + (inputs["key"] - inputs["key"].detach()), "differ: key by"),
    ],
)
def test_a_case_whose_sides_differ_is_refused_before_it_is_timed(monkeypatch, change, complaint: str) -> None:
    spoil(monkeypatch, "op-dot-random-8x8", change)
    monkeypatch.setattr(worker, "interleaved", lambda *_: pytest.fail("it was timed"))
    with pytest.raises(ParityError, match=complaint):
        compare("op-dot-random-8x8", False, QUICK)


def test_a_rival_that_differs_from_ours_at_full_size_is_left_out(monkeypatch) -> None:
    case = CASES["op-dot-random-8x8"]
    build = case.family.contenders["reference"]

    def doubled(graph, heads, inputs) -> Contender:
        contender = build(graph, heads, inputs)
        return dataclasses.replace(contender, forward=lambda: 2 * contender.forward())

    family = dataclasses.replace(case.family, contenders={**case.family.contenders, "reference": doubled})
    monkeypatch.setitem(CASES, case.name, dataclasses.replace(case, family=family))
    comparison = compare(case.name, False, QUICK)
    assert set(comparison.timings["step"]) == {"ours", "pyg"}
    assert comparison.skipped["reference"].startswith("reference and ours differ: output by 1.0e+00")


def test_copies_add_up_and_parts_are_joined() -> None:
    a, b = torch.tensor([1.0, 2.0]).requires_grad_(), torch.tensor([3.0, 4.0]).requires_grad_()
    contender = Contender(lambda: 2 * a + 3 * b, {"sum": (a, b)}, {"joined": (a, b)})
    gradients = contender.gradients(torch.tensor([1.0, 10.0]))
    assert gradients["sum"].tolist() == [5, 50]
    assert gradients["joined"].tolist() == [2, 20, 3, 30]


def test_figures_by_hand() -> None:
    def timing(seconds: float) -> Timing:
        return Timing(seconds, seconds, seconds, 7, 1)

    timings = {
        ("installed", "forward"): {"ours": timing(1e-3), "pyg": timing(5e-3)},
        ("installed", "step"): {"ours": timing(2e-3), "pyg": timing(30e-3)},
        ("tuned", "step"): {"ours": timing(2.5e-3), "tuned": timing(10e-3)},
    }
    processes = {"ours": Alone(10**8, 0, {}), "pyg": Alone(7 * 10**8, 0, {})}
    timings |= {("unrivalled", "forward"): {"ours": timing(0.8e-3)}, ("unrivalled", "step"): {"ours": timing(1.6e-3)}}
    ceiling = Ceiling(1e-3, 256, 10e9, 8)
    assert figures(timings, processes, ceiling, {"forward": 8_000_000, "step": 12_000_000}) == {
        "forward pyg/ours": pytest.approx(5),
        "step pyg/ours": pytest.approx(15),
        "step tuned/ours": pytest.approx(4),
        "forward of ceiling": pytest.approx(1.0),
        "step of ceiling": pytest.approx(0.75),
        "extra gigabytes": 0.1,
        "memory pyg/ours": 7,
    }
    assert figures({}, {"ours": Alone(10**9, 0, {}), "pyg": Alone(None, None, {})}, None, {}) == {"extra gigabytes": 1}


def test_bars_are_judged() -> None:
    assert Bar("f", at_least=2).met(2)
    assert not Bar("f", at_least=2).met(1.9)
    assert Bar("f", at_most=3).met(3)
    assert not Bar("f", at_most=3).met(3.1)
    assert runner.judged(Bar("f", at_least=2), None)["met"] is None


def run(monkeypatch, *arguments: str):
    """Runs the command line with the workers' functions called in this process, and nothing tuned."""

    def here(function, *args):
        return compare(args[0], False, args[2]) if function is compare else function(*args)

    monkeypatch.setattr(runner, "in_fresh_process", here)
    return CliRunner().invoke(command.app, ["run", "--quick", "--threads", "1", *arguments])


def test_a_run_writes_a_record_of_each_case(monkeypatch, tmp_path) -> None:
    arguments = ("op-dot-random-8x8", "large-dot", "--rivals", "pyg,reference", "--out", str(tmp_path))
    result = run(monkeypatch, *arguments)
    assert result.exit_code == 0, result.output
    assert "2 cases measured; bars:" in result.output
    record = json.loads((tmp_path / "op.json").read_text())["cases"]["op-dot-random-8x8"]
    assert record["graph"] == {"name": "random", "nodes": 1_000, "edges": 10_000, "origin": "drawn"}
    assert (record["heads"], record["channels"], record["threads"], record["quick"]) == (8, 8, 1, True)
    assert record["parity"]["error"] <= record["parity"]["tolerance"] == TOLERANCE
    timed = {(timing["setting"], timing["mode"], timing["contender"]) for timing in record["timings"]}
    assert timed == {("installed", mode, who) for mode in ("forward", "step") for who in ("ours", "pyg", "reference")} | {
        ("unrivalled", mode, "ours") for mode in ("forward", "step")
    }
    assert all(0 < timing["low"] <= timing["median"] <= timing["high"] for timing in record["timings"])
    assert set(record["memory"]) == {"ours", "pyg"}
    # Two rows of 64 float32 for each of 10,000 edges, and six.
    assert record["bytes_gathered"] == {"forward": 5_120_000, "step": 15_360_000}
    assert record["ceiling"]["row_bytes"] == 256
    verdicts = {bar["figure"]: bar["met"] for bar in record["bars"]}
    assert verdicts["step tuned/ours"] is None
    assert isinstance(verdicts["step pyg/ours"], bool)
    assert set(record["machine"]["packages"]) == {"graphattn", "torch", "torch_geometric", "numba", "numpy"}
    text = (tmp_path / "op.json").read_text()
    assert socket.gethostname() not in text.replace(record["case"], "")
    assert os.getcwd() not in text
    large = json.loads((tmp_path / "large.json").read_text())["cases"]["large-dot"]
    assert {timing["setting"] for timing in large["timings"]} == {"alone"}
    assert "step pyg/ours" in large["figures"]


def test_a_second_run_replaces_its_own_records_only(monkeypatch, tmp_path) -> None:
    for case in ("overhead-dot", "overhead-gat"):
        assert run(monkeypatch, case, "--rivals", "pyg", "--out", str(tmp_path)).exit_code == 0
    assert set(json.loads((tmp_path / "overhead.json").read_text())["cases"]) == {"overhead-dot", "overhead-gat"}


def test_a_refused_case_fails_the_run_and_the_others_are_measured(monkeypatch, tmp_path) -> None:
    spoil(monkeypatch, "overhead-dot", lambda forward, inputs: forward() * 1.001)
    result = run(monkeypatch, "overhead-dot", "overhead-gat", "--rivals", "pyg", "--out", str(tmp_path))
    assert result.exit_code == 1
    assert "refused overhead-dot: ours and pyg in float64 differ: output by 1.0e-03" in result.output
    assert set(json.loads((tmp_path / "overhead.json").read_text())["cases"]) == {"overhead-gat"}


@pytest.mark.parametrize(
    ("arguments", "complaint"), [(["no-such"], "got 'no-such'"), (["cora", "--rivals", "pyg,dgl"], "got dgl")]
)
def test_unknown_cases_and_rivals_are_told(monkeypatch, arguments: list[str], complaint: str) -> None:
    result = run(monkeypatch, *arguments)
    assert result.exit_code == 2
    assert complaint in result.output


def test_list_shows_every_case() -> None:
    result = CliRunner().invoke(command.app, ["list"])
    assert all(name in result.output for name in CASES)


def test_tuned_rivals_run_in_a_process_of_their_own() -> None:
    comparison = in_fresh_process(compare, "overhead-gatv2", True, QUICK)
    assert set(comparison.timings["step"]) == {"ours", "tuned"}
