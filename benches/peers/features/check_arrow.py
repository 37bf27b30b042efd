"""Reads an Arrow IPC stream with pyarrow, an implementation that is not ours, and prints schema, rows and null counts.

Run: eval "$(./prepare.sh)"
     $NAUTILUS_PEER_FEATURES_PYTHON check_arrow.py table.arrows
     $NAUTILUS_PEER_FEATURES_PYTHON check_arrow.py http://127.0.0.1:8001/... --header "Authorization: Bearer $KEY"

Every batch is validated in full (offsets, lengths, UTF-8). Exits with 1 where the stream is not valid, holds no schema
or does not end with the end-of-stream marker, which the format leaves open but without which a cut stream looks whole.
With --json it prints one JSON object, so that a test can read it.
"""

import argparse
import io
import json
import sys
import urllib.error
import urllib.request

import pyarrow as pa
import pyarrow.compute

END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"


def fetch(source, headers):
    """The bytes and, from a URL, their declared type."""
    if source.startswith(("http://", "https://")):
        request = urllib.request.Request(source, headers=dict(header.split(": ", 1) for header in headers))
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.read(), response.headers.get("Content-Type")
        except urllib.error.HTTPError as error:
            # The body says why.
            sys.exit(f"{source}: {error}: {error.read().decode(errors='replace')}")
        except urllib.error.URLError as error:
            sys.exit(f"{source}: {error.reason}")
    with open(source, "rb") as file:
        return file.read(), None


def read(data):
    if data.startswith(b"ARROW1"):
        sys.exit("this is the Arrow file format, not the stream format")
    with pa.ipc.open_stream(io.BytesIO(data)) as reader:
        batches = list(reader)
        schema = reader.schema
    for batch in batches:
        batch.validate(full=True)
    # A stream that was cut between two batches reads like a whole one, but for the marker.
    if not data.endswith(END_OF_STREAM):
        sys.exit("the stream has no end-of-stream marker: it was cut, or something follows it")
    return schema, batches


def describe(schema, batches, table):
    columns = []
    for field, column in zip(schema, table.columns):
        entry = {"name": field.name, "type": str(field.type), "nullable": field.nullable, "nulls": column.null_count}
        if pa.types.is_floating(field.type):
            # JSON and most readers take NaN for a number: a column should use null instead.
            entry["nan"] = pa.compute.sum(pa.compute.is_nan(column)).as_py() or 0
        columns.append(entry)
    metadata = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
    return {"rows": table.num_rows, "batches": len(batches), "columns": columns, "metadata": metadata}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("source", help="URL or file")
    parser.add_argument("--header", action="append", default=[], help='"Name: value", may be repeated')
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--head", type=int, default=0, help="print the first rows as well")
    options = parser.parse_args()
    data, content_type = fetch(options.source, options.header)
    try:
        schema, batches = read(data)
    except pa.ArrowException as error:
        sys.exit(f"not a valid Arrow IPC stream: {error}")
    table = pa.Table.from_batches(batches, schema)
    out = {"bytes": len(data), "content_type": content_type, **describe(schema, batches, table)}
    if options.json:
        print(json.dumps(out))
        return
    print(f"{out['bytes']} bytes, {content_type or 'no content type'}, pyarrow {pa.__version__}")
    print(f"{out['rows']} rows in {out['batches']} batches, metadata {out['metadata']}")
    for column in out["columns"]:
        optional = "" if column["nullable"] else " not null"
        nan = f", {column['nan']} NaN" if "nan" in column else ""
        print(f"  {column['name']}: {column['type']}{optional}, {column['nulls']} null{nan}")
    for row in table.slice(0, options.head).to_pylist():
        print(row)


if __name__ == "__main__":
    main()
