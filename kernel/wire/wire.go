// Package wire turns ZeroMQ frames of the Jupyter messaging protocol into messages and back. It opens no sockets.
package wire

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// MaxIdents is the largest number of routing frames Decode accepts before the delimiter.
const MaxIdents = 16

const (
	delimiter = "<IDS|MSG>"
	jsonParts = 4
)

// ErrFrame reports frames that are not a Jupyter message; ErrSignature reports a message signed with another key.
var (
	ErrFrame     = errors.New("not a Jupyter message")
	ErrSignature = errors.New("wrong message signature")
)

// Header is the header of a message. Unknown fields live only in the raw frame.
type Header struct {
	MsgID    string `json:"msg_id"`
	Username string `json:"username"`
	Session  string `json:"session"`
	Date     string `json:"date"`
	MsgType  string `json:"msg_type"`
	Version  string `json:"version"`
}

// Message is one decoded message. RawHeader and RawParent are the frames as received and, when set, are what
// Encode sends; Header and Parent are their decoded forms. An empty parent is the zero Header.
type Message struct {
	Idents    [][]byte
	Header    Header
	Parent    Header
	RawHeader json.RawMessage
	RawParent json.RawMessage
	Metadata  json.RawMessage
	Content   json.RawMessage
	Buffers   [][]byte
}

// Signer makes and checks HMAC-SHA256 signatures. With an empty key messages are unsigned.
type Signer struct{ key []byte }

// NewSigner returns a Signer for the connection file's key.
func NewSigner(key []byte) Signer { return Signer{key: key} }

// Sign returns the hex signature of the four JSON frames, empty for an empty key.
func (s Signer) Sign(parts ...[]byte) []byte {
	if len(s.key) == 0 {
		return []byte{}
	}
	mac := hmac.New(sha256.New, s.key)
	for _, p := range parts {
		mac.Write(p)
	}
	sum := mac.Sum(nil)
	return hex.AppendEncode(make([]byte, 0, 2*len(sum)), sum)
}

// Verify reports in constant time whether signature belongs to the parts.
func (s Signer) Verify(signature []byte, parts ...[]byte) bool {
	return len(s.key) == 0 || hmac.Equal(signature, s.Sign(parts...))
}

// Frames is a message taken apart. Its JSON has not been looked at.
type Frames struct {
	Idents                            [][]byte
	Signature                         []byte
	Header, Parent, Metadata, Content []byte
	Buffers                           [][]byte
}

// Split takes a message apart; the result shares memory with frames. Errors wrap ErrFrame.
func Split(frames [][]byte) (Frames, error) {
	at := -1
	for i := 0; i < len(frames) && i <= MaxIdents; i++ {
		if string(frames[i]) == delimiter {
			at = i
			break
		}
	}
	if at < 0 {
		return Frames{}, fmt.Errorf("%w: no delimiter in the first %d frames", ErrFrame, MaxIdents+1)
	}
	rest := frames[at+1:]
	if len(rest) < 1+jsonParts {
		return Frames{}, fmt.Errorf("%w: %d frames after the delimiter, need %d", ErrFrame, len(rest), 1+jsonParts)
	}
	return Frames{frames[:at], rest[0], rest[1], rest[2], rest[3], rest[4], rest[1+jsonParts:]}, nil
}

// Check returns ErrSignature if f is not signed with s's key.
func (s Signer) Check(f Frames) error {
	if !s.Verify(f.Signature, f.Header, f.Parent, f.Metadata, f.Content) {
		return ErrSignature
	}
	return nil
}

// Join is the inverse of Split, with a new signature.
func (s Signer) Join(f Frames) [][]byte {
	frames := make([][]byte, 0, len(f.Idents)+2+jsonParts+len(f.Buffers))
	frames = append(frames, f.Idents...)
	frames = append(frames, []byte(delimiter), s.Sign(f.Header, f.Parent, f.Metadata, f.Content))
	frames = append(frames, f.Header, f.Parent, f.Metadata, f.Content)
	return append(frames, f.Buffers...)
}

// Decode reads one message; the result shares memory with frames. Errors wrap ErrFrame or ErrSignature.
func Decode(frames [][]byte, key []byte) (Message, error) {
	f, err := Split(frames)
	if err != nil {
		return Message{}, err
	}
	if err := NewSigner(key).Check(f); err != nil {
		return Message{}, err
	}
	for i, p := range [jsonParts][]byte{f.Header, f.Parent, f.Metadata, f.Content} {
		if t := bytes.TrimLeft(p, " \t\r\n"); len(t) == 0 || t[0] != '{' || !json.Valid(p) {
			return Message{}, fmt.Errorf("%w: part %d is not a JSON object", ErrFrame, i)
		}
	}
	m := Message{
		Idents: f.Idents, RawHeader: f.Header, RawParent: f.Parent,
		Metadata: f.Metadata, Content: f.Content, Buffers: f.Buffers,
	}
	if err := json.Unmarshal(f.Header, &m.Header); err != nil {
		return Message{}, fmt.Errorf("%w: header: %w", ErrFrame, err)
	}
	if err := json.Unmarshal(f.Parent, &m.Parent); err != nil {
		return Message{}, fmt.Errorf("%w: parent header: %w", ErrFrame, err)
	}
	return m, nil
}

// Encode returns the frames of m, signed. Missing parts are sent as empty objects.
func Encode(m Message, key []byte) [][]byte {
	return NewSigner(key).Join(Frames{
		Idents: m.Idents, Header: headerFrame(m.RawHeader, m.Header), Parent: headerFrame(m.RawParent, m.Parent),
		Metadata: objectFrame(m.Metadata), Content: objectFrame(m.Content), Buffers: m.Buffers,
	})
}

func headerFrame(raw json.RawMessage, h Header) []byte {
	if len(raw) > 0 {
		return raw
	}
	if h == (Header{}) {
		return []byte("{}")
	}
	b, err := json.Marshal(h)
	if err != nil { // a struct of strings always marshals
		return []byte("{}")
	}
	return b
}

func objectFrame(raw json.RawMessage) []byte {
	if len(raw) == 0 {
		return []byte("{}")
	}
	return raw
}
