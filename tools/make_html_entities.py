#!/usr/bin/env python3
"""Writes the table of HTML5 entities for monarch/models/wan/html_entities.cpp from Python's html.entities.

usage: tools/make_html_entities.py > monarch/models/wan/html_entities.inc
"""
import html.entities


def main() -> None:
    entities = html.entities.html5
    print("// HTML5 entities: name, value (UTF-8), and whether the name counts without its semicolon.")
    print("// Written by tools/make_html_entities.py; sorted by byte value.")
    for name in sorted(n[:-1] for n in entities if n.endswith(";")):
        value = "".join(f"\\x{byte:02x}" for byte in entities[name + ";"].encode())
        print(f'{{"{name}", "{value}", {"true" if name in entities else "false"}}},')


if __name__ == "__main__":
    main()
