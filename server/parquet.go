package server

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	parquetMagic = "PAR1"
	maxFooter    = 4 << 20 // bytes
	tailLength   = 8       // of a file: the length of its footer, and the magic
)

// Types of Parquet's columns (parquet.thrift), and what else says how they are meant.
const (
	ptBool, ptInt32, ptInt64, ptInt96, ptFloat, ptDouble, ptBytes, ptFixed = 0, 1, 2, 3, 4, 5, 6, 7

	ltText, ltDecimal, ltDate, ltTime, ltTimestamp, ltInteger = 1, 5, 6, 7, 8, 10
)

var physical = []string{"bool", "int32", "int64", "int96", "float", "double", "bytes", "fixed bytes"}

// footerLength is how long the footer is of a Parquet file that ends with tail.
func footerLength(tail []byte) (int64, bool) {
	if len(tail) != tailLength || string(tail[4:]) != parquetMagic {
		return 0, false
	}
	return int64(binary.LittleEndian.Uint32(tail)), true
}

// parquetTable is what the footer of a Parquet file says: its columns, their
// types, and what its writer has noted of them. The values are not read.
func parquetTable(footer []byte) (preview, error) {
	t := &thrift{data: footer}
	file, err := t.structure(0)
	if err != nil {
		return preview{}, err
	}
	columns := columnsOf(items(file[2]))
	for _, g := range items(file[4]) {
		for _, one := range items(fields(g)[1]) {
			note(columns, fields(fields(one)[3]))
		}
	}
	p := preview{Kind: "table", Rows: [][]string{{"column", "type", "missing", "from", "to"}}, Whole: len(columns.list) <= maxTable}
	for _, c := range columns.list[:min(len(columns.list), maxTable)] {
		missing := ""
		if c.noted && !c.unsure {
			missing = strconv.FormatInt(c.missing, 10)
		}
		p.Rows = append(p.Rows, []string{c.name, c.kind, missing, c.shown(c.low), c.shown(c.high)})
	}
	rows, _ := file[3].(int64)
	p.Text = fmt.Sprintf("Parquet: %d rows, %d columns, and what the file notes of them; the values are not read.", rows, len(columns.list))
	return p, nil
}

// column is a leaf of a schema, with what is noted of it.
type column struct {
	name, kind        string
	typ               int64
	logical           int // of LogicalType; 0 is none
	scale             int64
	unit              time.Duration
	missing           int64
	noted, unsure     bool // of how many are missing, by some parts of the file; and by not all
	low, high         []byte
	ranged, rangeless bool
}

type columnList struct {
	list []*column
	at   map[string]*column
}

func items(v any) []any {
	list, _ := v.([]any)
	return list
}

func fields(v any) map[int]any {
	found, _ := v.(map[int]any)
	return found
}

func words(v any) string {
	b, _ := v.([]byte)
	if len(b) > maxField {
		b = b[:maxField]
	}
	return strings.ToValidUTF8(string(b), "�")
}

// columnsOf are the leaves of a schema, which is a tree in depth-first order.
func columnsOf(schema []any) columnList {
	all := columnList{at: map[string]*column{}}
	type level struct {
		left int64
		name string
	}
	var above []level
	for i, one := range schema {
		f := fields(one)
		name, children := words(f[4]), int64(0)
		if n, ok := f[5].(int64); ok {
			children = n
		}
		for len(above) > 0 && above[len(above)-1].left <= 0 {
			above = above[:len(above)-1]
		}
		path := name
		if n := len(above); n > 0 {
			above[n-1].left--
			if above[n-1].name != "" {
				path = above[n-1].name + "." + name
			}
		}
		if children > 0 {
			if i == 0 {
				path = "" // the root has a name that says nothing
			}
			if len(above) < maxDeep && len(path) < 4*maxField {
				above = append(above, level{children, path})
			}
			continue
		}
		c := &column{name: path}
		c.typ, _ = f[1].(int64)
		c.meant(f)
		all.list, all.at[path] = append(all.list, c), c
	}
	return all
}

// meant says how the values of a column are to be read.
func (c *column) meant(f map[int]any) {
	if c.typ >= 0 && c.typ < int64(len(physical)) {
		c.kind = physical[c.typ]
	}
	logical, converted := fields(f[10]), int64(-1)
	if n, ok := f[6].(int64); ok {
		converted = n
	}
	units := map[int]time.Duration{1: time.Millisecond, 2: time.Microsecond, 3: time.Nanosecond}
	switch {
	case logical[ltText] != nil || converted == 0:
		c.logical, c.kind = ltText, "text"
	case logical[ltDate] != nil || converted == 6:
		c.logical, c.kind = ltDate, "date"
	case logical[ltDecimal] != nil:
		d := fields(logical[ltDecimal])
		c.scale, _ = d[1].(int64)
		c.logical, c.kind = ltDecimal, fmt.Sprintf("decimal(%v, %d)", d[2], c.scale)
	case logical[ltTimestamp] != nil:
		ts := fields(logical[ltTimestamp])
		for k, unit := range units {
			if fields(ts[2])[k] != nil {
				c.unit = unit
			}
		}
		c.logical, c.kind = ltTimestamp, "timestamp"
		if ts[1] == true {
			c.kind = "timestamp, UTC"
		}
	case converted == 9 || converted == 10:
		c.logical, c.kind, c.unit = ltTimestamp, "timestamp", units[int(converted)-8]
	case logical[ltTime] != nil:
		c.logical, c.kind = ltTime, "time"
	case logical[ltInteger] != nil:
		n := fields(logical[ltInteger])
		c.kind = fmt.Sprintf("int%v", n[1])
		if n[2] != true {
			c.logical, c.kind = ltInteger, "u"+c.kind
		}
	}
}

// note adds what one part of the file says of a column.
func note(all columnList, chunk map[int]any) {
	var path []string
	for _, p := range items(chunk[3]) {
		path = append(path, words(p))
	}
	c := all.at[strings.Join(path, ".")]
	if c == nil {
		return
	}
	s := fields(chunk[12])
	if n, ok := s[3].(int64); ok && n >= 0 && c.missing <= math.MaxInt64-n {
		c.missing, c.noted = c.missing+n, true
	} else {
		c.unsure = true
	}
	if count, ok := chunk[5].(int64); ok && s[3] == count {
		return // none of them has a value
	}
	low, lowOK := s[6].([]byte)
	high, highOK := s[5].([]byte)
	if !lowOK || !highOK || c.rangeless || !c.readable(low) || !c.readable(high) {
		c.low, c.high, c.rangeless = nil, nil, true // of the others it would say nothing of the whole
		return
	}
	if !c.ranged || c.less(low, c.low) {
		c.low = low
	}
	if !c.ranged || c.less(c.high, high) {
		c.high = high
	}
	c.ranged = true
}

// readable reports whether a value has the length that its type says.
func (c *column) readable(v []byte) bool {
	switch c.typ {
	case ptBool:
		return len(v) == 1
	case ptInt32, ptFloat:
		return len(v) == 4
	case ptInt64, ptDouble:
		return len(v) == 8
	case ptBytes, ptFixed:
		return c.logical == ltText || c.logical == ltDecimal && len(v) <= 32
	}
	return false
}

func (c *column) less(a, b []byte) bool {
	switch {
	case c.typ == ptFloat || c.typ == ptDouble:
		return c.real(a) < c.real(b)
	case c.logical == ltText:
		return string(a) < string(b)
	}
	return c.whole(a).Cmp(c.whole(b)) < 0
}

func (c *column) real(v []byte) float64 {
	if c.typ == ptFloat {
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(v)))
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(v))
}

// whole is a value as a number without a fraction.
func (c *column) whole(v []byte) *big.Int {
	n := new(big.Int)
	switch {
	case c.typ == ptBool:
		return n.SetInt64(int64(v[0]))
	case c.typ == ptInt32 && c.logical == ltInteger:
		return n.SetUint64(uint64(binary.LittleEndian.Uint32(v)))
	case c.typ == ptInt32:
		return n.SetInt64(int64(int32(binary.LittleEndian.Uint32(v))))
	case c.typ == ptInt64 && c.logical == ltInteger:
		return n.SetUint64(binary.LittleEndian.Uint64(v))
	case c.typ == ptInt64:
		return n.SetInt64(int64(binary.LittleEndian.Uint64(v)))
	}
	n.SetBytes(v) // big endian, in two's complement
	if len(v) > 0 && v[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(v))))
	}
	return n
}

// shown is a value for people.
func (c *column) shown(v []byte) string {
	if v == nil || c.rangeless {
		return ""
	}
	switch {
	case c.typ == ptFloat || c.typ == ptDouble:
		return strconv.FormatFloat(c.real(v), 'g', 6, 64)
	case c.logical == ltText:
		if len(v) > maxField {
			v = append(v[:maxField:maxField], "…"...)
		}
		if !utf8.Valid(v) {
			return strings.ToValidUTF8(string(v), "�")
		}
		return string(v)
	case c.typ == ptBool:
		return strconv.FormatBool(v[0] != 0)
	}
	n := c.whole(v)
	switch {
	case c.logical == ltDate:
		return time.Unix(0, 0).UTC().AddDate(0, 0, int(n.Int64())).Format(time.DateOnly)
	case c.logical == ltTimestamp && c.unit > 0:
		per := int64(time.Second / c.unit)
		sec, part := n.Int64()/per, n.Int64()%per
		return time.Unix(sec, part*int64(c.unit)).UTC().Format("2006-01-02 15:04:05.999999999")
	case c.logical == ltDecimal && c.scale > 0 && c.scale < 64:
		return new(big.Float).SetPrec(256).Quo(new(big.Float).SetPrec(256).SetInt(n), new(big.Float).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(c.scale), nil))).Text('f', int(c.scale))
	}
	return n.String()
}
