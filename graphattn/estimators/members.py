"""The models of an ensemble, trained beside each other in processes of their own."""

from __future__ import annotations

import json
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from graphattn.cache import write_atomically
from graphattn.estimators.device import find_device, make_fabric, seeded
from graphattn.nn import GraphTransformer
from graphattn.train import EpochReport, TaskJob, TrainOptions, fit

Report = Callable[[EpochReport], None]
# Seconds between two looks at what the processes have done.
_GLANCE = 0.3


@dataclass(frozen=True)
class Member:
    """A model of an ensemble before it is trained. It can be sent to another process.

    Args:
        number, members: which of how many.
        model_options: of the `GraphTransformer`.
        make_job: device and seed → what to train on.
        seed: of the weights, the order of the batches and dropout.
        train: how to train.
        device, precision: as the estimators take them.
        identity: of its checkpoint.
        checkpoint: its own file, or None.
        init: weights to start from, by name; what it lacks is drawn at random.
    """

    number: int
    members: int
    model_options: dict[str, Any]
    make_job: Callable[[torch.device, int], TaskJob]
    seed: int
    train: TrainOptions
    device: str
    precision: str
    identity: str
    checkpoint: Path | None
    init: Mapping[str, Tensor] | None = None

    def fit(self, report: Report | None) -> tuple[GraphTransformer, EpochReport]:
        """Trains it in this process."""
        fabric = make_fabric(self.device, self.precision)

        def report_mine(progress: EpochReport) -> None:
            if report is not None:
                report(replace(progress, member=self.number, members=self.members))

        with seeded(self.seed):
            model = GraphTransformer(**self.model_options)
            if self.init is not None:
                model.load_state_dict({**model.state_dict(), **self.init})
            job = self.make_job(fabric.device, self.seed)
            progress = fit(
                model, job, self.train, fabric, checkpoint=self.checkpoint, identity=self.identity, report=report_mine
            )
        return model, progress


def fit_members(
    members: Sequence[Member], n_jobs: int | None, report: Report | None
) -> list[tuple[GraphTransformer, EpochReport]]:
    """Trains all members, on a CPU beside each other: each in a process with its share of torch's threads.

    Args:
        members: what to train.
        n_jobs: the largest number of processes, as in joblib; None: one a core.
        report: called after every epoch of each.
    """
    import joblib

    workers = min(joblib.effective_n_jobs(-1 if n_jobs is None else n_jobs), len(members))
    if workers == 1 or find_device(members[0].device).type != "cpu":
        return [member.fit(report) for member in members]
    threads = max(1, torch.get_num_threads() // workers)
    parallel = joblib.parallel_config("loky", n_jobs=workers, inner_max_num_threads=threads)
    with _watched(report) as folder, parallel, warnings.catch_warnings():
        # A process that has trained holds more memory than before, and joblib then puts a new one in its place.
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given to the executor")
        done = joblib.Parallel()(joblib.delayed(_fit_in_process)(member, threads, folder) for member in members)
    trained = []
    for member, (weights, progress) in zip(members, done, strict=True):
        with torch.device("meta"):
            model = GraphTransformer(**member.model_options)
        model.load_state_dict(weights, assign=True)
        trained.append((model.eval(), progress))
    return trained


def _fit_in_process(member: Member, threads: int, folder: Path | None) -> tuple[dict[str, Tensor], EpochReport]:
    torch.set_num_threads(threads)

    def report(progress: EpochReport) -> None:
        if folder is not None:
            write_atomically(folder / f"{member.number}.json", json.dumps(asdict(progress)).encode())

    model, progress = member.fit(report)
    return model.state_dict(), progress


@contextmanager
def _watched(report: Report | None) -> Iterator[Path | None]:
    """A folder into which processes write the report of each member, a file each; what is new there is passed on."""
    if report is None:
        yield None
        return
    seen: dict[Path, bytes] = {}
    over = threading.Event()

    def pass_on(folder: Path) -> None:
        for path in sorted(folder.glob("*.json")):
            content = path.read_bytes()
            if seen.get(path) != content:
                seen[path] = content
                report(EpochReport(**json.loads(content)))

    def watch(folder: Path) -> None:
        while not over.wait(_GLANCE):
            pass_on(folder)

    with tempfile.TemporaryDirectory(prefix="graphattn-") as name:
        folder = Path(name)
        watcher = threading.Thread(target=watch, args=(folder,), daemon=True)
        watcher.start()
        try:
            yield folder
        finally:
            over.set()
            watcher.join()
        pass_on(folder)
