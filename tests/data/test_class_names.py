"""Names of classes and the numbers they stand for."""

import pytest

from gluon_aff.data.registry import ClassNames, known_classes
from gluon_aff.errors import UsageError


@pytest.mark.parametrize(
    "data, count, some",
    [
        ({"dataset": "cifar10"}, 10, {0: "airplane", 9: "truck"}),
        ({"dataset": "cifar100", "labels": "fine"}, 100, {0: "apple", 50: "mouse", 99: "worm"}),
        ({"dataset": "cifar100", "labels": "coarse"}, 20, {0: "aquatic_mammals", 19: "vehicles_2"}),
        ({"dataset": "digits"}, 10, {3: "3"}),
        ({"dataset": "imagenet"}, 1000, {0: "tench", 999: "toilet tissue, toilet paper, bathroom tissue"}),
    ],
)
def test_of_known_sets(data, count, some):
    names = known_classes(data, count)
    assert len(names.names) == count
    for number, name in some.items():
        assert names[number].startswith(name.split(",")[0]) and names.find(names[number]) is not None
    if data["dataset"].startswith("cifar"):
        assert list(names.names) == sorted(names.names)  # as in the official archives
    if data["dataset"] == "imagenet":
        assert names.find("n01440764") == 0


def test_of_a_folder(tmp_path):
    for name in ("b", "a"):
        (tmp_path / "train" / name).mkdir(parents=True)
        (tmp_path / "train" / name / "1.png").write_bytes(b"")
    for dataset in ("folder", "imagenet"):
        assert known_classes({"dataset": dataset, "data": str(tmp_path)}, 2).names == ("a", "b")
        assert known_classes({"dataset": dataset, "data": str(tmp_path / "gone")}, 2) is None
    assert known_classes({}, 2) is None


def test_numbers_and_names_of_users():
    names = ClassNames(("cat", "dog"), {"n02": 1})
    assert [names.number(text, 3) for text in ("dog", "n02", "0", "2")] == [1, 1, 0, 2]
    assert names[2] == "class 2"
    with pytest.raises(UsageError, match="no class 'dgo': did you mean dog"):
        names.number("dgo", 3)
    with pytest.raises(UsageError, match=r"no class 3: the network has 3 \(0 to 2\)"):
        names.number("3", 3)
    with pytest.raises(UsageError, match="give a number, 0 to 4"):
        ClassNames(()).number("dog", 5)
