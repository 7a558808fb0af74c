"""The layout as a rule: imports go strictly down the floors, siblings stay apart, each library has one door."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FLOORS = {
    "lightning_face": (
        {"errors", "hashing", "files", "directions", "finite", "signals", "watchdog"},
        {"losses", "models", "distributed", "optim", "attempts"},
        {"tables", "data", "evaluation"},
        {"objectives"},
        {"checkpoint", "loggers"},
        {"engines", "launcher"},
        {"trainer", "recorded", "parser"},
        {"module"},
        {"callbacks", "doctor"},
        {"checks"},
        {"cli"},
        {"commands"},
        {"__main__"},
    ),
    "data_prep": (
        {"images", "progress", "tars"},
        {"alignment", "pool", "samples"},
        {"passes"},
        {"sources"},
        {"audit", "verification"},
        {"synthetic"},
        {"arguments"},
        {"source_commands"},
        {"cli"},
        {"__main__"},
    ),
}
"""Files and folders of each package, the lowest floor first; those of one floor are siblings."""

DOORS = {
    "lightning_face": {
        "PIL": set(),
        "cv2": set(),
        "deepspeed": {"lightning_face.engines.zero"},
        "matplotlib": {"lightning_face.evaluation.drawing"},
        # Each prints one table.
        "rich": {"lightning_face.callbacks.summary", "lightning_face.commands.doctor"},
        "safetensors": {"lightning_face.checkpoint.tensor_file"},
        "simplejpeg": {"lightning_face.data.decode"},
        "timm": {"lightning_face.models.timm_backbone"},
        "torchmetrics": {"lightning_face.evaluation.roc"},
        "torchvision": {"lightning_face.data.device_decode"},
        "wandb": {"lightning_face.loggers.wandb_run"},
        "webdataset": set(),
    },
    "data_prep": {
        "PIL": {"data_prep.images"},
        # One draws, the other warps photographs; they share no line.
        "cv2": {"data_prep.alignment", "data_prep.synthetic.rendering.canvas"},
        "imagehash": {"data_prep.images"},
        "matplotlib": {"data_prep.passes.report"},
        "rich": {"data_prep.progress"},
        # One decodes and checks, the other encodes what it draws; they share no line.
        "simplejpeg": {"data_prep.images", "data_prep.synthetic.pictures"},
    },
}
"""The modules that import each third-party library besides torch, numpy and Lightning, which are everywhere."""

EVERYWHERE = {"lightning_face": {"numpy", "torch", "pytorch_lightning"}, "data_prep": {"numpy"}}


@cache
def imports_of_modules(package: str) -> dict[str, frozenset[str]]:
    """Modules of a package, and what each of them imports anywhere in its text, as dotted names of modules."""
    paths = {_module_name(path): path for path in sorted((ROOT / package).rglob("*.py"))}
    return {module: frozenset(_imports(path, module)) for module, path in paths.items()}


def _module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _imports(path: Path, module: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None and node.level == 0, f"{module}: imports are absolute"
            # `from package import module` names a module too.
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name for name in inner if _is_module(name)} or {node.module}
    return names


def _is_module(name: str) -> bool:
    place = ROOT.joinpath(*name.split("."))
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


def _unit(module: str) -> str:
    """The file or folder right inside the package that a module belongs to."""
    return module.split(".")[1]


def _library(module: str) -> str:
    return module.split(".")[0]


@pytest.mark.parametrize("package", FLOORS)
def test_every_module_stands_on_a_floor(package: str) -> None:
    units = {_unit(module) for module in imports_of_modules(package) if "." in module}
    assert units == set().union(*FLOORS[package])
    assert imports_of_modules(package)[package] == frozenset()


@pytest.mark.parametrize("package", FLOORS)
def test_imports_go_strictly_down(package: str) -> None:
    floor_of = {unit: floor for floor, units in enumerate(FLOORS[package]) for unit in units}
    upward = [
        f"{module} imports {imported}"
        for module, names in imports_of_modules(package).items()
        for imported in names
        if _library(imported) == package
        and _unit(module) != _unit(imported)
        and floor_of[_unit(imported)] >= floor_of[_unit(module)]
    ]
    assert not upward


@pytest.mark.parametrize("package", FLOORS)
def test_no_import_circle(package: str) -> None:
    graph = {
        module: {name for name in names if _library(name) == package and name != module}
        for module, names in imports_of_modules(package).items()
    }
    TopologicalSorter(graph).prepare()  # raises CycleError and names the circle


def test_the_trainer_does_not_know_data_prep() -> None:
    for module, names in imports_of_modules("lightning_face").items():
        assert "data_prep" not in {_library(name) for name in names}, module


def test_data_prep_knows_the_data_and_the_lowest_floor_alone() -> None:
    own = {name for names in imports_of_modules("data_prep").values() for name in names}
    used = {_unit(name) for name in own if _library(name) == "lightning_face"}
    assert used <= {"data", "errors", "hashing", "files"}


@pytest.mark.parametrize("package", DOORS)
def test_each_library_has_one_door(package: str) -> None:
    doors: dict[str, set[str]] = {library: set() for library in DOORS[package]}
    for module, names in imports_of_modules(package).items():
        for library in {_library(name) for name in names} - sys.stdlib_module_names - EVERYWHERE[package]:
            if library not in ("lightning_face", "data_prep"):
                doors.setdefault(library, set()).add(module)
    assert doors == DOORS[package]


@pytest.mark.parametrize("unit", ["losses", "models", "optim"])
def test_tensors_know_no_processes_and_no_lightning(unit: str) -> None:
    for module, names in imports_of_modules("lightning_face").items():
        if module.startswith(f"lightning_face.{unit}"):
            assert not {name for name in names if name.startswith(("torch.distributed", "pytorch_lightning"))}, module


def test_one_place_asks_for_rank_and_world_size() -> None:
    doors = {
        module
        for module, names in imports_of_modules("lightning_face").items()
        if any(name.startswith("torch.distributed") for name in names)
    }
    # Engines share modules out, and ask for nothing.
    assert {_unit(door) for door in doors} <= {"distributed", "engines"}


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("lightning_face.losses", "pytorch_lightning"),
        ("lightning_face.__main__", "torch"),  # signals count from its first line on
        ("data_prep.__main__", "torch"),
        ("data_prep.__main__", "matplotlib"),
        ("data_prep.__main__", "imagehash"),
    ],
)
def test_import_stays_light(module: str, unwanted: str) -> None:
    program = f"import sys, {module}; sys.exit({unwanted!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
