import csv

import numpy as np
import pytest
from PIL import Image

from keras_mrisr.config import read_config
from keras_mrisr.errors import MrisrError
from keras_mrisr.tuning import read_results
from keras_mrisr.tuning.importance import importance
from keras_mrisr.tuning.plots import write_plots
from keras_mrisr.tuning.tables import front_rows, short_names, trial_rows, value_rows

MIXED = [
    {"score": 31.0, "seconds": 100.0, "ssim": 0.9},
    {"score": 33.0, "seconds": 4000.0, "ssim": 0.92, "best_epoch": 2},
    {"score": 0.0, "ill": "the discriminator has won"},
    {"status": "FAILED", "failed": "out of memory"},
    {"status": "RUNNING"},
    {"score": 32.0, "seconds": 100.0, "ssim": 0.91},
]


def test_ranking(made_search):
    results = read_results(made_search(MIXED))
    assert [trial.name for trial in results.trials] == ["01", "05", "00", "02", "03", "04"]
    assert [trial.status for trial in results.trials[2:]] == ["finished", "ill", "failed", "running"]
    assert results.best().score == 33.0
    assert results.find("02").reason == "the discriminator has won"
    assert results.find("03").reason == "out of memory"
    # 05 has the cost of 00 and a higher score; 01 costs more and has the highest.
    assert [trial.name for trial in results.front()] == ["05", "01"]
    with pytest.raises(MrisrError, match="has no trial '99'"):
        results.find("99")


def test_tables(made_search, tmp_path):
    results = read_results(made_search(MIXED))
    columns, rows = trial_rows(results)
    assert columns == ["trial", "status", "score", "PSNR", "SSIM", "epochs", "parameters", "GFLOP", "time"]
    assert rows[0] == ["01", "finished", "33.000", "30.00", "0.9200", "3", "5,001", "0.20", "67 min"]
    assert rows[-1] == ["04", "running", "", "", "", "", "", "", ""]
    columns, rows = value_rows(results, 2)
    assert columns == ["key", "trial 01", "trial 05"]
    assert rows[0] == ["name", "edsr", "edsr"]
    assert rows[2] == ["batch_norm", "-", "-"]
    assert short_names(["a.b.name", "c.name", "c.d"]) == ["b.name", "c.name", "d"]
    assert front_rows(results)[1] == [["05", "32.000", "5,005", "0.10"], ["01", "33.000", "5,001", "0.20"]]
    results.write_table(tmp_path / "trials.csv")
    table = list(csv.DictReader((tmp_path / "trials.csv").read_text().splitlines()))
    assert len(table) == 6 and float(table[0]["score"]) == 33.0
    assert (
        table[0]["training.learning_rate"] == "0.0002" and table[3]["reason"] == "the discriminator has won"
    )


def test_best_config(made_search, tmp_path):
    results = read_results(made_search(MIXED))
    assert results.write_best(tmp_path / "best.yaml").name == "01"
    config = read_config(tmp_path / "best.yaml")
    assert config.generator == {"name": "edsr", "filters": 4, "blocks": 2, "residual_scaling": 0.5}
    assert config.training.learning_rate == 2e-4
    assert config.data == results.study.config.data


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "No trial of .* has finished yet. Run mrisr tune again: it resumes"),
        ([{"status": "RUNNING"}], "No trial of .* has finished yet. Run"),
        (
            [{"status": "FAILED", "failed": "no memory"}],
            "has finished yet, the last failed with: no memory. Run",
        ),
        (
            [{"score": 0.0, "ill": "the loss became nan."}, {"status": "RUNNING"}],
            r"All 1 trials of .* that ended fell ill, the last one: the loss became nan\. Search lower",
        ),
    ],
)
def test_nothing_found(made_search, rows, message):
    with pytest.raises(MrisrError, match=message):
        read_results(made_search(rows)).best()


def test_no_search(tmp_path, made_search):
    with pytest.raises(MrisrError, match=r"is no search: study\.yaml is missing\. Give the folder"):
        read_results(tmp_path)
    folder = made_search(MIXED)
    (folder / "trial_01/result.json").write_text("{")
    with pytest.raises(MrisrError, match=r"trial_01/result\.json cannot be read"):
        read_results(folder)


def test_importance(made_search):
    rng = np.random.default_rng(0)
    rows = []
    for rate in np.exp(rng.uniform(np.log(1e-4), np.log(1e-2), 24)):
        # The rate decides, the blocks do nothing.
        values = {"training.learning_rate": float(rate), "generator.blocks": int(rng.integers(1, 5))}
        rows.append({"score": 30 + float(np.log10(rate)), "values": values, "epochs": 3})
    found = importance(read_results(made_search(rows)))
    assert (
        next(iter(found.shares)) == "training.learning_rate" and found.shares["training.learning_rate"] > 0.9
    )
    assert sum(found.shares.values()) == pytest.approx(1)
    assert set(found.shares) == {"training.learning_rate", "generator.blocks"}, (
        "what never varies is left out"
    )
    assert found.explained > 0.8 and found.trials == 24
    assert importance(read_results(made_search(rows[:5], "few"))) is None
    equal = [{**row, "score": 30.0} for row in rows]
    assert importance(read_results(made_search(equal, "equal"))) is None
    longer = [{**row, "epochs": 1 + number % 3} for number, row in enumerate(rows)]
    assert "epochs trained" in importance(read_results(made_search(longer, "longer"))).shares


def test_plots(made_search, tmp_path):
    rows = [{**row, "score": row["score"] + number / 10} if "score" in row and "ill" not in row else row
            for number, row in enumerate(3 * MIXED)]  # fmt: skip
    results = read_results(made_search(rows))
    written = write_plots(results, tmp_path / "plots")
    assert [path.name for path in written] == ["parallel.png", "pareto.png", "importance.png"]
    for path in written:
        image = np.asarray(Image.open(path).convert("L"))
        assert min(image.shape) >= 200 and image.std() > 5
    one = write_plots(read_results(made_search(MIXED[:1], "one")), tmp_path / "other")
    assert [path.name for path in one] == ["parallel.png", "pareto.png"]
    assert sorted(path.name for path in (tmp_path / "other").iterdir()) == ["parallel.png", "pareto.png"]
