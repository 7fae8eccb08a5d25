package notebook

import (
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// maxIntDigits is where Python's int() refuses text (sys.int_info.default_max_str_digits).
const maxIntDigits = 4300

var (
	pyInt   = regexp.MustCompile(`^[+-]?[0-9]+(_[0-9]+)*$`)
	pyFloat = regexp.MustCompile(`(?i)^[+-]?(([0-9]+(_[0-9]+)*\.?([0-9]+(_[0-9]+)*)?|\.[0-9]+(_[0-9]+)*)(e[+-]?[0-9]+(_[0-9]+)*)?|inf|infinity|nan)$`)
)

// resolve is papermill's reading of -p NAME VALUE, as a Python literal.
func resolve(text string) string {
	switch text {
	case "True", "False", "None":
		return text
	}
	trimmed := strings.TrimSpace(text)
	plain := strings.ReplaceAll(trimmed, "_", "")
	switch {
	case pyInt.MatchString(trimmed) && len(plain) <= maxIntDigits:
		return intLiteral(plain)
	case pyFloat.MatchString(trimmed):
		return floatLiteral(plain)
	}
	return stringLiteral(text)
}

// translate is papermill's PythonTranslator for what JSON can hold.
func translate(v *value) string {
	switch v.kind {
	case kindString:
		return stringLiteral(unquote(v.raw))
	case kindNumber:
		if pyInt.MatchString(v.raw) {
			return intLiteral(v.raw)
		}
		return floatLiteral(v.raw)
	case kindArray:
		items := make([]string, len(v.items))
		for i, item := range v.items {
			items[i] = translate(item)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case kindObject:
		items := make([]string, len(v.members))
		for i, m := range v.members {
			items[i] = stringLiteral(unquote(m.key)) + ": " + translate(m.val)
		}
		return "{" + strings.Join(items, ", ") + "}"
	}
	switch v.raw {
	case "true":
		return "True"
	case "false":
		return "False"
	}
	return "None"
}

func intLiteral(digits string) string {
	n, ok := new(big.Int).SetString(digits, 10)
	if !ok {
		return stringLiteral(digits) // unreachable: callers matched pyInt
	}
	return n.String()
}

// floatLiteral is Python's repr, and papermill's spelling of what has no literal.
func floatLiteral(text string) string {
	f, _ := strconv.ParseFloat(text, 64) // out of range gives ±Inf, as in Python
	switch {
	case math.IsNaN(f):
		return "float('nan')"
	case math.IsInf(f, -1):
		return "float('-inf')"
	case math.IsInf(f, 1):
		return "float('inf')"
	}
	sci := strconv.FormatFloat(f, 'e', -1, 64)
	exp, _ := strconv.Atoi(sci[strings.IndexByte(sci, 'e')+1:])
	if exp < -4 || exp >= 16 {
		return sci
	}
	plain := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(plain, ".") {
		plain += ".0"
	}
	return plain
}

// stringLiteral is Python's unicode_escape in double quotes, as papermill writes strings.
func stringLiteral(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '\\':
			b.WriteString(`\\`)
		case r == '"':
			b.WriteString(`\"`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r >= 0x20 && r < 0x7f:
			b.WriteRune(r)
		case r <= 0xff:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
