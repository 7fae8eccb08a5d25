package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"kedge/server"
	"kedge/share"
	"kedge/snapshotter"
)

const serveUsage = `usage: kedge serve [--addr HOST:PORT] [--public-url URL] [--tls-cert FILE --tls-key FILE]
       kedge serve --stop

Answers for the links of kedge share, until it is interrupted; kedge share
starts it beside itself where it does not run. Nothing can be changed through
it, and each link opens its one snapshot only. It listens on this machine alone
unless --addr says otherwise. What it was told is remembered for the next time.

  --addr HOST:PORT  where to listen; by default 127.0.0.1 and a free port, the same each time
  --public-url URL  how people reach it, such as behind a reverse proxy, under a path too
  --tls-cert FILE   speak TLS with this certificate, and the key of --tls-key
  --tls-key FILE
  --stop            end the one that runs

examples:
  kedge serve --addr 0.0.0.0:8750 --tls-cert host.pem --tls-key host.key
  kedge serve --addr 127.0.0.1:8750 --public-url https://hub.example.org/user/ada/proxy/8750
  kedge serve --stop
`

// serving is what the server of this home was told, and how it is reached. It
// stays in the file serve.json, also after the server has ended.
type serving struct {
	PID         int    `json:"pid"`
	Addr        string `json:"addr"`
	Local       string `json:"local"`      // its URL on this machine
	Base        string `json:"base"`       // what links begin with
	PublicURL   string `json:"public_url"` // "" if it is Local
	Certificate string `json:"tls_cert,omitempty"`
	Key         string `json:"tls_key,omitempty"`
	Name        string `json:"name"` // by which it is told from what else may answer there
}

func serveCommand() command {
	return command{name: "serve", short: "answer for the links of kedge share", usage: serveUsage, run: runServe}
}

func runServe(ctx context.Context, out, errOut io.Writer, args []string) error {
	var now serving
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	fs.StringVar(&now.Addr, "addr", "", "")
	fs.StringVar(&now.PublicURL, "public-url", "", "")
	fs.StringVar(&now.Certificate, "tls-cert", "", "")
	fs.StringVar(&now.Key, "tls-key", "", "")
	stop := fs.Bool("stop", false, "")
	args, err := parse(fs, args)
	if err != nil {
		return err
	}
	if len(args) > 0 || (now.Certificate == "") != (now.Key == "") {
		return fmt.Errorf("%w: serve takes no arguments, and --tls-cert and --tls-key together", errUsage)
	}
	dir := snapshotter.DefaultDir()
	if *stop {
		return stopServer(ctx, out, dir)
	}
	return serve(ctx, errOut, dir, now)
}

func serve(ctx context.Context, errOut io.Writer, dir string, now serving) (err error) {
	h, err := openHome(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	lock, err := lockServer(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	before, _ := readServing(dir) // the first one remembers nothing
	l, err := now.listen(before)
	if err != nil {
		return err
	}
	defer l.Close()
	public, err := now.describe(l.Addr())
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(errOut, nil))
	s := server.New(server.Config{Store: h.cache.store, Registry: registryOf(dir), Home: h.signer.Public(), Logger: log, Now: time.Now, Public: public, Base: now.Base, Name: now.Name}, l.Addr())
	if err := registryOf(dir).Tidy(ctx, h.cache.store, time.Now()); err != nil {
		return err
	}
	if err := writeServing(dir, now); err != nil {
		return err
	}
	log.Info("serving", "base", now.Base, "addr", now.Addr)
	if ip := l.Addr().(*net.TCPAddr).IP; !ip.IsLoopback() && now.Certificate == "" && !strings.HasPrefix(now.PublicURL, "https:") {
		log.Warn("links and what they open can be read on the way; see --tls-cert")
	}
	err = s.Run(ctx, l, now.Certificate, now.Key)
	log.Info("stopped")
	return err
}

// listen settles where to listen: as told, else as before, else anywhere on this machine.
func (now *serving) listen(before serving) (net.Listener, error) {
	told := now.Addr != ""
	if !told {
		now.Addr = cmp.Or(before.Addr, "127.0.0.1:0")
		now.PublicURL = cmp.Or(now.PublicURL, before.PublicURL)
		if now.Certificate == "" {
			now.Certificate, now.Key = before.Certificate, before.Key
		}
	}
	l, err := net.Listen("tcp", now.Addr)
	if err != nil && !told {
		l, err = net.Listen("tcp", "127.0.0.1:0") // somebody else has the port by now
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w; name another with --addr", errUnusable, err)
	}
	now.Addr = l.Addr().String()
	return l, nil
}

// describe fills in how a server at addr is reached.
func (now *serving) describe(addr net.Addr) (public *url.URL, err error) {
	now.PID, now.Name = os.Getpid(), rand.Text()
	scheme := "http"
	if now.Certificate != "" {
		scheme = "https"
	}
	tcp := addr.(*net.TCPAddr)
	local, far := tcp.IP.String(), tcp.IP.String()
	if tcp.IP.IsUnspecified() {
		local = "127.0.0.1"
		if far, err = os.Hostname(); err != nil {
			return nil, fmt.Errorf("%w: %w; say how people reach this machine with --public-url", errUnusable, err)
		}
	}
	port := fmt.Sprint(tcp.Port)
	now.Local = scheme + "://" + net.JoinHostPort(local, port)
	now.Base = scheme + "://" + net.JoinHostPort(far, port)
	if now.PublicURL == "" {
		return nil, nil
	}
	public, err = url.Parse(now.PublicURL)
	if err != nil || public.Scheme != "http" && public.Scheme != "https" || public.Host == "" || public.RawQuery != "" || public.Fragment != "" || public.User != nil {
		return nil, fmt.Errorf("%w: --public-url %q is no URL such as https://hub.example.org/kedge", errUsage, now.PublicURL)
	}
	now.Base = strings.TrimSuffix(now.PublicURL, "/")
	return public, nil
}

func registryOf(dir string) share.Registry { return share.Registry{Dir: filepath.Join(dir, "shares")} }

// errServing says that the server of this home runs already.
var errServing = errors.New("the server runs already")

// lockServer takes the lock that the server of a home holds for its life.
func lockServer(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "serve.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnusable, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		at, _ := readServing(dir) // it is only named
		return nil, errors.Join(fmt.Errorf("%w at %s; kedge serve --stop ends it: %w", errServing, cmp.Or(at.Base, "an unknown address"), errUnusable), f.Close())
	}
	return f, nil
}

func readServing(dir string) (s serving, err error) {
	data, err := os.ReadFile(filepath.Join(dir, "serve.json"))
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	return s, err
}

func writeServing(dir string, s serving) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return target{filepath.Join(dir, "serve.json"), 0o600}.write(data)
}

// stopServer ends the server of this home, and waits until it is gone.
func stopServer(ctx context.Context, out io.Writer, dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("no server runs: %w", snapshotter.ErrNotFound)
	}
	lock, err := lockServer(dir)
	if err == nil {
		return errors.Join(fmt.Errorf("no server runs: %w", snapshotter.ErrNotFound), lock.Close())
	}
	if !errors.Is(err, errServing) {
		return err
	}
	at, err := readServing(dir)
	if err != nil {
		return fmt.Errorf("%w: which process serves is not known: %w", errUnusable, err)
	}
	if !healthy(ctx, at) {
		return fmt.Errorf("%w: process %d does not answer as the server of this home; end it by hand", errUnusable, at.PID)
	}
	if err := syscall.Kill(at.PID, syscall.SIGTERM); err != nil {
		return fmt.Errorf("%w: process %d: %w", errUnusable, at.PID, err)
	}
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if lock, err := lockServer(dir); err == nil {
			_, err = fmt.Fprintf(out, "stopped: links to %s do not open until kedge serve runs again\n", at.Base)
			return errors.Join(err, lock.Close())
		}
	}
	return fmt.Errorf("%w: process %d does not end", errUnusable, at.PID)
}

// healthy reports whether the server that s describes answers.
func healthy(ctx context.Context, s serving) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Local+"/api/v1/health", nil)
	if err != nil {
		return false
	}
	// Nothing secret is said; the name is what tells that it is ours.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	response, err := client.Do(q)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	var health struct{ Name string }
	return json.NewDecoder(io.LimitReader(response.Body, 4096)).Decode(&health) == nil && health.Name == s.Name && s.Name != ""
}

// ensureServer is the server of this home, which it starts where none runs.
func ensureServer(ctx context.Context, dir string) (at serving, started bool, err error) {
	if lock, err := lockServer(dir); err == nil {
		if err := lock.Close(); err != nil {
			return serving{}, false, err
		}
		if err := startServer(dir); err != nil {
			return serving{}, false, err
		}
		started = true
	} else if !errors.Is(err, errServing) {
		return serving{}, false, err
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if at, err := readServing(dir); err == nil && healthy(ctx, at) {
			return at, started, nil
		}
		select {
		case <-ctx.Done():
			return serving{}, started, context.Cause(ctx)
		case <-time.After(30 * time.Millisecond):
		}
	}
	return serving{}, started, fmt.Errorf("%w: the server does not answer; %s says why", errUnusable, filepath.Join(dir, "serve.log"))
}

// startServer starts kedge serve beside us; it goes on when we end.
func startServer(dir string) error {
	const most = 10 << 20 // bytes of a log
	path := filepath.Join(dir, "serve.log")
	if info, err := os.Stat(path); err == nil && info.Size() > most {
		if err := os.Rename(path, path+".1"); err != nil {
			return fmt.Errorf("%w: %w", errUnusable, err)
		}
	}
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnusable, err)
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("%w: %w", errUnusable, err)
	}
	cmd := exec.Command(self, "serve")
	cmd.Dir, cmd.Stderr = "/", log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%w: start the server: %w", errUnusable, err)
	}
	return cmd.Process.Release()
}
