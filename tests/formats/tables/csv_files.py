"""CSV by pandas, polars, DuckDB, pyarrow and Python, and as Excel writes it, each read back as text by its writer.

Missing and empty are both "": few writers distinguish them, and those that do use quotes, which other readers drop.
"""

import csv
import gzip
import io

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv

import samples
from written import ROW, Written, rows

# Delimiters by their names in file names.
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}

# Most writers put no quotes around a carriage return, which ends a line for most readers.
UNQUOTED = "old\rMac"

# pandas and Python end a text at the first NUL byte or refuse it.
TEXTS = [*(text for text in samples.TEXTS if "\0" not in text and text != UNQUOTED), "\x01\x1f\x7f\x85", None, "last"]
PLAIN = ["Acme", "", " blanks around ", "007", "NA", "Ünï 日本", "back\\slash", None, "last"]


def frame(texts=TEXTS):
    """A table of text and numbers, missing values among both."""
    return pd.DataFrame(
        {ROW: range(len(texts)), "value": pd.Series(texts, dtype="str"), "share": [None, *(n / 7 for n in range(len(texts) - 1))]}
    )


def by_pandas(folder):
    for name, texts, writes, reads, reading in dialects_of_pandas():
        path = folder / f"pandas.{name}.csv"
        frame(texts).to_csv(path, **dict(index=False) | writes)
        yield Written(path, text_of(pd.read_csv(path, **AS_TEXT | reads)), reading)
    for name, reads in {"name.tsv": dict(sep="\t"), "packed.csv.gz": {}, "packed.csv.zst": {}}.items():
        path = folder / f"pandas.{name}"
        frame().to_csv(path, index=False, **reads)
        yield Written(path, text_of(pd.read_csv(path, **AS_TEXT | reads)))
    columns = {"one-column": {"value": ["Acme", "", "last"]}, "ids": {ROW: [0, 1, 2, 3], "company_id": [70, None, 0, -1]}}
    for name, values in columns.items():
        path = folder / f"pandas.{name}.csv"
        pd.DataFrame(values).to_csv(path, index=False)
        yield Written(path, text_of(pd.read_csv(path, **AS_TEXT)))


AS_TEXT = dict(dtype=str, keep_default_na=False)


def dialects_of_pandas():
    """Name, texts, pandas' options for writing and reading, and Rollcall's for reading."""
    for quoting in ("QUOTE_MINIMAL", "QUOTE_ALL", "QUOTE_NONNUMERIC"):
        yield quoting[6:].lower(), TEXTS, dict(quoting=getattr(csv, quoting)), {}, {}
    unquoted = dict(quoting=csv.QUOTE_NONE)
    yield "none", PLAIN, unquoted, unquoted, {}
    escaped = dict(quoting=csv.QUOTE_NONE, escapechar="\\")
    for name, text in {"delimiter": "a,b", "quote": 'a "b"', "escape": "back\\slash"}.items():
        yield f"escaped-{name}", ["Acme", text], escaped, escaped, {}
    not_doubled = dict(doublequote=False, escapechar="\\")
    yield "escaped-not-doubled", ["Acme", 'a "b"'], not_doubled, not_doubled, {}
    yield "single-quotes", ["Acme", "a,b"], dict(quotechar="'"), dict(quotechar="'"), {}
    for name, delimiter in DELIMITERS.items():
        yield name, TEXTS, dict(sep=delimiter), dict(sep=delimiter), {}
        yield f"{name}-told", TEXTS, dict(sep=delimiter), dict(sep=delimiter), dict(delimiter=delimiter)
    yield "colon", TEXTS, dict(sep=":"), dict(sep=":"), dict(delimiter=":")
    yield "lines-crlf", [*TEXTS, UNQUOTED], dict(lineterminator="\r\n"), {}, {}
    yield "lines-cr", [text for text in [*TEXTS, UNQUOTED] if text != "two\nlines"], dict(lineterminator="\r"), {}, {}
    yield "unquoted-return", ["Acme", UNQUOTED], {}, {}, {}
    yield "quoted-return", ["Acme", UNQUOTED], dict(quoting=csv.QUOTE_ALL), {}, {}
    yield "mark", TEXTS, dict(encoding="utf-8-sig"), {}, {}
    for encoding in ("latin-1", "utf-16"):
        yield encoding, ["Acme", "Söhne"], dict(encoding=encoding), dict(encoding=encoding), {}
    yield "missing-na", TEXTS, dict(na_rep="NA"), {}, {}
    yield "decimal-comma", TEXTS, dict(sep=";", decimal=","), dict(sep=";"), {}
    yield "index", PLAIN, dict(index=True), {}, {}
    yield "index-named", PLAIN, dict(index=True, index_label="index"), {}, {}


def by_polars(folder):
    table = pl.from_pandas(frame())

    def file(name, reads=None, reading=None, **writes):
        path = folder / f"polars.{name}"
        table.write_csv(path, **writes)
        back = pl.read_csv(path, infer_schema=False, **reads or {})
        return Written(path, text_of(back.to_pandas()), reading or {})

    for style in ("necessary", "always", "non_numeric"):
        yield file(f"{style}.csv", quote_style=style)
    yield file("missing-na.csv", null_value="NA")
    yield file("mark.csv", include_bom=True)
    yield file("crlf.csv", line_terminator="\r\n", reads=dict(eol_char="\n"))
    for name, delimiter in DELIMITERS.items():
        yield file(f"{name}.csv", separator=delimiter, reads=dict(separator=delimiter))


def by_duckdb(folder):
    connection = duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False})
    connection.register("companies", pa.Table.from_pandas(frame()))

    def file(name, options="header true", reads=""):
        path = folder / f"duckdb.{name}"
        connection.sql(f"copy companies to '{path}' (format csv, {options})")
        back = connection.sql(
            f"from read_csv('{path}', all_varchar = true, header = true, quote = '\"', escape = '\"', max_line_size = 1000000 {reads})"
        )
        return Written(path, text_of(back.df()))

    yield file("default.csv")
    yield file("quoted.csv", "header, force_quote *")
    yield file("quoted-value.csv", "header, force_quote (value)")
    for name, delimiter in DELIMITERS.items():
        yield file(f"{name}.csv", f"header, delimiter '{delimiter}'", f", delim = '{delimiter}'")
    yield file("missing-na.csv", "header, nullstr 'NA'")
    yield file("packed.csv.gz", "header, compression gzip")
    yield file("packed.csv.zst", "header, compression zstd")


def by_pyarrow(folder):
    table = pa.Table.from_pandas(frame(), preserve_index=False)
    for quoting in ("needed", "all_valid"):
        for name, delimiter in DELIMITERS.items():
            path = folder / f"pyarrow.{quoting}-{name}.csv"
            pa.csv.write_csv(table, path, pa.csv.WriteOptions(delimiter=delimiter, quoting_style=quoting))
            back = pa.csv.read_csv(
                path,
                parse_options=pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
                convert_options=pa.csv.ConvertOptions(column_types={name: pa.string() for name in table.column_names}),
            )
            yield Written(path, text_of(back.to_pandas()))


def by_python(folder):
    for dialect in csv.list_dialects():
        path = folder / f"python.{dialect}.csv"
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, dialect)
            writer.writerows([list(frame()), *frame().astype(object).where(frame().notna(), None).values.tolist()])
        with open(path, newline="", encoding="utf-8") as file:
            yield Written(path, list(csv.DictReader(file, dialect=dialect)))


# Excel's own ways, by hand: it runs on no machine of ours. What Python's reader says with the delimiter that Excel would take.
EXCEL = {
    "semicolon.csv": (";", '\ufeffrow;value;share\r\n0;"a;b ""c""";1,5\r\n1;"two\nlines";\r\n2;;0\r\n'),
    "comma.csv": (",", '\ufeffrow,value\r\n0,"a,b"\r\n1,"=""007"""\r\n2,\'007\r\n3,=1+1\r\n4,"1,234.50"\r\n5,50%\r\n'),
    "tab.txt.tsv": ("\t", '\ufeffrow\tvalue\r\n0\t"a\tb"\r\n1\t"say ""hi"""\r\n2\t a \r\n'),
    "mac.csv": (",", 'row,value\r0,Acme\r1,"two\rlines"\r'),
    "no-end.csv": (",", "row,value\r\n0,Acme\r\n1,last"),
    "empty-tail.csv": (",", "row,value\r\n0,Acme\r\n1,last\r\n,\r\n,\r\n"),
    "empty-columns.csv": (",", "row,value,,\r\n0,Acme,,\r\n1,last,,\r\n"),
    "blank-between.csv": (",", "row,value\r\n0,Acme\r\n,\r\n\r\n1,last\r\n"),
    "sep-semicolon.csv": (";", "sep=;\r\nrow;value\r\n0;a,b\r\n1;last\r\n"),
    "sep-tab.csv": ("\t", "sep=\t\r\nrow\tvalue\r\n0\ta,b\r\n1\tlast\r\n"),
    "sep-at.csv": ("@", "sep=@\r\nrow@value\r\n0@a,b\r\n1@last\r\n"),
    "packed.csv.gz": (";", '\ufeffrow;value\r\n0;"a;b"\r\n1;1,5\r\n'),
}


def by_excel(folder):
    for name, (delimiter, text) in EXCEL.items():
        path = folder / f"excel.{name}"
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
        lines = text.removeprefix("\ufeff")
        if lines.startswith("sep="):
            lines = lines.partition("\r\n")[2]
        table = csv.DictReader(io.StringIO(lines, newline=""), delimiter=delimiter)
        yield Written(path, [{name: value for name, value in row.items() if name} for row in table if any(row.values())])
    unicode_text = folder / "excel.unicode-text.csv"
    unicode_text.write_bytes("row\tvalue\r\n0\tAcme\r\n".encode("utf-16"))
    yield Written(unicode_text, [{ROW: "0", "value": "Acme"}])


def files(folder):
    for write in (by_pandas, by_polars, by_duckdb, by_pyarrow, by_python, by_excel):
        yield from write(folder)


def text_of(table):
    columns = {name: ["" if value is None or value != value else value for value in table[name]] for name in table}
    return [row for row in rows(columns) if any(row.values())]
