"""Plays tables: files of tests/scenario/tables, which stand beside those of RFC 6121 (8.5.4 and appendix A). Every cell of a row is sent and looked at; what differs
is printed with the table's line. docs/scenarios.md says how a table is written; delivery.py, standing.py and subscriptions.py know what its words mean."""
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))


class TableError(Exception):
    """The table itself is wrong, in file and line."""


class Row:
    def __init__(self, line, cells):
        self.line, self.cells = line, cells

    def __getitem__(self, column):
        return self.cells[column]


class Table:
    """columns; rows; settings: section -> {name: value}, of the sections before [table]."""

    def __init__(self, path):
        self.path, self.columns, self.rows, self.settings = path, [], [], {}
        section, header = None, []
        for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            line = raw.strip()
            if not line or line.startswith("#"):
                continue
            heading = re.fullmatch(r"\[(\w+)\]", line)
            if heading:
                section = heading[1]
                self.settings.setdefault(section, {})
            elif section is None:
                header.append(line)
            elif section == "table":
                self.row(number, [cell.strip() for cell in line.split("|")])
            else:
                name, colon, value = line.partition(":")
                if not colon:
                    raise TableError(f"{path}:{number}: '{line}' is not 'name: value'")
                self.settings[section][name.strip()] = value.strip()
        if not self.rows or len(header) < 2 or not header[1].startswith("Shows:"):
            raise TableError(f"{path}: a table has a title, a line 'Shows: ...' and a [table] with rows")

    def row(self, number, cells):
        if not self.columns:
            self.columns = cells
        elif len(cells) != len(self.columns):
            raise TableError(f"{self.path}:{number}: {len(cells)} cells in a table of {len(self.columns)} columns")
        else:
            self.rows.append(Row(number, dict(zip(self.columns, cells))))


def main():
    import delivery
    import standing
    import subscriptions
    failures = 0
    for name in sys.argv[1:]:
        table = Table(pathlib.Path(name))
        kind = delivery if "stanzas" in table.settings else standing if table.columns[0] in ("Actor", "Viewer") else subscriptions
        for line, column, expected, came in kind.play(table):
            failures += 1
            print(f"{name}:{line}: {column}: expected '{expected}', but it was '{came}'")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
