#!/usr/bin/env python3
"""Checks that the source files of a crate do not import each other in circles, except for those of a baseline.

The layers of a crate are held likewise: a file reaches no file of a layer that `LAYERS` keeps from it, be it through
others. They have no baseline.

`circles.baseline` has a line for each circle: a circle that is not part of one of them fails, and so does a line that
names more than is in a circle today. So the baseline only shrinks. `--write` removes from it what is no longer there;
`--why` prints the imports that make each circle.

A file imports another one if it names something that is defined there, in a `use` or a path, wherever that is
re-exported. These are no imports: `mod child;`, a re-export, and what only tests name.
"""

import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BASELINE = Path(__file__).resolve().parent / "circles.baseline"
COMMAND = ".ci/checks/circles.py"
# Places whose files the files of another place do not reach, directly or through others.
CORE = "registry-core/src/"
TYPES = (
    *("annotations", "descriptor", "digest", "error/body", "error/boxed", "error/code", "hash", "json", "manifest/"),
    *("media_type", "name", "range", "reference", "text", "upload_id"),
)
ABOVE = ("service/", "ledger/", "maintenance/", "error/mod.rs")
LAYERS = {
    f"{CORE}{layer}": tuple(f"{CORE}{kept_away}" for kept_away in away)
    for layer, away in {
        **dict.fromkeys(TYPES, ("protocol/", "storage/", "auth/", "hooks/", *ABOVE)),
        "protocol/": ("storage/", "auth/", "hooks/", *ABOVE),
        "storage/": ("protocol/", "auth/", "hooks/", *ABOVE),
        "auth/": ("protocol/", "storage/", "hooks/", *ABOVE),
        "hooks/": ("protocol/", *ABOVE),
    }.items()
}
HEADING = f"# Circles of files, one a line, that are left to dissolve: `{COMMAND} --why`. Only shrinks."

BLANKED = re.compile(
    r"""(?sx) //[^\n]* | /\*.*?\*/
    | b?r(?P<hashes>\#*)".*?"(?P=hashes) | b?"(?:\\.|[^"\\])*" | b?'(?:\\.[^']*|[^\\'])'(?!\w)"""
)
USE = re.compile(r"(?P<public>\bpub(?:\s*\([^)]*\))?\s+)?\buse\s+(?P<tree>[^;]+);")
DEFINED = re.compile(r"\b(?:fn|struct|enum|union|trait|type|const|static|mod)\s+(?:mut\s+)?(\w+)|macro_rules!\s*(\w+)")
PATH = re.compile(r"(?<![\w:.])(?:\$?(?:crate|super|self)|[A-Za-z_]\w*)(?:\s*::\s*\w+)+")


@dataclass
class Module:
    """One module: its file, what it defines, what it imports, and the rest of its code."""

    path: tuple
    file: Path
    code: str = ""
    defined: set = field(default_factory=set)
    names: dict = field(default_factory=dict)
    globs: list = field(default_factory=list)
    reexported: set = field(default_factory=set)


class Crate:
    """The modules of one crate, by path, without what `cfg(test)` adds."""

    def __init__(self, root):
        self.modules = {}
        self.load((), root, blanked(root.read_text()))

    def load(self, path, file, code):
        module = self.modules[path] = Module(path, file)
        code = without_tests(code)
        for name, body, (start, end) in reversed(list(declared_modules(code))):
            code = code[:start] + " " * (end - start) + code[end:]
            module.defined.add(name)
            child = (*path, name)
            if body is not None:
                self.load(child, file, body)
            elif found := file_of(self.modules[()].file, child):
                self.load(child, found, blanked(found.read_text()))
        for use in USE.finditer(code):
            for segments, name in flattened(use["tree"]):
                if name == "*":
                    module.globs.append(segments)
                elif name != "_":
                    module.names[name] = segments
                    if use["public"]:
                        module.reexported.add(name)
        module.code = USE.sub(" ", code)
        module.defined |= {one or other for one, other in DEFINED.findall(outermost(module.code))}

    def edges(self):
        """Who imports whom, and by which path: `{(from, to): path}`, both being files."""
        found = {}
        for module in self.modules.values():
            for segments in self.imports(module):
                target = self.resolve(module, segments, frozenset())
                if isinstance(target, Path) and target != module.file:
                    found.setdefault((module.file, target), "::".join(segments))
        return found

    @staticmethod
    def imports(module):
        for name, segments in module.names.items():
            # What is only handed on is not used here.
            if name not in module.reexported or re.search(rf"\b{re.escape(name)}\b", module.code):
                yield segments
        for match in PATH.finditer(module.code):
            yield tuple(re.split(r"\s*::\s*", match[0].lstrip("$")))

    def resolve(self, module, segments, asked, inside=False):
        """The file that defines what a path names; a module if it names one; `None` for other crates.

        Where a name is a module's and an item's, the item counts, unless the path goes on (`inside`).
        """
        if (module.path, segments, inside) in asked:
            return None
        asked |= {(module.path, segments, inside)}
        here, first = module, True
        for position, segment in enumerate(segments):
            if segment == "crate" and first:
                here = self.modules[()]
            elif segment == "self" and first:
                here = module
            elif segment == "super":
                here = self.modules.get(here.path[:-1])
                if here is None:
                    return None
            else:
                found = self.look_up(here, segment, asked, inside or position + 1 < len(segments))
                if not isinstance(found, Module):
                    # Of what a crate of ours has and this did not find, such as what a macro makes, the module counts.
                    return found if found or first else here.file
                here = found
            first = False
        return here

    def look_up(self, module, name, asked, inside):
        child = self.modules.get((*module.path, name))
        if child and (inside or name not in module.names):
            return child
        if name in module.names:
            return self.resolve(module, module.names[name], asked, inside)
        if name in module.defined:
            return module.file
        for segments in module.globs:
            origin = self.resolve(module, segments, asked)
            if isinstance(origin, Module) and (found := self.look_up(origin, name, asked, inside)):
                return found
        return None


def blanked(text):
    """The code without comments and literals, which could look like code."""
    return BLANKED.sub(lambda match: "_" if match[0][0] != "/" else " ", text)


def without_tests(code):
    while found := re.search(r"#\[cfg\((?:test|all\(test\b)", code):
        end = found.end()
        while code[end] not in ";{":
            end += 1
        end = closing(code, end) if code[end] == "{" else end
        code = code[: found.start()] + " " + code[end + 1 :]
    return code


def declared_modules(code):
    """Name, body (`None` for a file of its own) and place of each outermost `mod`."""
    depth_zero = outermost(code)
    for found in re.finditer(r"\bmod\s+(\w+)\s*([;{])", depth_zero):
        if found[2] == ";":
            yield found[1], None, found.span()
        else:
            end = closing(code, found.end() - 1)
            yield found[1], code[found.end() : end], (found.start(), end + 1)


def closing(code, start):
    depth = 0
    for position in range(start, len(code)):
        depth += {"{": 1, "}": -1}.get(code[position], 0)
        if depth == 0:
            return position
    raise ValueError("a brace is not closed")


def outermost(code):
    """The code with all that stands in braces blanked, place by place."""
    depth, kept = 0, []
    for character in code:
        depth -= character == "}"
        kept.append(character if depth == 0 else " ")
        depth += character == "{"
    return "".join(kept)


def flattened(tree, prefix=()):
    """The paths of a `use`, each with the name it has here: `a::{self, b as c}` is `a` as `a` and `a::b` as `c`."""
    tree = tree.strip()
    head, brace, rest = tree.partition("{")
    segments = (*prefix, *(part.strip() for part in head.split("::") if part.strip()))
    if brace:
        depth, start = 0, 0
        inner = rest[: rest.rindex("}")] + ","
        for position, character in enumerate(inner):
            depth += {"{": 1, "}": -1}.get(character, 0)
            if character == "," and depth == 0:
                if inner[start:position].strip():
                    yield from flattened(inner[start:position], segments)
                start = position + 1
        return
    last, _, alias = segments[-1].partition(" as ")
    segments = (*segments[:-1], last.strip())
    if last == "*":
        yield segments[:-1], "*"
        return
    if last == "self" and len(segments) > 1:
        segments = segments[:-1]
    yield segments, alias.strip() or segments[-1]


def file_of(root, path):
    folder = root.parent.joinpath(*path)
    for candidate in (folder.with_suffix(".rs"), folder / "mod.rs"):
        if candidate.exists():
            return candidate
    return None


def circles(edges):
    """The sets of files that reach each other (Tarjan's strongly connected components of more than one)."""
    out = {}
    for source, target in edges:
        out.setdefault(source, []).append(target)
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in out.get(node, []):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            members = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(members) > 1:
                found.append(frozenset(members))

    for node in list(out):
        if node not in index:
            visit(node)
    return found


def climbs(edges, layers):
    """Paths by which a file reaches one that its layer is kept from: the shortest for each pair of places."""
    out = {}
    for source, target in edges:
        out.setdefault(source, []).append(target)
    for layer, kept_away in layers.items():
        reached = {file: None for file in sorted(out) if file.startswith(layer)}
        for file in (waiting := list(reached)):
            for target in sorted(out.get(file, [])):
                if target not in reached:
                    reached[target] = file
                    waiting.append(target)
        for place in kept_away:
            found = next((file for file in reached if file.startswith(place) and not file.startswith(layer)), None)
            if found:
                path = [found]
                while reached[path[0]]:
                    path.insert(0, reached[path[0]])
                yield f"{layer} may not know {place}: {' -> '.join(path)}"


def empty(layers):
    """Places of layers where no file is: a check of them would see nothing."""
    for place in sorted({*layers, *(place for away in layers.values() for place in away)}):
        if not any(Path(ROOT, place).parent.glob(f"{Path(place).name}*")):
            yield f"no file is in {place}, which the list of layers names"


def roots():
    """The first file of each library and program of the workspace."""
    command = ["git", "ls-files", "*.rs"]
    tracked = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    for name in sorted(tracked.splitlines()):
        if name.endswith(("src/lib.rs", "src/main.rs")):
            yield ROOT / name


def main(arguments):
    found, imports, problems = set(), {}, list(empty(LAYERS))
    for root in roots():
        edges = Crate(root).edges()
        names = [tuple(str(file.relative_to(ROOT)) for file in edge) for edge in edges]
        problems += climbs(names, LAYERS)
        for circle in circles(edges):
            circle = frozenset(str(file.relative_to(ROOT)) for file in circle)
            found.add(circle)
            imports[circle] = [
                f"{source.relative_to(ROOT)} -> {target.relative_to(ROOT)}: {path}"
                for (source, target), path in sorted(edges.items())
                if {str(source.relative_to(ROOT)), str(target.relative_to(ROOT))} <= circle
            ]
    baseline = read(BASELINE.read_text())
    if arguments == ["--write"]:
        BASELINE.write_text(written(circle for circle in found if not is_new(circle, baseline)))
        baseline = read(BASELINE.read_text())
    problems += compared(found, baseline)
    if arguments == ["--why"]:
        for circle in sorted(found, key=sorted):
            print(*imports[circle], "", sep="\n")
    for problem in problems:
        print(f"circles: {problem}", file=sys.stderr)
    known = frozenset().union(*baseline)
    for circle in sorted((circle for circle in found if is_new(circle, baseline)), key=sorted):
        # In a circle that has grown, those that made it grow.
        new = [line for line in imports[circle] if not set(re.split(" -> |: ", line)[:2]) <= known]
        print(*(f"    {line}" for line in new or imports[circle]), sep="\n", file=sys.stderr)
    if not problems:
        print(f"circles: {len(found)} circles of files, {sum(map(len, found))} files in them, all in the baseline")
    return 1 if problems else 0


def compared(found, baseline):
    """What differs from the baseline: circles that are new or have grown, and lines that say too much."""
    for circle in sorted(found, key=sorted):
        if is_new(circle, baseline):
            yield f"these files import each other in a circle: {' '.join(sorted(circle))}"
    for known in sorted(baseline, key=sorted):
        if known not in found:
            files = " ".join(sorted(known))
            yield f"there is less of this circle than the baseline says; `{COMMAND} --write` shrinks it: {files}"


def is_new(circle, baseline):
    return not any(circle <= known for known in baseline)


def read(text):
    lines = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
    return [frozenset(files) for files in lines]


def written(found):
    lines = sorted(" ".join(sorted(circle)) for circle in found)
    return "".join(f"{line}\n" for line in [HEADING, *lines])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
