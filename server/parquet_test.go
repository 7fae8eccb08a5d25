package server

import (
	"bytes"
	"os"
	"slices"
	"testing"
)

// footerOf is the footer of a Parquet file.
func footerOf(t testing.TB, file []byte) []byte {
	t.Helper()
	length, ok := footerLength(file[len(file)-tailLength:])
	if !ok || length > int64(len(file)-tailLength) {
		t.Fatal("it has no footer")
	}
	return file[int64(len(file)-tailLength)-length : len(file)-tailLength]
}

// testdata/small.parquet was written by pyarrow 26, in two parts of two rows.
func TestWhatAParquetFileSaysOfItself(t *testing.T) {
	file, err := os.ReadFile("testdata/small.parquet")
	if err != nil {
		t.Fatal(err)
	}
	p, err := parquetTable(footerOf(t, file))
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{"column", "type", "missing", "from", "to"},
		{"n", "int64", "1", "-5", "7"},
		{"u", "uint32", "0", "1", "4294967295"},
		{"f", "double", "1", "-2.25", "3"},
		{"w", "text", "1", "a", "zebra"},
		{"b", "bool", "0", "false", "true"},
		{"d", "date", "0", "2020-01-01", "2020-01-04"},
		{"t", "timestamp", "0", "2020-01-01 03:04:05", "2020-01-04 03:04:05"},
		{"z", "timestamp, UTC", "0", "1969-01-01 00:00:00", "1969-01-01 00:00:00"},
		{"m", "decimal(9, 2)", "1", "-2.25", "3.00"},
		{"l.list.element", "int64", "2", "1", "3"},
		{"s.x", "int64", "0", "1", "1"},
		{"s.y", "text", "0", "p", "p"},
		{"raw", "bytes", "0", "", ""},
	}
	for i, row := range want {
		if i >= len(p.Rows) || !slices.Equal(p.Rows[i], row) {
			t.Errorf("%q, want %q", p.Rows[min(i, len(p.Rows)-1)], row)
		}
	}
	if len(p.Rows) != len(want) || p.Text != "Parquet: 4 rows, 13 columns, and what the file notes of them; the values are not read." {
		t.Error(len(p.Rows), p.Text)
	}

	w := newSite(t, 10, "")
	files := map[string]string{"nb.ipynb": emptyNotebook, "a.parquet": string(file), "cut.parquet": string(file[:len(file)-1]), "long.parquet": "PAR1" + string(bytes.Repeat([]byte{1}, 3<<20)) + string(file),
		"short.parquet": "PAR1",
		"lies.parquet":  "PAR1\xff\xff\xff\xffPAR1", "empty.parquet": "PAR1\x00\x00\x00\x00PAR1"}
	look, _, _ := w.previews(t, files)
	for name, kind := range map[string]string{"a.parquet": "table", "long.parquet": "table", "cut.parquet": "none", "short.parquet": "none", "lies.parquet": "none", "empty.parquet": "none"} {
		if p, _ := look(name); p.Kind != kind || kind == "table" && len(p.Rows) != len(want) {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// Nothing that a file says makes the reading of its footer fail in another way than it may.
func FuzzParquet(f *testing.F) {
	file, err := os.ReadFile("testdata/small.parquet")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(footerOf(f, file))
	f.Fuzz(func(t *testing.T, footer []byte) {
		p, err := parquetTable(footer)
		if err == nil && len(p.Rows) > maxTable+1 {
			t.Error(len(p.Rows))
		}
	})
}
