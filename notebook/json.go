package notebook

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds nesting; Python's own reader gives up at about the same depth.
const maxDepth = 1000

var errSyntax = errors.New("invalid JSON")

type kind uint8

const (
	kindLiteral kind = iota // true, false, null
	kindNumber
	kindString
	kindArray
	kindObject
)

// value is a JSON value that keeps what encoding/json drops: the order of keys and the spelling of
// numbers and strings.
type value struct {
	kind    kind
	raw     string // the token as it was written: literals, numbers, and strings with their quotes
	items   []*value
	members []member
}

type member struct {
	key string // the token as it was written, with its quotes
	val *value
}

// parseJSON reads exactly one value. Like Python's reader it accepts NaN, Infinity and -Infinity, which
// notebooks contain, and of a repeated key it keeps the first place and the last value.
func parseJSON(data []byte) (*value, error) {
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("%w: not UTF-8", errSyntax)
	}
	p := &parser{text: string(data)}
	v, err := p.value(0)
	if err != nil {
		return nil, err
	}
	p.space()
	if p.pos != len(p.text) {
		return nil, p.fail("text after the end")
	}
	return v, nil
}

type parser struct {
	text string
	pos  int
}

func (p *parser) fail(problem string) error {
	line := 1 + strings.Count(p.text[:p.pos], "\n")
	return fmt.Errorf("%w: line %d: %s", errSyntax, line, problem)
}

func (p *parser) space() {
	for p.pos < len(p.text) {
		switch p.text[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

// next skips space and returns the byte that follows, 0 at the end.
func (p *parser) next() byte {
	p.space()
	if p.pos == len(p.text) {
		return 0
	}
	return p.text[p.pos]
}

func (p *parser) value(depth int) (*value, error) {
	if depth > maxDepth {
		return nil, p.fail("nested too deeply")
	}
	switch c := p.next(); {
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.array(depth)
	case c == '"':
		raw, err := p.str()
		return &value{kind: kindString, raw: raw}, err
	case c == 0 && p.pos == len(p.text):
		return nil, p.fail("unexpected end")
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if strings.HasPrefix(p.text[p.pos:], word) {
			p.pos += len(word)
			return &value{kind: kindLiteral, raw: word}, nil
		}
	}
	return p.number()
}

func (p *parser) object(depth int) (*value, error) {
	p.pos++
	v := &value{kind: kindObject}
	if p.next() == '}' {
		p.pos++
		return v, nil
	}
	places := map[string]int{}
	for {
		if p.next() != '"' {
			return nil, p.fail("a key must be a string")
		}
		key, err := p.str()
		if err != nil {
			return nil, err
		}
		if p.next() != ':' {
			return nil, p.fail("missing ':'")
		}
		p.pos++
		val, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		name := unquote(key)
		if place, again := places[name]; again {
			v.members[place].val = val
		} else {
			places[name] = len(v.members)
			v.members = append(v.members, member{key, val})
		}
		switch p.next() {
		case ',':
			p.pos++
		case '}':
			p.pos++
			return v, nil
		default:
			return nil, p.fail("missing ',' or '}'")
		}
	}
}

func (p *parser) array(depth int) (*value, error) {
	p.pos++
	v := &value{kind: kindArray}
	if p.next() == ']' {
		p.pos++
		return v, nil
	}
	for {
		item, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		v.items = append(v.items, item)
		switch p.next() {
		case ',':
			p.pos++
		case ']':
			p.pos++
			return v, nil
		default:
			return nil, p.fail("missing ',' or ']'")
		}
	}
}

// str reads a string token and returns it as written.
func (p *parser) str() (string, error) {
	start := p.pos
	for p.pos++; p.pos < len(p.text); p.pos++ {
		switch c := p.text[p.pos]; {
		case c == '"':
			p.pos++
			return p.text[start:p.pos], nil
		case c < 0x20:
			return "", p.fail("control character in a string")
		case c == '\\':
			if err := p.escape(); err != nil {
				return "", err
			}
		}
	}
	return "", p.fail("unterminated string")
}

// escape checks the escape at pos and leaves pos at its last byte.
func (p *parser) escape() error {
	p.pos++
	if p.pos == len(p.text) {
		return p.fail("unterminated string")
	}
	c := p.text[p.pos]
	if strings.IndexByte(`"\/bfnrt`, c) >= 0 {
		return nil
	}
	if c != 'u' || p.pos+4 >= len(p.text) {
		return p.fail("bad escape in a string")
	}
	for range 4 {
		p.pos++
		if strings.IndexByte("0123456789abcdefABCDEF", p.text[p.pos]) < 0 {
			return p.fail("bad escape in a string")
		}
	}
	return nil
}

func (p *parser) number() (*value, error) {
	start := p.pos
	if p.text[p.pos] == '-' {
		p.pos++
	}
	for _, word := range [...]string{"Infinity", "NaN"} {
		if strings.HasPrefix(p.text[p.pos:], word) && (word == "Infinity" || start == p.pos) {
			p.pos += len(word)
			return &value{kind: kindNumber, raw: p.text[start:p.pos]}, nil
		}
	}
	zero := p.pos
	if n := p.digits(); n == 0 || n > 1 && p.text[zero] == '0' {
		p.pos = start
		return nil, p.fail("unexpected character")
	}
	if p.at(".") {
		p.pos++
		if p.digits() == 0 {
			return nil, p.fail("bad number")
		}
	}
	if p.at("eE") {
		p.pos++
		if p.at("+-") {
			p.pos++
		}
		if p.digits() == 0 {
			return nil, p.fail("bad number")
		}
	}
	return &value{kind: kindNumber, raw: p.text[start:p.pos]}, nil
}

func (p *parser) at(set string) bool {
	return p.pos < len(p.text) && strings.IndexByte(set, p.text[p.pos]) >= 0
}

func (p *parser) digits() int {
	start := p.pos
	for p.at("0123456789") {
		p.pos++
	}
	return p.pos - start
}

// unquote decodes a string token that the parser or quote made. Lone surrogates become U+FFFD.
func unquote(raw string) string {
	if strings.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	var s string
	if err := json.Unmarshal([]byte(raw), &s); err != nil {
		return raw[1 : len(raw)-1] // unreachable: the token was checked
	}
	return s
}
