package share

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"kedge/cellgraph"
)

const (
	capabilityType   = "application/vnd.kedge.capability+json"
	capabilityFormat = 1
	maxToken         = 2048 // bytes
)

// ErrRefused says that a link does not let its holder in: it was changed, is
// of something else, or was revoked.
var ErrRefused = errors.New("the link does not let you in")

// Capability lets whoever holds it read one shared snapshot until a time.
type Capability struct {
	Format   int              `json:"format"`
	Share    string           `json:"share"`
	Snapshot cellgraph.Digest `json:"snapshot"`
	Ops      []string         `json:"ops"` // "read"
	Expires  time.Time        `json:"expires"`
	For      string           `json:"for,omitempty"` // the key of who may read; "": whoever has the link
}

// Token is a capability with its signature, as it stands in a link.
func (s Signer) Token(c Capability) (string, error) {
	c.Format, c.Ops, c.Expires = capabilityFormat, []string{"read"}, c.Expires.UTC()
	text, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("make a link: %w", err)
	}
	return s.signed(capabilityType, text), nil
}

// signed is a text with its signature, as it stands in an address or a header.
func (s Signer) signed(kind string, text []byte) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode(text) + "." + encode(s.sign(kind, text))
}

// cutSigned takes apart what signed has made; whose signature it is remains to be asked.
func cutSigned(signed string) (text, signature []byte, ok bool) {
	body, rest, ok := strings.Cut(signed, ".")
	decode := base64.RawURLEncoding.Strict().DecodeString
	text, err := decode(body)
	signature, sigErr := decode(rest)
	return text, signature, ok && err == nil && sigErr == nil
}

// ReadToken checks a token that home has signed, for one share at a time:
// [ErrRefused], [ErrExpired].
func ReadToken(token string, home Key, share string, now time.Time) (Capability, error) {
	refused := func(why string) (Capability, error) { return Capability{}, fmt.Errorf("%s: %w", why, ErrRefused) }
	if len(token) > maxToken {
		return refused("the token is too long")
	}
	text, signature, ok := cutSigned(token)
	if !ok {
		return refused("there is no token")
	}
	if !verify(home, capabilityType, text, signature) {
		return refused("its token was not signed here, or was changed")
	}
	var c Capability
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil || c.Format != capabilityFormat {
		return refused("its token is of another version")
	}
	if c.Share != share || len(c.Ops) != 1 || c.Ops[0] != "read" {
		return refused("its token is for something else")
	}
	if !now.Before(c.Expires) {
		return Capability{}, fmt.Errorf("on %s: %w", c.Expires.Format(time.RFC3339), ErrExpired)
	}
	return c, nil
}

// Link is where a shared snapshot is, and what lets its holder in. The token
// stands in the fragment, which browsers send to nobody.
type Link struct {
	Base  string // URL of the server, without a slash at its end
	Share string
	Token string
}

func (l Link) String() string { return l.Base + "/s/" + l.Share + "#" + l.Token }

// Local reports whether the link leads to this machine only.
func (l Link) Local() bool {
	u, err := url.Parse(l.Base)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// ParseLink reads a link, with or without its token.
func ParseLink(text string) (Link, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return Link{}, fmt.Errorf("%q is no link of kedge share", text)
	}
	at := strings.LastIndex(u.Path, "/s/")
	if at < 0 || !IsShareID(u.Path[at+3:]) {
		return Link{}, fmt.Errorf("%q is no link of kedge share", text)
	}
	base := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path[:at]}
	return Link{Base: base.String(), Share: u.Path[at+3:], Token: u.Fragment}, nil
}

// IsShareID reports whether text is the id of a share: 16 hexadecimal digits.
func IsShareID(text string) bool {
	return len(text) == 16 && strings.Trim(text, "0123456789abcdef") == ""
}
