package notebook

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

func newString(s string) *value          { return &value{kind: kindString, raw: quote(s)} }
func newArray(items ...*value) *value    { return &value{kind: kindArray, items: items} }
func newObject(members ...member) *value { return &value{kind: kindObject, members: members} }
func null() *value                       { return &value{kind: kindLiteral, raw: "null"} }
func field(key string, v *value) member  { return member{quote(key), v} }

// text returns the decoded string and whether v is one.
func (v *value) text() (string, bool) {
	if v == nil || v.kind != kindString {
		return "", false
	}
	return unquote(v.raw), true
}

// get returns the member of that name, nil if v is no object or has none.
func (v *value) get(name string) *value {
	if v == nil {
		return nil
	}
	for _, m := range v.members {
		if unquote(m.key) == name {
			return m.val
		}
	}
	return nil
}

// at follows names through objects; nil if one is missing.
func (v *value) at(path ...string) *value {
	for _, name := range path {
		v = v.get(name)
	}
	return v
}

// set replaces a member in its place. A new one goes where sorting puts it if the keys are sorted, as
// nbformat writes them, else to the end.
func (v *value) set(name string, val *value) {
	place, sorted := len(v.members), true
	for i, m := range v.members {
		key := unquote(m.key)
		if key == name {
			v.members[i].val = val
			return
		}
		if key > name && place == len(v.members) {
			place = i
		}
		if i > 0 && key < unquote(v.members[i-1].key) {
			sorted = false
		}
	}
	if !sorted {
		place = len(v.members)
	}
	v.members = slices.Insert(v.members, place, field(name, val))
}

// object returns the object member of that name, made (in place of what else was there) if need be.
func (v *value) object(name string) *value {
	if o := v.get(name); o != nil && o.kind == kindObject {
		return o
	}
	o := newObject()
	v.set(name, o)
	return o
}

func (v *value) clone() *value {
	c := &value{kind: v.kind, raw: v.raw}
	for _, item := range v.items {
		c.items = append(c.items, item.clone())
	}
	for _, m := range v.members {
		c.members = append(c.members, member{m.key, m.val.clone()})
	}
	return c
}

// appendIndented writes v as Python's json.dumps(indent=indent, ensure_ascii=False) does.
func (v *value) appendIndented(b []byte, indent string, depth int) []byte {
	line := func(i int) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '\n')
		b = appendIndent(b, indent, depth+1)
	}
	switch {
	case v.kind == kindArray && len(v.items) > 0:
		b = append(b, '[')
		for i, item := range v.items {
			line(i)
			b = item.appendIndented(b, indent, depth+1)
		}
		return append(appendIndent(append(b, '\n'), indent, depth), ']')
	case v.kind == kindObject && len(v.members) > 0:
		b = append(b, '{')
		for i, m := range v.members {
			line(i)
			b = append(append(b, m.key...), ": "...)
			b = m.val.appendIndented(b, indent, depth+1)
		}
		return append(appendIndent(append(b, '\n'), indent, depth), '}')
	}
	return v.appendCompact(b)
}

func appendIndent(b []byte, indent string, depth int) []byte {
	for range depth {
		b = append(b, indent...)
	}
	return b
}

// appendCompact writes v without any space.
func (v *value) appendCompact(b []byte) []byte {
	switch v.kind {
	case kindArray:
		b = append(b, '[')
		for i, item := range v.items {
			if i > 0 {
				b = append(b, ',')
			}
			b = item.appendCompact(b)
		}
		return append(b, ']')
	case kindObject:
		b = append(b, '{')
		for i, m := range v.members {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(append(b, m.key...), ':')
			b = m.val.appendCompact(b)
		}
		return append(b, '}')
	}
	return append(b, v.raw...)
}

// quote writes a string token as Python does with ensure_ascii=False: nothing escaped that JSON allows.
// Bytes that are not UTF-8 become U+FFFD.
func quote(s string) string {
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	var b strings.Builder
	b.Grow(len(s) + 2)
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case '\n':
			b.WriteString(`\n`)
		case '\r':
			b.WriteString(`\r`)
		case '\t':
			b.WriteString(`\t`)
		case '\b':
			b.WriteString(`\b`)
		case '\f':
			b.WriteString(`\f`)
		default:
			if c < 0x20 {
				fmt.Fprintf(&b, `\u%04x`, c)
			} else {
				b.WriteByte(c)
			}
		}
	}
	b.WriteByte('"')
	return b.String()
}
