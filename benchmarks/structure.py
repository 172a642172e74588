"""What knowledge of structure brings: plain masked attention against each encoding, bias and kind of attention.

    python benchmarks/structure.py run lipophilicity [--jobs 2] [VARIANT ...]
    python benchmarks/structure.py run amazon_photo
    python benchmarks/structure.py table

Every variant changes one thing in one small recipe, the same for all, and is trained with three seeds on the data set's own
split; the validation part decides when to stop, the test part is only reported. Each result is written as it comes, to
`benchmarks/results/structure_<data set>.json`, and what is there already is not run again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
SEEDS = (0, 1, 2)
Params = dict[str, Any]

_FOUR = {"distance": 8, "relative_walk": 8, "resistance": 2, "edge": 11}
MOLECULES: dict[str, Params] = {
    "masked attention": {},
    "+ degree": {"encodings": {"degree": 1}},
    "+ degree in buckets": {"encodings": {"degree_bucket": 1}},
    "+ random walk": {"encodings": {"random_walk": 16}},
    "+ Laplacian, signs flipped": {"encodings": {"laplacian": 8}},
    "+ Laplacian, sign-invariant": {"encodings": {"sign_invariant": 8}},
    "+ cycles": {"encodings": {"cycles": 6}},
    "+ 3-hop edges": {"extra_edges": {"k_hop": 3}},
    "+ expander edges": {"extra_edges": {"expander": 4}},
    "+ a virtual node": {"extra_edges": {"virtual": 1}},
    "full attention": {"attention": "full"},
    "full + edge features": {"attention": "full", "biases": {"edge": 11}},
    "full + distance": {"attention": "full", "biases": {"distance": 8}},
    "full + relative walk": {"attention": "full", "biases": {"relative_walk": 8}},
    "full + resistance": {"attention": "full", "biases": {"resistance": 2}},
    "full + all four": {"attention": "full", "biases": _FOUR},
    "hybrid masked+full": {"attention": "masked+full"},
    "hybrid + all four, random walk": {"attention": "masked+full", "biases": _FOUR, "encodings": {"random_walk": 16}},
    "hybrid masked+sgformer": {"attention": "masked+sgformer"},
    "hybrid masked+polynormer": {"attention": "masked+polynormer"},
    "hybrid masked+performer": {"attention": "masked+performer"},
    "pair attention, all four": {"attention": "pair", "biases": _FOUR},
}
NETWORK: dict[str, Params] = {
    "masked attention": {},
    "+ degree": {"encodings": {"degree": 1}},
    "+ degree in buckets": {"encodings": {"degree_bucket": 1}},
    "+ random walk": {"encodings": {"random_walk": 16}},
    "+ Laplacian": {"encodings": {"laplacian": 8}},
    "+ Laplacian, sign-invariant": {"encodings": {"sign_invariant": 8}},
    "+ cycles up to 4": {"encodings": {"cycles": 2}},
    "+ expander edges": {"extra_edges": {"expander": 4}},
    "+ a virtual node": {"extra_edges": {"virtual": 1}},
    "full attention": {"attention": "full"},
    "hybrid masked+full": {"attention": "masked+full"},
    "hybrid masked+sgformer": {"attention": "masked+sgformer"},
    "hybrid masked+polynormer": {"attention": "masked+polynormer"},
    "hybrid masked+performer": {"attention": "masked+performer"},
}


def molecules(params: Params, seed: int) -> dict[str, float]:
    from graphattn.data import load_molecules
    from graphattn.estimators import MoleculeRegressor

    data = load_molecules("lipophilicity")
    smiles = data.frame[data.smiles_column].to_numpy()
    values = data.frame[data.target_column].astype(float).to_numpy()
    train, valid, test = (data.split[part] for part in ("train", "valid", "test"))  # type: ignore[index]
    recipe: Params = {
        "channels": 64,
        "num_layers": 3,
        "epochs": 20,
        "batch_size": 64,
        "learning_rate": 1e-3,
        "encodings": {},
        "n_jobs": 1,
    }
    model = MoleculeRegressor(**(recipe | params), seed=seed)
    model.fit(smiles[train], values[train], valid=(smiles[valid], values[valid]))

    def rmse(rows: Any) -> float:
        return float(((model.predict(smiles[rows]) - values[rows]) ** 2).mean() ** 0.5)

    return {"valid": rmse(valid), "test": rmse(test)}


def network(params: Params, seed: int) -> dict[str, float]:
    from graphattn.data import load_network_dataset
    from graphattn.estimators import NodeClassifier

    found = load_network_dataset("amazon_photo")
    assert found.split is not None
    recipe: Params = {"epochs": 100, "encodings": {}}
    model = NodeClassifier(**(recipe | params), seed=seed)
    model.fit(found.data, found.split["train"], found.split["valid"])
    return {part: model.score(found.data, found.split[part]) for part in ("valid", "test")}


JOBS: dict[str, tuple[dict[str, Params], Callable[[Params, int], dict[str, float]], str]] = {
    "lipophilicity": (MOLECULES, molecules, "RMSE, scaffold split"),
    "amazon_photo": (NETWORK, network, "accuracy, fixed split"),
}


def one(dataset: str, variant: str, seed: int) -> None:
    """Trains one model and prints its result as JSON."""
    import torch

    torch.set_num_threads(1)
    variants, train, _ = JOBS[dataset]
    start = time.perf_counter()
    scores = train(variants[variant], seed)
    print(json.dumps({"variant": variant, "seed": seed, **scores, "seconds": time.perf_counter() - start}))


def run(dataset: str, chosen: list[str], jobs: int) -> None:
    path = RESULTS / f"structure_{dataset}.json"
    results = json.loads(path.read_text()) if path.exists() else []
    done = {(result["variant"], result["seed"]) for result in results}
    wanted = [(variant, seed) for seed in SEEDS for variant in chosen or JOBS[dataset][0] if (variant, seed) not in done]

    def start(variant: str, seed: int) -> str:
        command = [sys.executable, "-m", "benchmarks.structure", "one", dataset, variant, str(seed)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]

    with ThreadPoolExecutor(jobs) as pool:
        for future in [pool.submit(start, *each) for each in wanted]:
            try:
                results.append(json.loads(future.result()))
            except subprocess.CalledProcessError as error:
                print(error.stderr.splitlines()[-1], file=sys.stderr)
                continue
            path.write_text(json.dumps(results, indent=1) + "\n")
            print(results[-1], flush=True)


def table() -> None:
    """The tables in markdown: mean and standard deviation over the seeds."""
    for dataset, (variants, _, score) in JOBS.items():
        path = RESULTS / f"structure_{dataset}.json"
        results = json.loads(path.read_text()) if path.exists() else []
        print(f"\n| {dataset}: {score} | validation | test | seconds |\n|---|---|---|---|")
        for variant in variants:
            of_variant = [result for result in results if result["variant"] == variant]
            if len(of_variant) > 1:
                columns = [[result[part] for result in of_variant] for part in ("valid", "test")]
                cells = " | ".join(f"{statistics.mean(c):.3f} ± {statistics.stdev(c):.3f}" for c in columns)
                print(f"| {variant} | {cells} | {statistics.mean(result['seconds'] for result in of_variant):.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run", help="train what is not there yet")
    runner.add_argument("dataset", choices=JOBS)
    runner.add_argument("variant", nargs="*", help="default: all")
    runner.add_argument("--jobs", type=int, default=2, help="models trained at the same time, on a thread each")
    single = commands.add_parser("one", help="train one model")
    single.add_argument("dataset", choices=JOBS)
    single.add_argument("variant")
    single.add_argument("seed", type=int)
    commands.add_parser("table", help="print the tables")
    arguments = parser.parse_args()
    if arguments.command == "run":
        run(arguments.dataset, arguments.variant, arguments.jobs)
    elif arguments.command == "one":
        one(arguments.dataset, arguments.variant, arguments.seed)
    else:
        table()


if __name__ == "__main__":
    main()
