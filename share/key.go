// Package share lets a snapshot leave the machine and come back in on another:
// a signed manifest of what it is made of, a bundle that holds it, and the
// checks without which nothing of somebody else's is written, restored or run.
// FORMAT.md describes what travels.
package share

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"kedge/snapshotter"
)

// What the errors of this package wrap.
var (
	ErrDamaged = errors.New("it is not what its author signed")
	ErrExpired = errors.New("it has expired")
	ErrHostile = errors.New("it would write where it may not")
	ErrNewer   = errors.New("it was made by a newer kedge")
	ErrKey     = errors.New("the key cannot be used")
	ErrFull    = fmt.Errorf("the disk is too full: %w", syscall.ENOSPC)
)

// Key is a home's public key. In text it is 64 hexadecimal digits.
type Key = snapshotter.Author

// ParseKey reads a public key.
func ParseKey(text string) (k Key, err error) {
	text = strings.ToLower(strings.TrimSpace(text))
	if len(text) != 2*len(k) {
		return k, fmt.Errorf("%q is no key, which has %d hexadecimal digits: %w", text, 2*len(k), ErrKey)
	}
	if _, err := hex.Decode(k[:], []byte(text)); err != nil {
		return k, fmt.Errorf("%q is no key: %w: %w", text, ErrKey, err)
	}
	return k, nil
}

// KeyText is a public key in text.
func KeyText(k Key) string { return hex.EncodeToString(k[:]) }

// Signer is a home's private key.
type Signer struct{ key ed25519.PrivateKey }

// LoadSigner reads the key of a home, and makes one where there is none. A file
// that others can read is refused: it may have been read.
func LoadSigner(path string) (Signer, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeKey(path); err != nil {
			return Signer{}, fmt.Errorf("make the key %s: %w: %w", path, ErrKey, err)
		}
		info, err = os.Stat(path)
	}
	if err != nil {
		return Signer{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return Signer{}, fmt.Errorf("%s can be read by others: %w; if nobody has, chmod 600 it, else remove it", path, ErrKey)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Signer{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	seed, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(seed) != ed25519.SeedSize {
		return Signer{}, fmt.Errorf("%s is no key: %w; remove it to have a new one", path, ErrKey)
	}
	return Signer{ed25519.NewKeyFromSeed(seed)}, nil
}

// makeKey writes a new key, unless another process was first.
func makeKey(path string) error {
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = fmt.Fprintln(f, hex.EncodeToString(seed))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// Public is the key by which others know what this one has signed.
func (s Signer) Public() (k Key) {
	if s.key != nil {
		k = Key(s.key.Public().(ed25519.PublicKey))
	}
	return k
}

// sign signs a message of one type, so that it cannot be taken for another's.
func (s Signer) sign(kind string, message []byte) []byte {
	return ed25519.Sign(s.key, envelope(kind, message))
}

func verify(author Key, kind string, message, signature []byte) bool {
	return ed25519.Verify(author[:], envelope(kind, message), signature)
}

// envelope is DSSE's pre-authentication encoding.
func envelope(kind string, message []byte) []byte {
	return append(fmt.Appendf(nil, "DSSEv1 %d %s %d ", len(kind), kind, len(message)), message...)
}
