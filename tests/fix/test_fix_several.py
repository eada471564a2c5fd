"""Several methods beside one control: what is trained, what is skipped, and which is recommended."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import torch
import toys
from trainings import settings

from spuraudit.data import open_dataset
from spuraudit.errors import DataError, FixError, NotEvaluatedError, UsageError
from spuraudit.fix.catalogue import METHODS
from spuraudit.fix.job import Job, Prepared
from spuraudit.fix.methods.base import Method
from spuraudit.fix.prepare import Fix, Wanted, prepare_fix
from spuraudit.fix.several import recommend, try_methods
from spuraudit.models import load
from spuraudit.record.fix import FixVerdict, read_fix
from spuraudit.record.fix_trials import FixTrials, Standing, Trial, read_trials
from spuraudit.record.folder import read_record, sha256_of
from spuraudit.record.settings import ScanSettings
from spuraudit.runs.prepare import Machine
from spuraudit.runs.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SCAN = ScanSettings(audits=("noise",), trials=1, allow_chance=True)


class Bench:
    """A model and data, and methods tried on them."""

    def __init__(self, folder: Path, toy: toys.Toy, **wanted: Any) -> None:
        self.dataset = open_dataset(str(toys.draw(folder / "data", toy)))
        self.model = load(str(toys.save_cnn(folder / "model.pt", {"object": 1.0, "frame": 1.5})), device="cpu")
        self.progress = Silent()
        self.wanted = Wanted(**{"training": settings(epochs=1, lr=1e-6), "scan": SCAN, **wanted})

    def prepare(self, method: Method) -> Fix:
        return prepare_fix(self.model, self.dataset, method, self.wanted, Machine(32, 1), self.progress)

    def tried(self, folder: Path, names: Sequence[str], options: Any = None, budget: str | None = None) -> FixTrials:
        return try_methods(self.prepare, names, options or {}, folder, self.progress, budget=budget)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Half of the frames are those of another class, and the network believes the frame."""
    return Bench(tmp_path_factory.mktemp("bench"), toys.Toy(train=12, test=16, odd_every=2))


@pytest.fixture(scope="module")
def tried(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> tuple[FixTrials, Path]:
    folder = tmp_path_factory.mktemp("tried")
    options = {"dfr": {"averages": 2}}
    names = ["crayon-pruning", "corm", "dfr", "swap", "erm"]
    return bench.tried(folder, names, options), folder


def test_the_control_is_trained_and_scanned_once(tried: tuple[FixTrials, Path]) -> None:
    _, folder = tried
    states = sorted(str(file.parent.relative_to(folder)) for file in folder.rglob("state.pt"))
    assert states == ["corm/training/control", "corm/training/fixed", "swap/training/fixed"]
    parts = {sha256_of(file) for file in folder.glob("*/control/observations/*.parquet")}
    assert len(parts) == 1
    stamps = {file.stat().st_mtime_ns for file in (folder / "corm").glob("control/observations/*.parquet")}
    # Copies keep their time: nothing was asked again.
    assert all(file.stat().st_mtime_ns in stamps for file in folder.glob("*/control/observations/*.parquet"))


def test_each_folder_is_whole_by_itself(tried: tuple[FixTrials, Path], tmp_path: Path) -> None:
    trials, folder = tried
    for trial in trials.trials:
        if trial.status != "done":
            assert not (folder / trial.method).exists()
            continue
        moved = (folder / trial.method).rename(tmp_path / trial.method)
        record = read_fix(moved)
        assert record.method.name == trial.method
        for arm in (record.arms.control, record.arms.fixed):
            assert sha256_of(moved / arm.checkpoint) == arm.checkpoint_sha256
            assert sha256_of(moved / arm.run / "scan.json") == arm.record_sha256
        assert read_record(moved / "before").data.images == 48
        moved.rename(folder / trial.method)


def test_what_was_found(tried: tuple[FixTrials, Path]) -> None:
    trials, folder = tried
    assert read_trials(folder) == trials
    status = {trial.method: trial.status for trial in trials.trials}
    assert status == {"crayon-pruning": "skipped", "corm": "done", "dfr": "done", "swap": "done", "erm": "done"}
    skipped = trials.trials[0]
    assert skipped.reason
    assert skipped.standings == []
    assert (trials.measure, trials.recommended) == ("worst_group_accuracy", "dfr")
    dfr = {standing.metric: standing for standing in trials.trials[2].standings}
    worst = dfr["worst_group_accuracy"]
    assert (worst.before, worst.control, worst.fixed) == (0.0, 0.0, 1.0)
    assert worst.gain.gain == 1.0
    assert {trial.standings[0].control for trial in trials.trials if trial.standings} == {0.0}


def test_options_reach_their_method(tried: tuple[FixTrials, Path]) -> None:
    _, folder = tried
    assert read_fix(folder / "dfr").method.options["averages"] == 2
    assert read_fix(folder / "corm").method.sources["weight"] != "given"


def test_again_and_one_more_trains_only_that(bench: Bench, tried: tuple[FixTrials, Path]) -> None:
    trials, folder = tried
    kept = {file: file.stat().st_mtime_ns for file in folder.rglob("state.pt")}
    names = ["crayon-pruning", "corm", "dfr", "swap", "erm", "rrr"]
    again = bench.tried(folder, names, {"dfr": {"averages": 2}})
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    assert [trial.standings for trial in again.trials[:5]] == [trial.standings for trial in trials.trials]
    assert again.trials[5].status == "done"


def test_a_method_that_fails_stops_nobody_and_its_control_serves_the_others(tmp_path: Path) -> None:
    # Object and frame always agree: the early model makes no errors. A penalty of this size is not finite.
    bench = Bench(tmp_path, toys.Toy(train=8, test=8), training=settings(epochs=4, lr=1e-2, schedule=None))
    trials = bench.tried(tmp_path / "tried", ["jtt", "corm", "swap"], {"corm": {"weight": 1e300}})
    assert [trial.status for trial in trials.trials] == ["failed", "failed", "done"]
    assert all(trial.seconds > 0 for trial in trials.trials)  # a budget counts what a failed training took
    assert "no misclassified training images" in (trials.trials[0].reason or "")
    assert "not finite" in (trials.trials[1].reason or "")
    controls = [str(file.parent.relative_to(tmp_path)) for file in (tmp_path / "tried").rglob("control/state.pt")]
    assert controls == ["tried/corm/training/control"]
    assert read_fix(tmp_path / "tried" / "swap").method.name == "swap"
    assert not list((tmp_path / "tried").glob("*[tm]/fix.json"))


def test_where_nothing_can_be_carried_out(tmp_path: Path) -> None:
    bench = Bench(tmp_path, toys.Toy(train=4, test=4, masks=False), scan=ScanSettings(passes=2, allow_chance=True))
    with pytest.raises(FixError, match=r"No method could be carried out\. corm: .*; swap: "):
        bench.tried(tmp_path / "tried", ["corm", "swap"])
    assert not (tmp_path / "tried" / "trials.json").exists()


@dataclass(frozen=True)
class Picky(Method):
    """Finds out while it prepares that these data are not for it, as composites do that no other image can lend to."""

    name: ClassVar[str] = "scgs"
    title: ClassVar[str] = "what no image can lend"

    def lacks(self, job: Job) -> str | None:
        return None

    def prepare(self, job: Job) -> Prepared:
        raise DataError(f"{job.train[0].id}: no other image can lend its object.")


def test_data_that_only_one_method_cannot_use_stop_nobody_else(bench: Bench, tmp_path: Path) -> None:
    def prepare(method: Method) -> Fix:
        fix = bench.prepare(method)
        return replace(fix, method=Picky(method.options)) if method.name == "scgs" else fix

    trials = try_methods(prepare, ["scgs", "erm"], {}, tmp_path, Silent())
    assert [trial.status for trial in trials.trials] == ["failed", "done"]
    assert trials.trials[0].reason == "red/train-000: no other image can lend its object."


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_image_that_cannot_be_read_is_in_every_methods_way(tmp_path: Path, split: str) -> None:
    bench = Bench(tmp_path, toys.Toy(train=6, test=6))
    torn = next(row for row in bench.dataset.images if row.split == split)
    (tmp_path / "data" / "images" / f"{torn.id}.png").write_bytes(b"torn")
    with pytest.raises(DataError, match="not an image that can be read"):
        bench.tried(tmp_path / "tried", ["swap", "corm", "rrr"])
    assert not (tmp_path / "tried" / "rrr").exists()


@dataclass(frozen=True)
class Shuffled(Method):
    """Answers every image with the next class."""

    name: ClassVar[str] = "swap"
    title: ClassVar[str] = "outputs exchanged"

    def lacks(self, job: Job) -> str | None:
        return None

    def prepare(self, job: Job) -> Prepared:
        model = job.started()
        with torch.no_grad():
            model.network.classifier.weight.copy_(model.network.classifier.weight.roll(1, dims=0))
        return Prepared(model, steps=0)


PATCHES = ScanSettings(audits=("patch_swap",), passes=2, limit_sources=1, allow_chance=True)


def test_a_fixed_model_of_which_a_scan_can_say_nothing_stops_nobody(tmp_path: Path) -> None:
    bench = Bench(tmp_path, toys.Toy(train=6, test=6), scan=PATCHES)

    def prepare(method: Method) -> Fix:
        fix = bench.prepare(method)
        return replace(fix, method=Shuffled(method.options)) if method.name == "swap" else fix

    trials = try_methods(prepare, ["swap", "erm"], {}, tmp_path / "tried", Silent())
    assert [trial.status for trial in trials.trials] == ["failed", "done"]
    assert "no source image" in (trials.trials[0].reason or "")


def test_a_delivered_model_of_which_a_scan_can_say_nothing_ends_all(tmp_path: Path) -> None:
    bench = Bench(tmp_path, toys.Toy(train=6, test=6), scan=PATCHES)
    network = bench.model.network
    with torch.no_grad():
        network.classifier.weight.copy_(network.classifier.weight.roll(1, dims=0))
    with pytest.raises(NotEvaluatedError, match="no source image"):
        bench.tried(tmp_path / "tried", ["swap", "erm"])


def test_a_budget_skips_what_would_not_end_in_it(bench: Bench, tmp_path: Path) -> None:
    trials = bench.tried(tmp_path, ["erm", "swap"], budget="0.05s")
    assert [trial.status for trial in trials.trials] == ["done", "skipped"]
    assert "of the budget are left" in (trials.trials[1].reason or "")
    assert not (tmp_path / "swap").exists()
    assert (trials.budget, trials.recommended, trials.measure) == ("0.05s", None, None)
    roomy = bench.tried(tmp_path, ["erm", "swap"], budget="1h")
    assert [trial.status for trial in roomy.trials] == ["done", "done"]


def test_a_budget_that_is_no_time(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--budget 'soon': a time was expected, such as 90s, 10m or 2h"):
        bench.tried(tmp_path, ["erm", "swap"], budget="soon")


# -- which to take -----------------------------------------------------------------------------------------------------


def standing(metric: str, gain: float, low: float, high: float) -> Standing:
    outcome = "gained" if low > 0 else "lost" if high < 0 else "nothing"
    verdict = FixVerdict(metric=metric, outcome=outcome, gain=gain, ci=(low, high), n=50)  # type: ignore[arg-type]
    return Standing(metric=metric, before=0.5, control=0.5, fixed=0.5 + gain, gain=verdict)


def trial(method: str, *standings: Standing, status: str = "done") -> Trial:
    title = METHODS[method].title
    return Trial(method=method, title=title, status=status, standings=list(standings))  # type: ignore[arg-type]


WORST, CORE, CLEAN = "worst_group_accuracy", "core_accuracy", "clean_accuracy"
KEPT = standing(CLEAN, 0.0, -0.02, 0.02)


def test_reasons_name_no_folder_of_the_machine(tmp_path: Path) -> None:
    def prepare(method: Method) -> Fix:
        raise FixError(f"{method.name} stopped. The weights are in {tmp_path / 'swap' / 'last_good.pt'}.")

    with pytest.raises(FixError, match=r"swap stopped\. The weights are in last_good\.pt") as caught:
        try_methods(prepare, ["swap"], {}, tmp_path, Silent())
    assert str(tmp_path) not in caught.value.message


def test_a_gain_over_a_ruined_control_is_not_recommended() -> None:
    gained = standing(WORST, 0.4, 0.3, 0.5)
    worse = gained.model_copy(update={"before": 0.95, "control": 0.5, "fixed": 0.9})
    assert recommend([trial("dfr", worse, KEPT)])[:2] == (WORST, None)
    assert recommend([trial("dfr", worse.model_copy(update={"before": 0.85}), KEPT)])[1] == "dfr"


def test_the_largest_lower_end_wins() -> None:
    wide, narrow = standing(WORST, 0.4, 0.05, 0.7), standing(WORST, 0.2, 0.15, 0.25)
    measure, method, reason = recommend([trial("swap", wide, KEPT), trial("dfr", narrow, KEPT)])
    assert (measure, method) == (WORST, "dfr")
    assert "dfr: +20.0 points of worst group accuracy over the control (95 % +15.0 to +25.0)" in reason


def test_how_many_were_compared_is_said() -> None:
    """Each interval holds with 95 %; of many, one lies above 0 by chance more often than 2.5 times in 100."""
    gained, nothing = standing(WORST, 0.2, 0.1, 0.3), standing(WORST, 0.0, -0.1, 0.1)
    trials = [trial("dfr", gained, KEPT), *(trial(name, nothing, KEPT) for name in ("swap", "corm", "erm"))]
    _, method, reason = recommend(trials)
    assert method == "dfr"
    assert "the best of 3 methods looks a little better than it is" in reason
    assert "with 3 methods that do nothing the chance that at least one looks sure is up to 7.5 %" in reason
    alone = recommend(trials[:1])[2]
    assert alone.endswith("no clean accuracy lost.")
    ten = [trial(name, gained, KEPT) for name in METHODS if name != "erm"]
    assert f"up to {2.5 * len(ten):g} %" in recommend(ten)[2]


def test_a_method_that_loses_clean_accuracy_is_not_recommended() -> None:
    best, second = standing(WORST, 0.5, 0.4, 0.6), standing(WORST, 0.1, 0.05, 0.15)
    lost = standing(CLEAN, -0.1, -0.15, -0.05)
    assert recommend([trial("swap", best, lost), trial("dfr", second, KEPT)])[1] == "dfr"
    assert recommend([trial("swap", best, lost)])[:2] == (WORST, None)


def test_none_is_recommended_where_none_is_sure() -> None:
    unsure = trial("swap", standing(WORST, 0.3, -0.01, 0.6), KEPT)
    unknown = trial(
        "dfr",
        Standing(metric=WORST, before=None, control=None, fixed=None, gain=FixVerdict(metric=WORST, outcome="unknown")),
    )
    assert recommend([unsure, unknown])[:2] == (WORST, None)
    assert "No method gained worst group accuracy" in recommend([unsure])[2]


def test_plain_training_is_never_recommended() -> None:
    gained = standing(WORST, 0.3, 0.2, 0.4)
    assert recommend([trial("erm", gained, KEPT)])[:2] == (None, None)
    assert recommend([trial("erm", gained, KEPT), trial("swap", standing(WORST, 0.1, 0.05, 0.2), KEPT)])[1] == "swap"


def test_the_measure_is_the_best_that_the_data_allow() -> None:
    core, clean = standing(CORE, 0.3, 0.2, 0.4), standing(CLEAN, 0.1, 0.05, 0.2)
    assert recommend([trial("swap", clean, core)])[:2] == (CORE, "swap")
    assert recommend([trial("swap", clean)])[:2] == (CLEAN, "swap")
    mean = standing("mean_group_accuracy", 0.9, 0.8, 1.0)
    assert recommend([trial("swap", standing(WORST, 0.1, 0.05, 0.2), mean), trial("dfr", mean)])[:2] == (WORST, "swap")


def test_what_failed_does_not_count() -> None:
    gained = standing(WORST, 0.3, 0.2, 0.4)
    assert recommend([trial("swap", gained, status="failed")])[:2] == (None, None)
