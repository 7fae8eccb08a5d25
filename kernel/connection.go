package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ErrConnection reports a connection file that cannot be used, or ports of one that cannot be bound.
var ErrConnection = errors.New("the connection file cannot be used")

const (
	maxConnectionFile  = 64 << 10
	connectionPatience = time.Second // for a file that is still being written
)

// Connection is the content of a connection file: where a kernel's clients will look for it.
type Connection struct {
	Path      string
	transport string // tcp or ipc
	ip        string // of ipc, the beginning of the sockets' paths
	key       []byte
	ports     map[string]int // by the socket's name; 0: any
	rest      map[string]any // entries that are not about sockets
}

// ReadConnection reads the connection file at path. A file that is not there or not whole yet is looked at again for
// a second. Errors wrap ErrConnection.
func ReadConnection(ctx context.Context, path string) (Connection, error) {
	patience, cancel := context.WithTimeout(ctx, connectionPatience)
	defer cancel()
	for {
		c, err := readConnection(path)
		if err == nil {
			return c, nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-patience.Done():
			return Connection{}, fmt.Errorf("%w: %w", ErrConnection, err)
		}
	}
}

func readConnection(path string) (Connection, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Connection{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return Connection{}, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxConnectionFile+1))
	switch {
	case err != nil:
		return Connection{}, err
	case len(raw) > maxConnectionFile:
		return Connection{}, fmt.Errorf("%s is larger than %d bytes", path, maxConnectionFile)
	case !json.Valid(raw):
		return Connection{}, fmt.Errorf("%s is not whole JSON", path)
	}
	return parseConnection(path, raw)
}

func parseConnection(path string, raw []byte) (Connection, error) {
	c := Connection{Path: path, transport: "tcp", ports: map[string]int{}}
	var named struct {
		Transport, IP, Key string
		Scheme             string `json:"signature_scheme"`
	}
	if err := errors.Join(json.Unmarshal(raw, &named), json.Unmarshal(raw, &c.rest)); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	if named.Scheme != "" && named.Scheme != signatureScheme {
		return c, fmt.Errorf("%s: signature_scheme %q, only %s is known", path, named.Scheme, signatureScheme)
	}
	switch named.Transport {
	case "tcp", "":
		c.ip = "127.0.0.1"
	case "ipc":
		c.transport, c.ip = "ipc", "kernel-ipc"
	default:
		return c, fmt.Errorf("%s: transport %q, only tcp and ipc are known", path, named.Transport)
	}
	if named.IP != "" {
		c.ip = named.IP
	}
	c.key = []byte(named.Key)
	for _, s := range sockets {
		port, _ := c.rest[s.port].(float64)
		if port < 0 || port > 65535 || port != float64(int(port)) {
			return c, fmt.Errorf("%s: %s is no port", path, s.port)
		}
		c.ports[s.name] = int(port)
		delete(c.rest, s.port)
	}
	for _, name := range []string{"transport", "ip", "key", "signature_scheme", "curve_publickey", "curve_secretkey"} {
		delete(c.rest, name)
	}
	return c, nil
}

// listen binds one socket, and notes the port that it got.
func (c *Connection) listen(name string) (net.Listener, error) {
	if c.transport == "ipc" {
		return c.listenFile(name)
	}
	ip := c.ip
	if ip == "*" {
		ip = ""
	}
	l, err := net.Listen("tcp", net.JoinHostPort(ip, strconv.Itoa(c.ports[name])))
	if err != nil {
		return nil, fmt.Errorf("%w: bind %s: %w; start the kernel again, with other ports", ErrConnection, name, err)
	}
	if addr, ok := l.Addr().(*net.TCPAddr); ok {
		c.ports[name] = addr.Port
	}
	return l, nil
}

// listenFile binds a socket file. One that nobody listens on any more is replaced.
func (c *Connection) listenFile(name string) (net.Listener, error) {
	path := func() string { return fmt.Sprintf("%s-%d", c.ip, c.ports[name]) }
	for c.ports[name] == 0 {
		for n := 1; ; n++ {
			if _, err := os.Lstat(fmt.Sprintf("%s-%d", c.ip, n)); errors.Is(err, os.ErrNotExist) {
				c.ports[name] = n
				break
			}
		}
	}
	if raw, err := net.Dial("unix", path()); err == nil {
		_ = raw.Close()
		return nil, fmt.Errorf("%w: bind %s: another program listens on %s", ErrConnection, name, path())
	}
	if info, err := os.Lstat(path()); err == nil && info.Mode().Type() == os.ModeSocket {
		_ = os.Remove(path())
	}
	l, err := net.Listen("unix", path())
	if err != nil {
		return nil, fmt.Errorf("%w: bind %s: %w", ErrConnection, name, err)
	}
	return l, os.Chmod(path(), 0o700)
}

// save writes the ports that were chosen here into the file, for clients to read.
func (c *Connection) save() error {
	entries := map[string]any{
		"transport": c.transport, "ip": c.ip, "key": string(c.key), "signature_scheme": signatureScheme,
	}
	for name, value := range c.rest {
		entries[name] = value
	}
	for _, s := range sockets {
		entries[s.port] = c.ports[s.name]
	}
	data, err := json.MarshalIndent(entries, "", "  ")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConnection, err)
	}
	f, err := os.CreateTemp(filepath.Dir(c.Path), "."+strings.TrimPrefix(filepath.Base(c.Path), ".")+"-*")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConnection, err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), c.Path)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConnection, err)
	}
	return nil
}
