"""Rules of the house that no linter knows: floors, type hints, what an import may do."""

import ast
from pathlib import Path

from script_runs import in_a_process

import gluon_aff
from gluon_aff.nn import AUTHORS_KEYS

PACKAGE = Path(gluon_aff.__file__).resolve().parent
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}

SCRIPTS = sorted(PACKAGE.parent.glob("train_*.py"))

# Every room, from the roof down to the ground: a folder or a loose module of the package, or a script. Imports point
# down this list. What stands in a line of its own here is where a newcomer looks for it.
ROOMS = [
    ("__main__",),
    ("train_cifar", "train_imagenet", "train_seg"),
    ("__init__", "cli"),
    ("gradcam", "comparison"),
    ("tasks",),
    ("evaluation",),
    ("zoo", "deploy", "upstream"),
    ("published", "segmentation"),
    ("training", "models", "launching", "data"),
    ("nn",),
    ("runtime", "utils", "facts"),
    ("errors", "_version"),
]
# Big, slow to import, or not installed everywhere.
HEAVY = {"gluoncv", "matplotlib", "sklearn", "cv2", "pandas", "onnx", "onnxruntime", "openvino"}


def module_of(path):
    """gluon_aff/nn/names.py -> ("gluon_aff", "nn", "names"); a package is its folder."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def room_of(module):
    """The folder or loose module below gluon_aff that a module belongs to; a script is a room itself."""
    if module[0] != "gluon_aff":
        return module[0]
    return module[1] if len(module) > 1 else "__init__"


def imported(path, tree):
    """Modules of gluon_aff that a file imports anywhere, as tuples of names."""
    package = module_of(path) if path.name == "__init__.py" else module_of(path)[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            base += tuple((node.module or "").split(".")) if node.module else ()
            found = [(*base, alias.name) for alias in node.names]
        else:
            continue
        yield from (module for module in found if module[0] == "gluon_aff")


def arrows():
    """(room, room that it imports) -> a file that does."""
    found = {}
    trees = {**TREES, **{path: ast.parse(path.read_text(encoding="utf-8")) for path in SCRIPTS}}
    for path, tree in trees.items():
        for module in imported(path, tree):
            arrow = room_of(module_of(path)), room_of(module)
            if arrow[0] != arrow[1]:
                found[arrow] = path.name
    return found


def test_every_room_is_known():
    known = {room for line in ROOMS for room in line}
    there = {path.stem for path in [*PACKAGE.glob("*.py"), *SCRIPTS]}
    there |= {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert known == there


def test_imports_point_down():
    line = {room: number for number, rooms in enumerate(ROOMS) for room in rooms}
    found = arrows()
    assert ("zoo", "models") in found  # the search finds something
    assert not {arrow: path for arrow, path in found.items() if line[arrow[0]] >= line[arrow[1]]}


def imported_outside_functions(node):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name.split(".")[0] for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and not child.level:
            yield child.module.split(".")[0]
        elif not isinstance(child, (ast.FunctionDef, ast.Lambda)):
            yield from imported_outside_functions(child)


def test_heavy_packages_are_imported_only_where_they_are_needed():
    found = {path.name: set(imported_outside_functions(tree)) & HEAVY for path, tree in TREES.items()}
    assert not {name: packages for name, packages in found.items() if packages}


def test_public_functions_have_type_hints():
    """In nn/ and models/, where ruff does not ask for them: F of ``hybrid_forward`` is a module, x array or symbol."""
    missing, seen = [], 0
    for path in [*PACKAGE.glob("nn/*.py"), *PACKAGE.glob("models/*.py")]:
        for node in ast.walk(TREES[path]):
            if not isinstance(node, ast.FunctionDef) or (node.name.startswith("_") and node.name != "__init__"):
                continue
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            arguments = [argument for argument in arguments if argument.arg not in ("self", "cls")]
            seen += 1
            if any(argument.arg == "F" for argument in arguments):
                continue
            missing += [f"{path.name}: {node.name}({each.arg})" for each in arguments if each.annotation is None]
            missing += [f"{path.name}: {node.name} -> ?"] * (node.returns is None and node.name != "__init__")
    assert seen > 100
    assert not missing


def docstrings(tree):
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            body = node.body[0] if node.body else None
            if isinstance(body, ast.Expr) and isinstance(body.value, ast.Constant):
                yield body.value


def test_the_authors_keys_are_written_down_once():
    keys = set(AUTHORS_KEYS) | {f"{key}Fuse" for key in AUTHORS_KEYS}
    homes = set()
    for path, tree in TREES.items():
        prose = {id(node) for node in docstrings(tree)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and node.value in keys and id(node) not in prose:
                homes.add((str(path.relative_to(PACKAGE)), node.value))
    operators = {("deploy/onnx.py", "Concat")}  # ONNX's
    assert {path for path, _ in homes - operators} == {"nn/names.py"}


IMPORT = f"""
import sys
NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request")
PROCESS = ("subprocess.Popen", "os.fork", "os.forkpty", "os.system", "os.exec", "os.posix_spawn", "os.spawn")
seen = []

def ours():
    frame = sys._getframe(2)
    while frame:
        if frame.f_code.co_filename.startswith({str(PACKAGE)!r}):
            return True
        if "-packages" in frame.f_code.co_filename:
            return False
        frame = frame.f_back
    return False

def watch(event, arguments):
    if event in NETWORK or (event in PROCESS and ours()):
        seen.append(event)
        raise RuntimeError(f"importing gluon_aff asked for {{event}} {{arguments}}")

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in {HEAVY!r}:
            raise ImportError(f"{{name}} is not to be needed")

sys.addaudithook(watch)
sys.meta_path.insert(0, Absent())
import gluon_aff, os
print(gluon_aff.__version__, "mxnet" in sys.modules, os.environ["OMP_NUM_THREADS"], *seen)
"""


def test_import_touches_no_network_starts_no_process_and_needs_no_heavy_package():
    """What NumPy and MXNet do is their affair: some versions start uname or lscpu, MXNet imports pandas if it can.

    Outside our own commands MXNet is imported at once, and threads stay as they are set.
    """
    done = in_a_process(IMPORT, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [gluon_aff.__version__, "True", "1"]
