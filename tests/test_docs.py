"""README and docs against the package: their commands parse, their Python runs, the files they name exist."""

import argparse
import importlib.util
import re
import shlex
import sys
from pathlib import Path

import mxnet as mx
import pytest
from PIL import Image
from script_runs import load_script, subcommands

import gluon_aff
from gluon_aff import deploy, published
from gluon_aff.cli.main import build_parser
from gluon_aff.errors import UsageError
from gluon_aff.tasks import get_task, task_of_host
from gluon_aff.utils import console

ROOT = Path(gluon_aff.__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += [*sorted((ROOT / "params").rglob("*.md")), *sorted((ROOT / "experiments").rglob("*.md"))]
PAGES += [ROOT / "benchmarks" / "README.md"]

pytestmark = pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="only in a clone")

PYTHON = ("python", "py")
COMMANDS = ("", "sh", "bash", "shell", "console")
FOREIGN = {"pip", "pip-licenses", "pre-commit", "twine", "nvidia-smi", "git", "ssh", "cd", "export", "bash", "mkdir"}
FENCE = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def fences(text):
    """(language, content) of every fenced block."""
    for match in FENCE.finditer(text):
        yield match.group(2).strip(), re.sub(f"^{match.group(1)}", "", match.group(3), flags=re.MULTILINE)


def prose(text):
    return FENCE.sub("", text)


def indented(text):
    """Blocks of lines indented by four spaces behind an empty line."""
    for match in re.finditer(r"(?:^\n|\A)((?:^ {4}[^\n]*\n)+)", prose(text) + "\n", re.MULTILINE):
        yield re.sub(r"^ {4}", "", match.group(1), flags=re.MULTILINE)


def commands(text):
    """Every command in blocks for a shell, as lists of words; what a command prints is none."""
    blocks = [(language, block) for language, block in fences(text) if language in COMMANDS]
    blocks += [("", block) for block in indented(text)]
    for language, block in blocks:
        for line in block.replace("\\\n", " ").splitlines():
            shown = line.startswith("$ ") or language in ("sh", "bash", "shell")
            words = (
                shlex.split(line[2:] if line.startswith("$ ") else line, comments=True) if shown or ours(line) else []
            )
            yield from split(words)


def ours(line):
    return re.match(r"\s*(\S*/)?(gluon-aff|python3? (-m gluon_aff|train_|benchmarks|experiments))\b", line) is not None


def split(words):
    """The commands that && and the like join, without variables set before them."""
    command = []
    for word in [*words, "&&"]:
        if word in ("&&", "|", ";", ">", "||"):
            while command and re.match(r"[A-Z_]+=", command[0]):
                command = command[1:]
            if command:
                yield command
            command = []
        else:
            command.append(word)


def parse(words):
    """Parse a command in this process. Raises AssertionError with what is wrong."""
    program, rest = Path(words[0]).name, [word for word in words[1:] if word not in ("...", "…")]
    if program == "gluon-aff":
        return parse_ours(rest)
    if program.startswith("python"):
        if rest[:2] == ["-m", "gluon_aff"]:
            return parse_ours(rest[2:])
        if rest[0] == "-m":
            assert rest[1] in ("venv", "pytest", "build"), f"python -m {rest[1]}: add it here if it is meant"
            return None
        script = re.fullmatch(r"train_(\w+)\.py", Path(rest[0]).name)
        if script:
            return get_task(script.group(1)).options(rest[1:])
        assert (ROOT / rest[0]).is_file(), f"there is no {rest[0]}"
        source = (ROOT / rest[0]).read_text()
        unknown = [word for word in rest[1:] if word.startswith("--") and f'"{word.split("=")[0]}"' not in source]
        assert not unknown, f"{rest[0]} has no {unknown}"
        return None
    if program.startswith("train_"):
        return get_task(program[len("train_") : -len(".py")]).options(rest)
    assert program in FOREIGN, f"{program}: no command of ours; add it here if it is meant"
    return None


def parse_ours(rest):
    args = build_parser().parse_args(rest, argparse.Namespace(argv=rest))
    if args.command == "train":
        get_task(args.task).options(args.options)
    elif args.command == "launch":
        inner = args.command_line[1:] if args.command_line[:1] == ["--"] else args.command_line
        parse(inner)
    elif args.command == "ablation":
        get_task(task_of_host(args.host).name).parser().given([word for word in args.options if word != "--"])


def failure(words):
    """What is wrong with a command, or None."""
    try:
        parse(words)
    except (UsageError, AssertionError) as error:
        return f"{shlex.join(words)}: {error}"
    except SystemExit as end:
        return None if end.code == 0 else f"{shlex.join(words)}: the parser refuses it"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_parses(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wrong = [found for found in map(failure, commands(page.read_text(encoding="utf-8"))) if found]
    assert not wrong, "\n".join(wrong)


def test_commands_are_found_and_wrong_ones_fail():
    assert sum(len(list(commands(page.read_text(encoding="utf-8")))) for page in PAGES) > 40
    text = "```sh\nA=1 python train_cifar.py --no-such 1 && gluon-aff evaluate\n```\n\n"
    text += "    gluon-aff nonsense \\\n        x # y\n"
    found = list(commands(text))
    assert [words[-1] for words in found] == ["1", "evaluate", "x"]
    assert all(failure(words) for words in found)
    assert failure(["curl", "x"]) and not failure(["gluon-aff", "doctor"])


INLINE = re.compile(r"`(gluon-aff|python train_\w+\.py|train_\w+\.py) ([^`]+)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_flag_of_an_inline_command_is_known(page):
    """`gluon-aff evaluate RUN` in running text need not be complete, but has no unknown part."""
    wrong = []
    for program, rest in INLINE.findall(prose(page.read_text(encoding="utf-8")).replace("\n", " ")):
        words = rest.split(" -- ")[0].split()
        if program == "gluon-aff":
            known = subcommand(words)
            if known is None:
                wrong.append(f"{program} {rest}")
                continue
            flags = {flag for action in known._actions for flag in action.option_strings}
        else:
            flags = set(get_task(re.search(r"train_(\w+)", program).group(1)).parser()._option_string_actions)
        wrong += [
            f"{program} {rest}: {word}"
            for word in words
            if word.startswith("--") and len(word) > 2 and word not in flags
        ]
    assert not wrong


def subcommand(words):
    """The parser of the subcommand that ``words`` begin with, or of a task behind ``train``; None for none."""
    if words[0] == "train" and len(words) > 1 and words[1].islower():
        return get_task(words[1]).parser()
    known, names = dict(subcommands(build_parser())), ()
    for word in words:
        if known[names]._subparsers is None or word in ("...", "…") or word.startswith("-"):
            break
        names = (*names, word)
        if names not in known:
            return None
    return known[names]


# Python --------------------------------------------------------------------------------------------------------------


def small_network(folder):
    net = gluon_aff.create_model("cifar_aff_resnet8", channel_times=1, classes=10)
    return {"net": net, "x": mx.nd.random.normal(shape=(2, 3, 32, 32))}


def small_run(folder):
    train = ["--dataset", "digits", "--train-images", "16", "--test-images", "10", "--num-epochs", "1", "--gpus", ""]
    assert console.run(load_script("train_cifar").main, [*train, "--save-dir", "runs/mine"]) == 0
    Image.new("RGB", (40, 30), (200, 30, 30)).save(folder / "photo.jpg")
    return {}


def weight_files(folder):
    """In the places of the published files, files with the same arrays."""
    for number, model in enumerate(("release_cifar100_AFF-ResNet-32_fine_0.8357", published.id_for("aff_resnet50"))):
        place = published.place_of(model)
        place.parent.mkdir(parents=True, exist_ok=True)
        published.build(model).save_parameters(str(place))
        if number:
            (folder / "my.params").symlink_to(place)
    return {}


def small_exports(folder):
    """What deploy.md exports from runs/mine, the onnx form only where the extra is installed."""
    small_run(folder)
    (folder / "holiday").mkdir()
    (folder / "holiday" / "photo.jpg").symlink_to(folder / "photo.jpg")
    run = gluon_aff.load_run("runs/mine")
    deploy.export(run.net, "deployed/symbol", input=run.input)
    if importlib.util.find_spec("onnx") and importlib.util.find_spec("onnxruntime"):
        deploy.export(run.net, "deployed/onnx", "onnx", input=run.input, input_size=32, with_preprocessing=True)
    sys.argv[:] = ["classify.py", "deployed/onnx", "photo.jpg"]
    return {}


STAND_INS = {
    "deploy.md": small_exports,
    "seeing.md": small_network,
    "training.md": small_run,
    "weights.md": weight_files,
}


OPTIONAL = ("torch", "onnxruntime")  # packages of examples: a page ends where one is not installed


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_python_block_runs(page, tmp_path, monkeypatch, capsys):
    """Blocks of a page run one after another, as a reader would type them."""
    blocks = [block for language, block in fences(page.read_text(encoding="utf-8")) if language in PYTHON]
    if not blocks:
        return
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["docs"])
    space = {"__name__": "docs", "gluon_aff": gluon_aff, "mx": mx}
    space.update(STAND_INS.get(page.name, lambda folder: {})(tmp_path))
    absent = False
    for number, block in enumerate(blocks):
        code = compile(block, f"{page.name}, Python block {number + 1}", "exec")
        absent = absent or any(each in block and not importlib.util.find_spec(each) for each in OPTIONAL)
        if not absent:
            exec(code, space)


# Files ---------------------------------------------------------------------------------------------------------------

LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")
FOLDERS = r"gluon_aff|tests|docs|params|benchmarks|experiments|examples|\.ci"
NAMED = re.compile(rf"`((?:{FOLDERS})/[\w./-]+|[\w-]+\.(?:py|md|cff|toml))`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_exists(page):
    text = prose(page.read_text(encoding="utf-8"))
    links = [link for link, _ in LINK.findall(text) if not re.match(r"\w+:", link)]
    missing = [link for link in links if not (page.parent / link).exists()]
    for name in NAMED.findall(text):
        places = [ROOT, page.parent, ROOT / "gluon_aff", ROOT / "tests", ROOT / "benchmarks", ROOT / "experiments"]
        if not any((place / name).exists() for place in places) and not list(ROOT.glob(f"*/**/{Path(name).name}")):
            missing.append(name)
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_anchor_exists(page):
    for link, anchor in LINK.findall(prose(page.read_text(encoding="utf-8"))):
        if anchor and not re.match(r"\w+:", link):
            titles = re.findall(r"^#+ (.*)$", (page.parent / link).read_text(encoding="utf-8"), re.MULTILINE)
            known = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor[1:] in known, f"{link}{anchor}"
