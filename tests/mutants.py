"""Code with one thing changed, to see whether a test would notice: an operator, a comparison, a sign or a number."""

import ast
import types
from collections.abc import Callable, Iterator
from pathlib import Path

SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}


def mutants_of(module: types.ModuleType) -> Iterator[tuple[str, types.ModuleType]]:
    """Copies of a module, each with one change within its functions, and what was changed, after the line.

    Names that it imports from elsewhere stay what they are.
    """
    assert module.__file__ is not None
    source = Path(module.__file__).read_text()
    lines = source.splitlines()
    for place, node in enumerate(_nodes(ast.parse(source))):
        if not _changes(node):
            continue
        tree = ast.parse(source)
        changed = _nodes(tree)[place]
        before = ast.unparse(changed)
        _change(changed)
        ast.fix_missing_locations(tree)
        mutant = types.ModuleType(module.__name__)
        exec(compile(tree, module.__file__, "exec"), mutant.__dict__)
        yield f"{lines[changed.lineno - 1].strip()}: {before} -> {ast.unparse(changed)}", mutant


def survivors(module: types.ModuleType, check: Callable[[types.ModuleType], None]) -> list[str]:
    """The changes with which the check of a module still passes; it must pass without any.

    Args:
        module: unchanged.
        check: raises where a module, this one or a copy, computes something wrong.
    """
    check(module)
    return [description for description, mutant in mutants_of(module) if _passes(check, mutant)]


def _passes(check: Callable[[types.ModuleType], None], mutant: types.ModuleType) -> bool:
    try:
        check(mutant)
    except Exception:  # whatever happens, the change was noticed
        return False
    return True


def _nodes(tree: ast.Module) -> list[ast.AST]:
    """All nodes of the functions' bodies and of the module's constants: defaults and annotations are no arithmetic."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    statements = [statement for function in functions for statement in function.body]
    assigned = [node.value for node in tree.body if isinstance(node, ast.Assign)]
    constants = [value for value in assigned if not any(isinstance(node, ast.Name) for node in ast.walk(value))]
    return [node for part in (*statements, *constants) for node in ast.walk(part)]


def _changes(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp | ast.AugAssign):
        return type(node.op) in SWAPPED
    if isinstance(node, ast.Compare):
        return len(node.ops) == 1 and type(node.ops[0]) in SWAPPED
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.USub | ast.Invert | ast.Not)
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def _change(node: ast.AST) -> None:
    if isinstance(node, ast.BinOp | ast.AugAssign):
        node.op = SWAPPED[type(node.op)]()
    elif isinstance(node, ast.Compare):
        node.ops = [SWAPPED[type(node.ops[0])]()]
    elif isinstance(node, ast.UnaryOp):
        node.operand = ast.UnaryOp(node.op, node.operand)  # twice is none
    elif isinstance(node, ast.Constant):
        node.value += 1 if node.value + 1 != node.value else node.value
