#!/usr/bin/env python3
"""Reads the golden files and prints what their messages hold, as JSON: one object, a list of messages for each file.

Written from docs/wire-format.md alone, with the standard library alone, to show that the description is enough. The files
and the JSON are described in README.md beside this file. Usage: decode.py FILE.hex...
"""

import json
import pathlib
import struct
import sys
import uuid

VERSION = 1
COMPLETE, CHUNK = 1, 2
KINDS = [("register", "register"), ("values", "register"), ("set", "set"), ("counter", "counter"), ("flag", "flag"),
         ("map", "document")]
# The number of elements that a payload takes.
ITEMS = {"register": 1, "flag": 0, "counter": 2}


class Array(int):
    """The head of an array: its length. What it holds is read after it."""


class Ext:
    """A MessagePack extension."""

    def __init__(self, type, data):
        self.type, self.data = type, data


class Reader:
    """One message, read from its first byte to its last."""

    def __init__(self, data, known):
        self.data, self.at, self.known = data, 0, known
        self.ids, self.previous, self.cells = [], 0, {}

    # MessagePack

    def take(self, length):
        taken = self.data[self.at:self.at + length]
        if len(taken) < length:
            raise ValueError(f"the bytes end at {len(self.data)}")
        self.at += length
        return taken

    def number(self, form):
        return struct.unpack(">" + form, self.take(struct.calcsize(form)))[0]

    def token(self):
        """The next scalar, or the head of an array; a map as a list of pairs."""
        head = self.take(1)[0]
        if head < 0x80:
            return head
        if head < 0x90:
            return self.pairs(head & 0x0F)
        if head < 0xA0:
            return Array(head & 0x0F)
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
            return Array(self.number("HI"[head - 0xDC]))
        if head in (0xDE, 0xDF):
            return self.pairs(self.number("HI"[head - 0xDE]))
        raise ValueError(f"the byte {head:02x} at {self.at - 1} begins nothing")

    def pairs(self, length):
        return {"map": [[self.value(), self.value()] for _ in range(length)]}

    def value(self):
        """A value of the application, as JSON."""
        token = self.token()
        if isinstance(token, Array):
            return [self.value() for _ in range(token)]
        if isinstance(token, float):
            return {"float": struct.pack(">d", token).hex()}
        if isinstance(token, bytes):
            return {"bytes": token.hex()}
        if isinstance(token, Ext):
            if (token.type, len(token.data)) != (1, 16):
                raise ValueError("an extension that is no UUID")
            return {"uuid": str(uuid.UUID(bytes=token.data))}
        return token

    def expect(self, kind):
        token = self.token()
        if type(token) is not kind:
            raise ValueError(f"{token!r} before {self.at} is not of the type {kind.__name__}")
        return token

    def array(self):
        return self.expect(Array)

    def int(self):
        return self.expect(int)

    def is_array(self):
        head = self.data[self.at]
        return 0x90 <= head < 0xA0 or head in (0xDC, 0xDD)

    def nil(self):
        is_nil = self.data[self.at] == 0xC0
        self.at += is_nil
        return is_nil

    # Stamps and dots

    def coded(self, ids):
        """A stamp beside the one before it, and the place of its author."""
        unzigzag = lambda n: n // 2 if n % 2 == 0 else -(n + 1) // 2
        code = self.token()
        millis, counter = self.previous >> 16, self.previous & 0xFFFF
        if isinstance(code, bytes):
            if len(code) != 10:
                raise ValueError("an absolute stamp that is not of 10 bytes")
            stamp, place = struct.unpack(">QH", code)
        elif code >= 0:
            (number, form), place = divmod(code // ids, 2), code % ids
            if form == 0:
                counter += unzigzag(number)
            else:
                millis, counter = millis + unzigzag(number), 0
            stamp = millis << 16 | counter
        else:
            number, place = divmod(-1 - code, ids)
            stamp = millis + unzigzag(number >> 16) << 16 | number & 0xFFFF
        if not (0 <= stamp < 1 << 64 and 0 <= counter < 1 << 16):
            raise ValueError(f"a stamp before {self.at} is out of range")
        self.previous = stamp
        return stamp, place

    def stamp(self):
        return self.coded(1)[0]

    def dot(self):
        stamp, place = self.coded(len(self.ids))
        if not 0 < stamp <= self.ids[place]["to"]:
            raise ValueError(f"a dot before {self.at} is beyond what the message holds")
        return place, stamp

    def dots(self):
        return [self.dot() for _ in range(self.array())]

    # The head

    def message(self):
        length, version, counts = self.array(), self.int(), self.int()
        if version >> 3 != VERSION or version & 4:
            raise ValueError(f"version {version >> 3}, flags {version & 7}")
        new, changed = counts >> 13, counts & 0x1FFF
        self.table(self.expect(bytes), new)
        base = self.previous = self.int()
        for place, row in enumerate(self.ids):
            row["to"] = base if place == 0 else self.stamp()
            if place < new + changed:
                row["from"] = 0 if place < new and self.nil() else self.stamp()
            else:
                row["from"] = row["to"]
        if version & COMPLETE:
            if self.array() != len(self.ids):
                raise ValueError("the cut is not one stamp for each id")
            for row in self.ids:
                row["cut"] = self.stamp()
        chunk = None
        if version & CHUNK:
            place, before = self.int(), self.int()
            chunk = {"index": place >> 1, "last": place % 2 == 1, "follows": f"{before:016x}"}
        stamps = max(len(self.ids), 1) + new + changed
        if length != 3 + stamps + bool(version & COMPLETE) + 2 * bool(version & CHUNK) + 1:
            raise ValueError(f"a message of {length} elements")
        return {"version": version >> 3, "complete": bool(version & COMPLETE), "chunk": chunk}

    def table(self, table, new):
        for at in range(0, 16 * new, 16):
            self.ids.append({"id": table[at:at + 16], "form": "full"})
        shorts = table[16 * new:]
        # The last 4 bytes are a check of what the short forms mean, by a hash that the standard library does not have.
        for at in range(0, max(len(shorts) - 4, 0), 2):
            meant = [id for id in self.known if short(id) == shorts[at:at + 2]]
            if len(meant) != 1:
                raise ValueError(f"{len(meant)} known ids have the short form {shorts[at:at + 2].hex()}")
            self.ids.append({"id": meant[0], "form": "short"})
        if len({row["id"] for row in self.ids}) < len(self.ids):
            raise ValueError("an id stands twice")

    # The state

    def at_path(self, path):
        """What the message holds at a path."""
        return self.cells.setdefault(compact(path), {"path": path})

    def state(self, schema, path):
        if schema == "document":
            self.rows(path, self.field)
        elif schema == "set":
            self.rows(path, lambda row: self.state("flag", row))
        elif isinstance(schema, str):
            self.cell(schema, self.at_path(path))
        elif "map" in schema:
            self.rows(path, lambda row: self.state(schema["map"], row))
        else:
            length, present, fields = self.array(), self.int(), schema["struct"]
            if length != 1 + bin(present).count("1") or present >> len(fields):
                raise ValueError("a struct with other fields than it says, or than the schema has")
            for number, (name, field) in enumerate(fields):
                if present >> number & 1:
                    self.state(field, path + [{"field": name}])

    def rows(self, path, value):
        length = self.array()
        if length % 2 == 1:
            for _ in range(self.array() // 3):
                row = path + [{"key": self.value()}]
                self.at_path(row)["floor"] = self.dots()
                if not self.nil():
                    value(row)
        for _ in range(length // 2):
            value(path + [{"key": self.value()}])

    def field(self, path):
        for _ in range(self.array() // 2):
            name, schema = KINDS[self.int()]
            self.state(schema, path + [{"kind": name}])

    def cell(self, type, cell):
        items = ITEMS[type]
        if self.nil():
            return
        length = self.array()
        if not self.is_array():
            if length not in (1 + items, 2 + items):
                raise ValueError(f"a cell of {length} elements")
            cell["live"] = [self.entry(type)]
            cell["marks"] = self.dots() if length == 2 + items else []
            return
        if length != 2 and (type, length) != ("counter", 3):
            raise ValueError(f"a cell of {length} arrays")
        cell["live"] = [self.entry(type) for _ in range(self.array() // (1 + items))]
        cell["marks"] = self.dots()
        if length == 3:
            cell["removed"] = [{"dot": self.dot(), "total": self.int()} for _ in range(self.array() // 2)]

    def entry(self, type):
        entry = {"dot": self.dot()}
        if type == "register":
            entry["value"] = self.value()
        if type == "counter":
            entry["total"], entry["run"] = self.int(), show_stamp(entry["dot"][1] - self.int())
        return entry


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


def decode(data, schema, known):
    reader = Reader(data, known)
    message = reader.message()
    if not reader.nil():
        reader.state(schema, [])
    if reader.at != len(data):
        raise ValueError(f"bytes follow the end at {reader.at}")
    known.update(row["id"] for row in reader.ids)
    cells = [show_cell(cell) for _, cell in sorted(reader.cells.items())]
    return message | {"ids": [show_id(row) for row in reader.ids], "cells": cells}


def read(path):
    """The schema and the messages of a golden file."""
    head, *messages = path.read_text(encoding="utf-8").strip().split("\n\n")
    about, schema = head.split("\n")
    return json.loads(schema.removeprefix("schema: ")), [bytes.fromhex(message) for message in messages]


def main(paths):
    decoded = {}
    for path in map(pathlib.Path, paths):
        schema, messages = read(path)
        # Who reads these messages one after the other knows the ids of those before: a short form means one of them.
        known = set()
        try:
            decoded[path.stem] = [decode(message, schema, known) for message in messages]
        except (ValueError, IndexError) as error:
            sys.exit(f"{path}: {error}")
    print(json.dumps(decoded, ensure_ascii=False))


if __name__ == "__main__":
    main(sys.argv[1:])
