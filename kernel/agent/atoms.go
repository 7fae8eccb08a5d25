package agent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"unicode/utf8"
)

type atomKind uint8

const (
	atomStr    atomKind = iota // data: UTF-8, lone surrogates as three bytes
	atomBytes                  // data
	atomLegacy                 // data: a str of Python 2, as it stands in the stream
	atomFloat                  // bits: IEEE 754
	atomInt                    // bits: two's complement
	atomLong                   // data: two's complement, little-endian, shortest, over eight bytes
	atomBool                   // bits: 0 or 1
)

type atom struct {
	kind atomKind
	bits uint64
	data []byte
}

// maxDigits bounds a decimal integer in a stream. CPython refuses more than 4300 unless told otherwise.
const maxDigits = 1 << 16

var errTruncated = errors.New("truncated value")

// readAtom reads the atom whose opcode stands at offset at, and says where it ends.
func readAtom(stream []byte, at int) (a atom, end int, err error) {
	op, rest := stream[at], stream[at+1:]
	switch op {
	case opInt, opLong, opFloat, opUnicode, opString:
		n := bytes.IndexByte(rest, '\n')
		if n < 0 {
			return a, 0, errTruncated
		}
		a, err = textAtom(op, rest[:n])
		return a, at + n + 2, err
	case opBinFloat:
		if len(rest) < 8 {
			return a, 0, errTruncated
		}
		return atom{kind: atomFloat, bits: binary.BigEndian.Uint64(rest)}, at + 9, nil
	}
	size := 1
	switch op {
	case opBinUnicode, opBinBytes, opBinString, opLong4:
		size = 4
	case opBinUnicode8, opBinBytes8, opByteArray8:
		size = 8
	}
	if len(rest) < size {
		return a, 0, errTruncated
	}
	var n uint64
	switch size {
	case 1:
		n = uint64(rest[0])
	case 4:
		n = uint64(binary.LittleEndian.Uint32(rest))
	default:
		n = binary.LittleEndian.Uint64(rest)
	}
	if n > uint64(len(rest)-size) {
		return a, 0, errTruncated
	}
	data := rest[size : size+int(n)]
	end = at + 1 + size + int(n)
	switch op {
	case opLong1, opLong4:
		return intAtom(data), end, nil
	case opShortBinUnicode, opBinUnicode, opBinUnicode8:
		return atom{kind: atomStr, data: data}, end, nil
	case opShortBinString, opBinString:
		return atom{kind: atomLegacy, data: data}, end, nil
	}
	return atom{kind: atomBytes, data: data}, end, nil
}

// intAtom reads a little-endian two's complement number, of whatever length.
func intAtom(b []byte) atom {
	for len(b) > 1 {
		last, before := b[len(b)-1], b[len(b)-2]
		if (last != 0 || before >= 0x80) && (last != 0xff || before < 0x80) {
			break
		}
		b = b[:len(b)-1]
	}
	if len(b) > 8 {
		return atom{kind: atomLong, data: b}
	}
	var word [8]byte
	if len(b) > 0 && b[len(b)-1] >= 0x80 {
		word = [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	}
	copy(word[:], b)
	return atom{kind: atomInt, bits: binary.LittleEndian.Uint64(word[:])}
}

// textAtom reads the argument of an opcode of protocol 0.
func textAtom(op byte, text []byte) (atom, error) {
	switch op {
	case opUnicode:
		return unicodeAtom(text)
	case opString:
		return atom{kind: atomLegacy, data: text}, nil
	case opFloat:
		f, err := strconv.ParseFloat(string(text), 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return atom{}, fmt.Errorf("float %.20q", text)
		}
		if math.IsNaN(f) {
			return atom{kind: atomFloat, bits: 0x7ff8 << 48}, nil
		}
		return atom{kind: atomFloat, bits: math.Float64bits(f)}, nil
	case opInt:
		if string(text) == "00" || string(text) == "01" {
			return atom{kind: atomBool, bits: uint64(text[1] - '0')}, nil
		}
	case opLong:
		text = bytes.TrimSuffix(text, []byte("L"))
	}
	if len(text) > maxDigits {
		return atom{}, fmt.Errorf("integer of more than %d digits", maxDigits)
	}
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		return atom{kind: atomInt, bits: uint64(n)}, nil
	}
	n, ok := new(big.Int).SetString(string(text), 10)
	if !ok {
		return atom{}, fmt.Errorf("integer %.20q", text)
	}
	return intAtom(twosComplement(n)), nil
}

func twosComplement(n *big.Int) []byte {
	size := n.BitLen()/8 + 1
	if n.Sign() < 0 {
		n = new(big.Int).Add(n, new(big.Int).Lsh(big.NewInt(1), uint(size)*8))
	}
	b := n.FillBytes(make([]byte, size))
	slices.Reverse(b)
	return b
}

// unicodeAtom decodes Python's raw-unicode-escape: Latin-1 with \uXXXX and \UXXXXXXXX.
func unicodeAtom(text []byte) (atom, error) {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '\\' || i+1 == len(text) || (text[i+1] != 'u' && text[i+1] != 'U') {
			out = utf8.AppendRune(out, rune(c))
			if c == '\\' && i+1 < len(text) && text[i+1] == '\\' {
				out = append(out, '\\')
				i++
			}
			continue
		}
		digits := 4
		if text[i+1] == 'U' {
			digits = 8
		}
		if len(text)-i-2 < digits {
			return atom{}, errors.New("truncated escape in a str")
		}
		r, err := strconv.ParseUint(string(text[i+2:i+2+digits]), 16, 32)
		if err != nil || r > utf8.MaxRune {
			return atom{}, errors.New("bad escape in a str")
		}
		if r >= 0xd800 && r < 0xe000 {
			out = append(out, byte(0xe0|r>>12), byte(0x80|r>>6&0x3f), byte(0x80|r&0x3f))
		} else {
			out = utf8.AppendRune(out, rune(r))
		}
		i += 1 + digits
	}
	return atom{kind: atomStr, data: out}, nil
}
