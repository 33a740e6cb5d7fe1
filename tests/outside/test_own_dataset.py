"""A data set that the package knows nothing of is trained on, evaluated and explained by the commands as they are."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from script_runs import ROOT

PROGRAM = Path(__file__).with_name("own_dataset.py")
SMALL = ["--num-epochs", "3", "--batch-size", "20", "--channel-times", "1", "--pad", "0", "--no-mirror", "--lr", "0.1"]


def run(cwd, *argv):
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLUON_AFF_NATIVE": "0", "PATH": "/usr/bin:/bin"}
    command = [sys.executable, str(PROGRAM), *map(str, argv)]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_data_set_of_ones_own(tmp_path):
    assert len(PROGRAM.read_text().splitlines()) < 40
    out = run(tmp_path, "train", "cifar", "--dataset", "bars", *SMALL, "--gpus", "", "--save-dir", "run")
    assert "data: bars, 2 classes; 200 training and 200 test images of 32x32 from drawn" in out
    logged = json.loads((tmp_path / "run/history.jsonl").read_text().splitlines()[-1])["val"]
    report = json.loads(run(tmp_path, "evaluate", "--weights", "run/best", "--gpus", "", "--json", "-"))
    assert report["dataset"] == "bars" and report["images"] == 200
    assert report["top1"] >= logged and report["claim"]["value"] == report["top1"]
    assert [row["name"] for row in report["per_class"]] == ["lying", "standing"]

    image = np.full((32, 32, 3), 50, np.uint8)
    image[10:13] = 220
    (tmp_path / "lying").mkdir()
    Image.fromarray(image).save(tmp_path / "lying" / "bar.png")
    run(tmp_path, "gradcam", "--weights", "run", "--images", "lying", "--gpus", "", "--out", "seen")
    (row,) = csv.DictReader((tmp_path / "seen/predictions.csv").open())
    assert row["truth"] == "lying" and row["predicted"] in ("lying", "standing")
