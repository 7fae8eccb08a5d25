package notebook

import (
	"strings"
	"unicode"
)

// splitLines is Python's str.splitlines(keepends=True).
func splitLines(s string) []string {
	var lines []string
	start := 0
	for i, r := range s {
		if i < start {
			continue // the \n of a \r\n
		}
		switch r {
		case '\r':
			end := i + 1
			if end < len(s) && s[end] == '\n' {
				end++
			}
			lines, start = append(lines, s[start:end]), end
		case '\n', '\v', '\f', 0x1c, 0x1d, 0x1e, 0x85, 0x2028, 0x2029:
			end := i + len(string(r))
			lines, start = append(lines, s[start:end]), end
		}
	}
	if start < len(s) {
		lines = append(lines, s[start:])
	}
	return lines
}

// blank reports whether Python's str.strip would leave nothing: such a cell is never run.
func blank(s string) bool {
	return strings.TrimFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f
	}) == ""
}

// lineList is the list-of-lines form of a string value.
func lineList(s string) *value {
	list := newArray()
	for _, line := range splitLines(s) {
		list.items = append(list.items, newString(line))
	}
	return list
}

// joined returns the text of a string or of a list of strings, and whether v is either.
func joined(v *value) (string, bool) {
	if v == nil || v.kind != kindArray {
		return v.text()
	}
	var b strings.Builder
	for _, item := range v.items {
		line, ok := item.text()
		if !ok {
			return "", false
		}
		b.WriteString(line)
	}
	return b.String(), true
}

// Text is a string as it stands in a notebook's JSON, perhaps in lines; "" of what is neither.
func Text(raw []byte) string {
	v, err := parseJSON(raw)
	if err != nil {
		return ""
	}
	text, _ := joined(v)
	return text
}
