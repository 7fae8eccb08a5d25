package zmtp

import (
	"encoding/binary"
	"net"
)

// aside is the size from which a frame is sent from where it lies instead of being copied.
const aside = 8 << 10

// Packet is an encoded message. It is never modified and may be sent to many peers.
type Packet struct {
	parts net.Buffers
	size  int
	tail  *Tail // of the last part; nil if that is there
}

// Size is the number of bytes of the packet on the wire.
func (p Packet) Size() int { return p.size }

// EncodeComing is Encode of a message whose last frame is still coming, if tail is not nil.
func EncodeComing(frames [][]byte, tail *Tail) Packet {
	p := Encode(frames)
	p.tail = tail
	return p
}

// Encode encodes a message. The packet shares the memory of large frames.
func Encode(frames [][]byte) Packet {
	var p Packet
	var small []byte
	flush := func() {
		if len(small) > 0 {
			p.parts, p.size, small = append(p.parts, small), p.size+len(small), nil
		}
	}
	for i, f := range frames {
		var flags byte
		if i < len(frames)-1 {
			flags = flagMore
		}
		if small = header(small, flags, len(f)); len(f) < aside {
			small = append(small, f...)
			continue
		}
		flush()
		p.parts, p.size = append(p.parts, f), p.size+len(f)
	}
	flush()
	return p
}

func header(b []byte, flags byte, size int) []byte {
	if size <= 255 {
		return append(b, flags, byte(size))
	}
	return binary.BigEndian.AppendUint64(append(b, flags|flagLong), uint64(size))
}

func command(name string, data []byte) []byte {
	b := header(nil, flagCommand, 1+len(name)+len(data))
	b = append(append(b, byte(len(name))), name...)
	return append(b, data...)
}

func splitCommand(body []byte) (name string, data []byte, ok bool) {
	if len(body) == 0 || len(body) < 1+int(body[0]) {
		return "", nil, false
	}
	n := 1 + int(body[0])
	return string(body[1:n]), body[n:], true
}

func property(b []byte, key string, value []byte) []byte {
	b = append(append(b, byte(len(key))), key...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(value)))
	return append(b, value...)
}

func splitProperty(b []byte) (key, value, rest []byte, ok bool) {
	if len(b) == 0 || len(b) < 1+int(b[0])+4 {
		return nil, nil, nil, false
	}
	n := 1 + int(b[0])
	key, b = b[1:n], b[n:]
	size := uint64(binary.BigEndian.Uint32(b))
	if b = b[4:]; uint64(len(b)) < size {
		return nil, nil, nil, false
	}
	return key, b[:size], b[size:], true
}
