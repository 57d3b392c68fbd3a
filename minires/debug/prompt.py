"""A debugger's prompt inside a function that does not call `breakpoint()` itself.

`breakpoint()` opens the debugger in the function that calls it, so a prompt inside an op's arithmetic needs that call in
the op. `with_breakpoint` writes it there, in a copy that has the file, the lines and the names of the original: for a
debugger, and for whoever reads its screen, the copy is the function.
"""
import ast
import linecache
import sys
import types
from collections.abc import Callable
from typing import Any


def with_breakpoint(function: Any) -> types.FunctionType | None:
    """A copy of a method that opens the debugger before its first statement; None of a lambda, and without a source.

    The copy begins with `step = self.stopped_step; breakpoint()`, both on its `def` line. So pdb up to Python 3.12, ipdb
    and the debuggers of VS Code and PyCharm, which stop at the line after the call, show the first line of the body; pdb
    from 3.13 on, which stops at the call itself, shows the `def` line, one `step` before it.
    """
    if not isinstance(function, types.FunctionType):
        return None
    code = function.__code__
    source = "".join(linecache.getlines(code.co_filename, function.__globals__))
    try:
        tree = ast.parse(source)
        if _code_in(compile(tree, code.co_filename, "exec", dont_inherit=True), code) != code:
            return None  # the file is another one than when it was imported: its lines would lie
    except SyntaxError:
        return None
    definitions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
                   and _first_line(node) == code.co_firstlineno and node.name == code.co_name]
    if not definitions:
        return None  # a lambda has no place for a statement
    for definition in definitions:
        _insert_breakpoint(definition)
    copied_code = _code_in(compile(tree, code.co_filename, "exec", dont_inherit=True), code)
    assert copied_code is not None  # it was there before the call was written into it
    copy = types.FunctionType(copied_code, function.__globals__, function.__name__, function.__defaults__,
                              function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def breakpoint_hook() -> Callable[..., Any]:
    """What `breakpoint()` should call: `sys.breakpointhook`, or IPython's prompt where that would pass in silence.

    So it would in a notebook: the kernel sets debugpy's hook, which does nothing until somebody attaches, as the bug button
    of JupyterLab does.
    """
    debugpy, ipython = sys.modules.get("debugpy"), sys.modules.get("IPython.core.debugger")
    is_debugpys = (getattr(sys.breakpointhook, "__module__", None) or "").startswith("debugpy")
    if ipython is not None and debugpy is not None and is_debugpys and not debugpy.is_client_connected():
        return ipython.set_trace
    return sys.breakpointhook


def _insert_breakpoint(definition):
    """Write `step = self.stopped_step; breakpoint()` before the first statement, but after the docstring."""
    arguments = definition.args.posonlyargs + definition.args.args
    statements = ast.parse(f"step = {arguments[0].arg}.stopped_step; breakpoint()").body
    names = {node.id for node in ast.walk(definition) if isinstance(node, ast.Name)} | {each.arg for each in arguments}
    if "step" in names:
        del statements[0]  # the function has a `step` of its own
    body = definition.body
    has_text = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    line = min(definition.lineno, body[-1].lineno - 1)  # `def f(self, x): return x` in one line: the line before
    for statement in statements:
        for node in ast.walk(statement):
            if isinstance(node, (ast.stmt, ast.expr)):
                node.lineno = node.end_lineno = line
    body[has_text:has_text] = statements


def _code_in(module_code, code):
    """The code object of the same function in a module that was compiled again; None where it is not there."""
    stack = [module_code]
    while stack:
        found = stack.pop()
        if (found.co_firstlineno, found.co_qualname) == (code.co_firstlineno, code.co_qualname):
            return found
        stack.extend([constant for constant in found.co_consts if isinstance(constant, types.CodeType)])
    return None


def _first_line(definition):
    """Where Python says that a function begins: at its first decorator."""
    return min([definition.lineno, *(decorator.lineno for decorator in definition.decorator_list)])
