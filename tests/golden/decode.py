#!/usr/bin/env python3
"""Reads the golden files and prints what their messages hold, as JSON: one object, a list of messages for each file.

Written from docs/wire-format.md alone, with the standard library alone, to show that the description is enough. It refuses
what the description forbids, and also what a writer may not do though readers let it pass: numbers in another form than the
shortest, rows out of order, events that nothing names. The files and the JSON are described in README.md beside this file.
Usage: decode.py FILE.hex...
"""

import json
import pathlib
import struct
import sys
import uuid

from xxh3 import xxh3

VERSION, SYSTEM_VERSION = 2, 3
COMPLETE, CHUNK, SHORT_KEYS = 1, 2, 4
MOST_IDS, MOST_CLOSED = 4096, 65536
SYSTEM = {"struct": [["members", {"map": "register"}], ["epoch", "register"], ["closed", {"map": "register"}],
                     ["forks", {"map": {"map": "register"}}]]}
KINDS = [("register", "register"), ("values", "register"), ("set", "set"), ("counter", "counter"), ("flag", "flag"),
         ("map", "document")]
# What is in the innermost map of a shape, by its lowest three bits; of a struct no field is known.
LEAVES = ["register", "values", "flag", "counter", "set", "document", {"open": []}]
MOST_FIELDS = 64
# Kinds of maps beside those of plain rows alone.
SOME_FLOORS, ALL_SHORT, SOME_SHORT = 1, 2, 3
# Modes of a column of integers beyond the widths.
RUNS, STEPS = 65, 66
MASK = (1 << 64) - 1


class Ext:
    """A MessagePack extension."""

    def __init__(self, type, data):
        self.type, self.data = type, data


def check(is_so, what):
    if not is_so:
        raise ValueError(what)


class Bytes:
    """The bytes of a message, read from the first to the last."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, length):
        taken = self.data[self.at:self.at + length]
        check(len(taken) == length, f"the bytes end at {len(self.data)}")
        self.at += length
        return taken

    def byte(self):
        return self.take(1)[0]

    def number(self, form):
        return struct.unpack(">" + form, self.take(struct.calcsize(form)))[0]

    # Numbers

    def varint(self):
        number = 0
        for place in range(10):
            byte = self.byte()
            number |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                check(byte != 0 or place == 0, f"a varint before {self.at} has a needless byte")
                check(number <= MASK, f"a varint before {self.at} is beyond 64 bits")
                return number
        raise ValueError(f"a varint before {self.at} does not end")

    def packed(self, count, width):
        bits = int.from_bytes(self.take((count * width + 7) // 8), "little")
        check(bits >> count * width == 0, f"bits are left over before {self.at}")
        return [bits >> width * place & (1 << width) - 1 for place in range(count)]

    def ints(self, count):
        """A column of integers. It must be in the form that a writer takes."""
        start = self.at
        numbers = self.any_ints(count)
        check(self.data[start:self.at] == ints_bytes(numbers), f"the column at {start} is not in the shortest form")
        return numbers

    def any_ints(self, count):
        if count < 2:
            return [self.varint() for _ in range(count)]
        mode = self.byte()
        if mode == RUNS:
            numbers = []
            while len(numbers) < count:
                length = self.varint() + 1
                check(len(numbers) + length <= count, f"a run before {self.at} is too long")
                numbers += [self.varint()] * length
            return numbers
        if mode == STEPS:
            numbers, step = [self.varint()], unzigzag(self.varint())
            width = self.byte()
            check(width <= 64, f"a width of {width} bits")
            for more in self.packed(count - 1, width):
                numbers.append(numbers[-1] + step + more & MASK)
            return numbers
        check(mode <= 64, f"a column of mode {mode} before {self.at}")
        base = self.varint()
        numbers = [base + more for more in self.packed(count, mode)]
        check(max(numbers) <= MASK, f"a number before {self.at} is beyond 64 bits")
        return numbers

    # MessagePack

    def token(self):
        """The next value; an array or a map as its type and length."""
        head = self.byte()
        if head < 0x80:
            return head
        if head < 0x90:
            return dict, head & 0x0F
        if head < 0xA0:
            return list, head & 0x0F
        if head < 0xC0:
            return self.take(head & 0x1F).decode()
        if head >= 0xE0:
            return head - 0x100
        if head in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[head]
        if 0xC4 <= head <= 0xC6:
            return self.take(self.number("BHI"[head - 0xC4]))
        if 0xC7 <= head <= 0xC9:
            length = self.number("BHI"[head - 0xC7])
            return Ext(self.number("b"), self.take(length))
        if 0xCA <= head <= 0xD3:
            return self.number("fdBHIQbhiq"[head - 0xCA])
        if 0xD4 <= head <= 0xD8:
            return Ext(self.number("b"), self.take(1 << head - 0xD4))
        if 0xD9 <= head <= 0xDB:
            return self.take(self.number("BHI"[head - 0xD9])).decode()
        if head in (0xDC, 0xDD):
            return list, self.number("HI"[head - 0xDC])
        if head in (0xDE, 0xDF):
            return dict, self.number("HI"[head - 0xDE])
        raise ValueError(f"the byte {head:02x} at {self.at - 1} begins nothing")

    def value(self):
        """A value of the application, as JSON."""
        token = self.token()
        if isinstance(token, tuple):
            type, length = token
            if type is list:
                return [self.value() for _ in range(length)]
            return {"map": [[self.value(), self.value()] for _ in range(length)]}
        if isinstance(token, float):
            return {"float": struct.pack(">d", token).hex()}
        if isinstance(token, bytes):
            return {"bytes": token.hex()}
        if isinstance(token, Ext):
            check((token.type, len(token.data)) == (1, 16), "an extension that is no UUID")
            return {"uuid": str(uuid.UUID(bytes=token.data))}
        return token


class Row:
    """A row of a map: the number of the map in its column, its path, its newest event, the bytes of its key."""

    def __init__(self, map, path):
        self.map, self.path, self.newest, self.key = map, path + [{}], -1, None


class Reader(Bytes):
    """One message."""

    def __init__(self, data, known):
        super().__init__(data)
        self.known = known
        self.ids, self.events, self.named = [], [], set()
        # What stands at which path.
        self.cells = []
        # Milliseconds of the stamp before.
        self.previous = None
        # The keys in short form.
        self.short = []
        # How many rows there are; and what the keys count for that were written as numbers.
        self.row_count, self.numbered = 0, 0

    # The head

    def message(self, schema):
        version = self.byte()
        has_parts = version >> 3 == SYSTEM_VERSION
        check(has_parts or version >> 3 == VERSION, f"version {version >> 3}")
        is_complete, is_chunk = bool(version & COMPLETE), bool(version & CHUNK)
        counts = self.varint()
        changed = counts >> 2
        new = self.at_least_one() if counts & 2 else 0
        unchanged = self.at_least_one() if counts & 1 else 0
        code = self.varint() if has_parts else 0
        closed, has_system, has_state = code >> 2, bool(code & 2), bool(code & 1)
        check(not has_parts or closed > 0 or has_system, "a version without its reason")
        check(closed <= min(new + changed + unchanged, MOST_CLOSED), "too many closed ids")
        self.table(new, changed, unchanged, closed)
        self.vectors(new, changed)
        if is_complete:
            check(all(row["from"] == 0 for row in self.ids), "a complete message that goes on from something")
            for row in self.ids:
                self.cut(row)
        chunk = self.chunk() if is_chunk else None
        has_events = self.list_events(new + changed)
        check(not has_parts or has_events == (has_system or has_state), "events, and what they are of")
        system = []
        if has_system:
            self.column(SYSTEM, [[]])
            system, self.cells = self.cells, []
            check(system, "nothing in the part of the system")
            self.check_closed(system)
        if has_state if has_parts else has_events:
            self.column(schema, [[]])
        if has_events:
            unnamed = set(range(len(self.events))) - self.named
            check(not unnamed, f"nothing names the events {unnamed}")
        check((len(self.short) > 0) == (version & SHORT_KEYS != 0), "keys in short form, and the message says otherwise")
        if changed + unchanged > 0 or self.short:
            self.check(self.take(4))
        check(self.at == len(self.data), f"bytes follow the end at {self.at}")
        return {"version": version >> 3, "complete": is_complete, "chunk": chunk} | (
            {"closed": closed, "system": in_order(system)} if has_parts else {})

    def check_closed(self, system):
        """An id was closed later than the last that was held of it, by another, and the message leads there."""
        for path, cell in system:
            for entry in cell.get("live", []) if path[0] == {"field": "closed"} else []:
                place, stamp = entry["dot"]
                ids = {str(uuid.UUID(bytes=row["id"])): row for row in self.ids}
                key = str(uuid.UUID(hex=path[1]["key"]["bytes"]))
                check(key in ids and 0 < entry["value"] <= ids[key]["to"], "an id is closed beyond what the message holds")
                check(entry["value"] < stamp and self.ids[place]["id"] != ids[key]["id"], "an id is closed before its time")

    def check(self, found):
        """What short forms mean. What keys in short form are is known to nobody but the receiver, so then it says nothing here."""
        hash = struct.pack(">Q", xxh3(b"".join(row["id"] for row in self.ids)))
        check(self.short or found == hash[:4], "the check does not come out")

    def at_least_one(self):
        number = self.varint()
        check(number > 0, f"the number before {self.at} is said to be there and is 0")
        return number

    def table(self, new, changed, unchanged, closed):
        check(new + changed + unchanged - closed <= MOST_IDS, "too many ids")
        for _ in range(new):
            self.ids.append({"id": self.take(16), "form": "full"})
        for _ in range(changed + unchanged):
            form = self.take(2)
            meant = [id for id in self.known if short(id) == form]
            check(len(meant) == 1, f"{len(meant)} known ids have the short form {form.hex()}")
            self.ids.append({"id": meant[0], "form": "short"})
        groups = [self.ids[:new], self.ids[new:new + changed], self.ids[new + changed:]]
        for group in groups:
            check(is_ascending([row["id"] for row in group]), "the ids of a group are out of order")
        check(len({row["id"] for row in self.ids}) == len(self.ids), "an id stands twice")

    def stamp(self, millis, counted):
        """A stamp of which the milliseconds are read."""
        check(0 <= millis < 1 << 48, f"a stamp before {self.at} is out of range")
        counter = self.at_least_one() if counted else 0
        check(counter < 1 << 16, f"the counter of a stamp before {self.at} is out of range")
        self.previous = millis
        return millis << 16 | counter

    def next_stamp(self, code, counted):
        """A stamp beside the one before it; the first one by itself."""
        return self.stamp(code if self.previous is None else self.previous + unzigzag(code), counted)

    def vectors(self, new, changed):
        for place, row in enumerate(self.ids):
            code = self.varint()
            if place < new and code & 1:
                row["from"], row["to"] = 0, self.next_stamp(code >> 2, code >> 1 & 1)
            elif place < new:
                row["from"] = self.next_stamp(code >> 2, code >> 1 & 1)
                check(row["from"] > 0, f"a stamp before {self.at} is zero and is not said to be")
                row["to"] = self.later()
            else:
                row["from"] = row["to"] = self.next_stamp(code >> 1, code & 1)
                if place < new + changed:
                    row["to"] = self.later()
                    check(row["from"] < row["to"], f"no news of id {place}")
            check(0 < row["to"] >= row["from"], f"the vector of id {place} goes back")

    def later(self):
        """`to`, beside its `from`."""
        code = self.varint()
        return self.stamp(self.previous + (code >> 1), code & 1)

    def cut(self, row):
        code = self.varint()
        row["cut"] = self.stamp((row["to"] >> 16) - (code - 1 >> 1), code - 1 & 1) if code > 0 else 0
        check(row["cut"] <= row["to"], "a cut beyond what is held")
        check((row["cut"] > 0) == (code > 0), f"a cut before {self.at} is zero and is not said to be")

    def chunk(self):
        place = self.varint()
        before = self.take(8).hex() if place >> 1 > 0 else "0" * 16
        return {"index": place >> 1, "last": place % 2 == 1, "follows": before}

    # Events

    def list_events(self, with_news):
        """Reads the table of events, as stamps and places. Returns whether there are any."""
        code = self.varint()
        ends = sorted((row["to"], place) for place, row in enumerate(self.ids[:with_news]))
        if code < 2:
            self.events = ends if code == 1 else []
            check(self.events or code == 0, "no event, in the form that stands for some")
            return code == 1
        count = code - 1
        newest = max((row["to"] >> 16 for row in self.ids), default=-1)
        last = newest - self.varint()
        steps = self.ints(count - 1)
        more = self.ints(count)
        places = self.packed(count, max((len(self.ids) - 1).bit_length(), 1))
        stamp = (last - sum(steps)) << 16
        check(stamp >= 0, "an event before the first millisecond")
        for place, step, more in zip(places, [1] + steps, more):
            counter = more + (stamp & 0xFFFF if step == 0 else 0)
            check(counter < 1 << 16, "the counter of an event is out of range")
            stamp = (stamp >> 16) + (step if self.events else 0) << 16 | counter
            check(place < len(self.ids), "an event of an author who is not in the table")
            check(0 < stamp <= self.ids[place]["to"], "an event beyond what the message holds")
            check(not self.events or self.events[-1] < (stamp, place), "events out of order")
            self.events.append((stamp, place))
        check(self.events != ends, "the events are those of the vector, and listed nevertheless")
        return True

    def event(self, number):
        check(number < len(self.events), f"there is no event {number}")
        self.named.add(number)
        return number

    def dots(self, numbers):
        """Events of one floor or of the marks of one cell, as places and stamps."""
        check(numbers == sorted(set(numbers)), f"events before {self.at} out of order")
        return [self.dot(number) for number in numbers]

    def dot(self, number):
        stamp, place = self.events[self.event(number)]
        return place, stamp

    # The state: each column returns the newest event of each of its instances, and -1 where there is none.

    def column(self, schema, paths):
        if not paths:
            return []
        if schema == "document":
            return self.rows(self.fields, paths)
        if schema == "set":
            return self.rows(lambda paths: self.cells_of("flag", paths), paths)
        if isinstance(schema, str):
            return self.cells_of(schema, paths)
        if "map" in schema:
            return self.rows(lambda paths: self.column(schema["map"], paths), paths)
        if "open" in schema:
            return self.open(schema["open"], paths)
        parts = [({"field": name}, field) for name, field in schema["struct"]]
        return self.parts(parts, paths)

    def fields(self, paths):
        return self.parts([({"kind": name}, schema) for name, schema in KINDS], paths)

    def parts(self, parts, paths):
        """Structs of fields, and what stands at names of documents."""
        present, newest = self.ints(len(paths)), [-1] * len(paths)
        check(not any(bits >> len(parts) for bits in present), "a field that the schema does not have")
        for number, (step, schema) in enumerate(parts):
            those = [place for place, bits in enumerate(present) if bits >> number & 1]
            found = self.column(schema, [paths[place] + [step] for place in those])
            for place, event in zip(those, found):
                newest[place] = max(newest[place], event)
        return newest

    def open(self, own, paths):
        """Structs of which each field says what it is: they may have other fields than their own, and some as other things."""
        present, newest = self.ints(len(paths)), [-1] * len(paths)
        for number in range(MOST_FIELDS):
            those = [place for place, bits in enumerate(present) if bits >> number & 1]
            for facet, there in self.facets(those):
                step, field = {"field": number, "facet": facet}, None
                if number < len(own) and facet_of(*own[number]) == facet:
                    step, field = {"field": own[number][0]}, own[number][1]
                found = self.column(field or schema_of(facet >> 16), [paths[place] + [step] for place in there])
                check(all(event >= 0 for event in found), f"field {number} is said to be there, and nothing is in it")
                for place, event in zip(there, found):
                    newest[place] = max(newest[place], event)
        return newest

    def facets(self, those):
        """What a field is that those structs have, each with those that have something of it."""
        if not those:
            return []
        facets, more = [], 1
        while more:
            code = self.byte()
            check(code < 128, f"a shape before {self.at} is beyond six bits")
            facets.append(code >> 1 << 16 | int.from_bytes(self.take(2), "big"))
            more = code & 1
        check(is_ascending(facets), f"the facets before {self.at} are out of order")
        if len(facets) == 1:
            return [(facets[0], those)]
        found = []
        for facet in facets:
            is_there = self.ints(len(those))
            check(max(is_there) == 1, f"a facet before {self.at} is in no struct, or more than in it")
            found.append((facet, [place for place, there in zip(those, is_there) if there]))
        check({place for _, there in found for place in there} == set(those), f"a struct before {self.at} has an empty field")
        return found

    def rows(self, values, paths):
        if not paths:
            return []
        codes = self.ints(len(paths))
        floored = self.counts(codes, {SOME_FLOORS, SOME_SHORT})
        short = self.counts(codes, {SOME_SHORT})
        for place, code in enumerate(codes):
            rows, kind = code >> 2, code & 3
            if kind == ALL_SHORT:
                short[place] = rows
            check(kind != SOME_FLOORS or 0 < floored[place] <= rows, "a map of other rows with floors than it says")
            check(kind != SOME_SHORT or floored[place] + short[place] <= rows and 0 < short[place] < rows,
                  "a map of other short rows than it says")
            check(kind != ALL_SHORT or rows > 0, "short rows, and no row")
        plain = [(code >> 2) - some - others for code, some, others in zip(codes, floored, short)]
        self.row_count += sum(code >> 2 for code in codes)
        check(self.row_count <= 3 * len(self.data), "more rows than so few bytes may stand for")
        # The keys come last: until then a row's step of the path is empty.
        removed, written, known = ([Row(map, paths[map]) for map, count in enumerate(of_maps) for _ in range(count)]
                                   for of_maps in (floored, plain, short))
        self.short_keys(known)
        marks = self.ints(len(removed))
        events = iter(self.ints(sum((code >> 1) + 1 for code in marks)))
        for row, code in zip(removed, marks):
            floor = [next(events) for _ in range((code >> 1) + 1)]
            dots = self.dots(floor)
            check(len({place for place, _ in dots}) == len(dots), "an author stands twice in a floor")
            self.cells.append((row.path, {"floor": dots}))
            row.newest = floor[-1]
        with_value = [row for row, code in zip(removed, marks) if code & 1] + written + known
        for row, event in zip(with_value, values([row.path for row in with_value])):
            row.newest = max(row.newest, event)
        check(all(row.newest >= 0 for row in written + known), "a row of which nothing is known")
        for rows in removed, written:
            self.keys(rows, len(paths) > 1)
        self.check_rows(removed, written, known)
        newest = [-1] * len(paths)
        for row in removed + written + known:
            newest[row.map] = max(newest[row.map], row.newest)
        return newest

    def counts(self, codes, kinds):
        """How many rows of some sort each map has, where maps of these kinds say so."""
        counts = iter(self.ints(sum(code & 3 in kinds for code in codes)))
        return [next(counts) if code & 3 in kinds else 0 for code in codes]

    def short_keys(self, rows):
        if not rows:
            return
        forms = [int.from_bytes(self.take(5), "big")] if len(rows) == 1 else self.ints(len(rows))
        check(len(set(forms)) == len(forms), "two keys of one short form")
        check(max(forms) < 1 << 40, "a short form of more than 40 bits")
        for row, form in zip(rows, forms):
            row.path[-1]["key"] = {"bytes": f"{form:010x}"}
        self.short += forms

    def keys(self, rows, of_maps):
        """A column of keys: completes the rows."""
        start = self.at
        has_form = of_maps and len(rows) > 1
        form = self.byte() if has_form else 0
        check(form < 2, f"keys in an unknown form at {start}")
        if form == 1:
            different = [self.key() for _ in range(self.varint() + 1)]
            check(is_ascending([data for data, _ in different]), "the keys of a dictionary are out of order")
            numbers = self.ints(len(rows))
            check(set(numbers) == set(range(len(different))), "keys of a dictionary that no row has, or rows of no key")
            keys = [different[number] for number in numbers]
        else:
            keys = [self.key() for _ in rows]
        for row, (data, key) in zip(rows, keys):
            row.key, row.path[-1]["key"] = data, key
        if has_form:
            numbered = self.numbered + sum(4 + len(row.key) for row in rows)
            is_shorter = dictionary(rows) < sum(len(row.key) for row in rows)
            check(form == (is_shorter and numbered <= 8 * start), f"the keys at {start} are in the other form")
            self.numbered = numbered if form == 1 else self.numbered

    def key(self):
        """A key as its bytes and as JSON."""
        start = self.at
        key = self.value()
        return self.data[start:self.at], key

    def check_rows(self, removed, written, known):
        seen = {(row.map, row.key) for row in removed + written}
        check(len(seen) == len(removed) + len(written), "a key stands twice in a map")
        for rows in removed, written, known:
            order = [(row.map, row.newest) for row in rows]
            check(order == sorted(order), "rows out of order")

    def cells_of(self, type, paths):
        if not paths:
            return []
        codes = self.ints(len(paths))
        general = [code >> 1 for code in codes if code & 1]
        marks = self.ints(len(general))
        records = self.ints(len(general)) if type == "counter" else [0] * len(general)
        sizes = zip(general, marks, records)
        check(all(any(size) for size in zip(general, marks, records)), "a general cell of nothing")
        events = iter(self.ints(sum(general) + sum(marks) + sum(records)))
        cells, newest = [], []
        for code, path in zip(codes, paths):
            lives, others, removed = [code >> 1], [], []
            if code & 1:
                lives, others, removed = ([next(events) for _ in range(size)] for size in next(sizes))
                check(len(lives) != 1 or others or removed, "a general cell that could be plain")
            cell = {"live": [{"dot": self.dot(number)} for number in lives], "marks": self.dots(others),
                    "removed": [{"dot": dot} for dot in self.dots(removed)]}
            self.check_cell(cell)
            self.cells.append((path, cell))
            cells.append(cell)
            newest.append(max(lives + others + removed))
        self.payloads(type, cells)
        return newest

    def check_cell(self, cell):
        oldest_first = [(stamp, self.ids[place]["id"]) for place, stamp in (live["dot"] for live in cell["live"])]
        check(oldest_first == sorted(oldest_first), f"live payloads before {self.at} out of order")
        authors = [place for place, _ in [live["dot"] for live in cell["live"]] + cell["marks"]]
        check(len(set(authors)) == len(authors), "an author stands twice in a cell")
        authors = [record["dot"][0] for record in cell["removed"]]
        check(len(set(authors)) == len(authors), "an author stands twice among removed counts")

    def payloads(self, type, cells):
        live = [live for cell in cells for live in cell["live"]]
        if type in ("register", "values"):
            for payload in live:
                payload["value"] = self.value()
        if type == "counter":
            totals, ages = self.ints(len(live)), self.ints(len(live))
            for payload, total, age in zip(live, totals, ages):
                run = payload["dot"][1] - age
                check(run > 0, "a run that begins before the first stamp")
                payload |= {"total": unzigzag(total), "run": show_stamp(run)}
            records = [record for cell in cells for record in cell["removed"]]
            for record, total in zip(records, self.ints(len(records))):
                record["total"] = unzigzag(total)


def facet_of(name, schema):
    """What a field of a name and a type is."""
    maps = 0
    while isinstance(schema, dict) and "map" in schema:
        schema, maps = schema["map"], maps + 1
    leaf = LEAVES.index(schema) if schema in LEAVES else len(LEAVES) - 1
    return (maps << 3 | leaf) << 16 | xxh3(name.encode()) & 0xFFFF


def schema_of(shape):
    """What anybody can read of a shape."""
    check(shape & 7 < len(LEAVES), f"nobody can read the shape {shape}")
    schema = LEAVES[shape & 7]
    for _ in range(shape >> 3):
        schema = {"map": schema}
    return schema


def zigzag(number):
    return 2 * number if number >= 0 else -2 * number - 1


def unzigzag(number):
    return number // 2 if number % 2 == 0 else -(number + 1) // 2


def varint_bytes(number):
    count = max(-(-number.bit_length() // 7), 1)
    return bytes(number >> 7 * place & 0x7F | (0x80 if place + 1 < count else 0) for place in range(count))


def packed_bytes(numbers, width):
    bits = sum(number << width * place for place, number in enumerate(numbers))
    return bits.to_bytes((len(numbers) * width + 7) // 8, "little")


def ints_bytes(numbers):
    """A column of integers in the form that a writer takes."""
    if len(numbers) < 2:
        return b"".join(map(varint_bytes, numbers))
    base = min(numbers)
    width = (max(numbers) - base).bit_length()
    runs = []
    for number in numbers:
        if runs and runs[-1][0] == number:
            runs[-1][1] += 1
        else:
            runs.append([number, 0])
    steps = [signed(after - before) for before, after in zip(numbers, numbers[1:])]
    step = min(steps)
    step_width = (max(steps) - step).bit_length()
    forms = [
        bytes([width]) + varint_bytes(base) + packed_bytes([number - base for number in numbers], width),
        bytes([RUNS]) + b"".join(varint_bytes(more) + varint_bytes(number) for number, more in runs),
        bytes([STEPS]) + varint_bytes(numbers[0]) + varint_bytes(zigzag(step)) + bytes([step_width])
        + packed_bytes([more - step for more in steps], step_width),
    ]
    # Of equally long ones the first.
    return min(forms, key=len)


def signed(number):
    """A difference of 64 bits that wraps."""
    number &= MASK
    return number - (1 << 64) if number >> 63 else number


def dictionary(rows):
    """How many bytes a dictionary of the keys of rows takes."""
    keys = sorted({row.key for row in rows})
    numbers = {key: number for number, key in enumerate(keys)}
    return len(varint_bytes(len(keys) - 1)) + sum(map(len, keys)) + len(ints_bytes([numbers[row.key] for row in rows]))


def is_ascending(items):
    return all(a < b for a, b in zip(items, items[1:]))


def short(id):
    words = struct.unpack(">8H", id)
    form = 0
    for word in words:
        form ^= word
    return struct.pack(">H", form)


def show_stamp(stamp):
    return f"{stamp >> 16}.{stamp & 0xFFFF}"


def show_dot(dot):
    return f"{show_stamp(dot[1])}@{dot[0]}"


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def show_cell(cell):
    """A cell with its dots in order and as text, without what it does not have."""
    for name in ("floor", "live", "marks", "removed"):
        dots = cell.pop(name, [])
        if name in ("floor", "marks"):
            dots = [show_dot(dot) for dot in sorted(dots)]
        else:
            dots = [dict(entry, dot=show_dot(entry["dot"])) for entry in sorted(dots, key=lambda entry: entry["dot"])]
        if dots:
            cell[name] = dots
    return cell


def show_id(row):
    shown = {"id": str(uuid.UUID(bytes=row["id"])), "form": row["form"]}
    return shown | {name: show_stamp(row[name]) for name in ("from", "to", "cut") if name in row}


def in_order(found):
    """Cells in the order of their paths."""
    cells = {}
    for path, cell in found:
        cells.setdefault(compact(path), {"path": path}).update(cell)
    return [show_cell(cell) for _, cell in sorted(cells.items())]


def decode(data, schema, known):
    reader = Reader(data, known)
    message = reader.message(schema)
    known.update(row["id"] for row in reader.ids)
    return message | {"ids": [show_id(row) for row in reader.ids], "cells": in_order(reader.cells)}


def decode_all(messages, schema):
    """Messages for one reader, who knows the ids of those before: a short form means one of them."""
    known, shown = set(), []
    for number, data in enumerate(messages):
        message = decode(data, schema, known)
        chunk = message["chunk"]
        if chunk and chunk["index"] > 0:
            follows = f"{xxh3(messages[number - 1]):016x}"
            check(chunk["follows"] == follows, f"message {number} does not follow the one before")
        shown.append(message)
    return shown


def read(path):
    """The schema and the messages of a golden file."""
    head, *messages = path.read_text(encoding="utf-8").strip().split("\n\n")
    about, schema = head.split("\n")
    return json.loads(schema.removeprefix("schema: ")), [bytes.fromhex(message) for message in messages]


def main(paths):
    decoded = {}
    for path in map(pathlib.Path, paths):
        schema, messages = read(path)
        try:
            decoded[path.stem] = decode_all(messages, schema)
        except (ValueError, IndexError) as error:
            sys.exit(f"{path}: {error}")
    print(json.dumps(decoded, ensure_ascii=False))


if __name__ == "__main__":
    main(sys.argv[1:])
