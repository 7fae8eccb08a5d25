package integration

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// serves starts kedge serve with these arguments, for as long as the test runs.
func (s sharer) serves(args ...string) {
	s.t.Helper()
	cmd := exec.Command(s.kedge, append([]string{"serve"}, args...)...)
	cmd.Env = append(os.Environ(), "KEDGE_HOME=", "XDG_DATA_HOME="+s.data)
	log, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	lines := bufio.NewScanner(log)
	said := ""
	for lines.Scan() && !strings.Contains(lines.Text(), `"msg":"serving"`) {
		said += lines.Text()
	}
	ended := make(chan error, 1)
	go func() {
		for lines.Scan() {
		}
		ended <- cmd.Wait()
	}()
	s.t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		if err := <-ended; err != nil {
			s.t.Error("serve: ", err, said)
		}
	})
}

// readySharer is a home with a notebook that ran.
func readySharer(t *testing.T) sharer {
	ada := newSharer(t, newLab(t, "../examples/plain.ipynb"))
	ada.write(shareNotebook("20"))
	ada.file("in.csv", "a,1\n")
	ada.file("helper.py", "def twice(x):\n    return 2 * x\n")
	ada.runs(ada.path)
	return ada
}

// What the server holds does not grow with what it sends. KEDGE_SERVE_ROUNDS=40 sends 10 GiB (make soak).
func TestTheMemoryOfTheServerIsBounded(t *testing.T) {
	const size, readers, most = 256 << 20, 8, 160 << 20
	rounds, _ := strconv.Atoi(os.Getenv("KEDGE_SERVE_ROUNDS"))
	rounds = max(rounds, 1)
	ada := newSharer(t, newLab(t, "../examples/plain.ipynb"))
	ada.write(`{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code", "id": "a", "metadata": {"tags": ["step:a"]}, "execution_count": null, "outputs": [],
		"source": "import numpy as np\nlarge = np.random.default_rng(7).integers(0, 255, 256 << 20, dtype='u1')"}]}`)
	ada.runs(ada.path)
	sent := ada.shareByLink(ada.path)
	if sent.Bytes < size {
		t.Fatal(sent)
	}
	var at struct{ PID int }
	data, err := os.ReadFile(filepath.Join(ada.data, "kedge", "serve.json"))
	if err == nil {
		err = json.Unmarshal(data, &at)
	}
	if err != nil {
		t.Fatal(err)
	}
	page, token, _ := strings.Cut(sent.Link, "#")
	base, id, _ := strings.Cut(page, "/s/")
	turns, ended := make(chan bool, rounds), make(chan error)
	for range rounds {
		turns <- true
	}
	close(turns)
	read := func() error {
		for range turns {
			q, err := http.NewRequest("GET", base+"/api/v1/shares/"+id+"/pieces", nil)
			if err != nil {
				return err
			}
			q.Header.Set("Authorization", "Bearer "+token)
			q.Header.Set("Range", fmt.Sprintf("bytes=0-%d", sent.Bytes-1))
			response, err := http.DefaultClient.Do(q)
			if err != nil {
				return err
			}
			n, err := io.Copy(io.Discard, response.Body)
			if response.Body.Close(); err != nil || n != sent.Bytes {
				return fmt.Errorf("%s, %d bytes: %w", response.Status, n, err)
			}
		}
		return nil
	}
	for range readers {
		go func() { ended <- read() }()
	}
	for range readers {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", at.PID))
	if err != nil {
		t.Fatal(err)
	}
	var peak int64 // KiB
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscan(rest, &peak); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d MiB were sent to %d readers; the server had at most %d MiB", int64(rounds)*sent.Bytes>>20, readers, peak>>10)
	if peak<<10 > most {
		t.Errorf("the server had %d MiB", peak>>10)
	}
}

// certificate writes a certificate for 127.0.0.1, its key, and the authority that vouches for it.
func certificate(t *testing.T) (cert, key, authority string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, data []byte, err error) string {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, name)
	}
	made := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	from, to := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caKey, hostKey := made(), made()
	data, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	authority = write("ca.pem", "CERTIFICATE", data, err)
	host := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "host"}, NotBefore: from, NotAfter: to,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	data, err = x509.CreateCertificate(rand.Reader, host, ca, hostKey.Public(), caKey)
	cert = write("host.pem", "CERTIFICATE", data, err)
	data, err = x509.MarshalPKCS8PrivateKey(hostKey)
	return cert, write("host.key", "PRIVATE KEY", data, err), authority
}

func TestALinkOverTLS(t *testing.T) {
	ada := readySharer(t)
	cert, key, authority := certificate(t)
	ada.serves("--addr", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key)
	bob := newSharer(t, &lab{t: t, kedge: ada.kedge, python: ada.python, dir: t.TempDir()})
	bob.must(nil, "trust", ada.key(), "--yes")
	for name, link := range map[string]string{"anyone": ada.shareByLink(ada.path).Link, "bob": ada.shareByLink(ada.path, "--for", bob.key()).Link} {
		if !strings.HasPrefix(link, "https://127.0.0.1:") {
			t.Fatal(link)
		}
		into := filepath.Join(bob.dir, name)
		t.Setenv("SSL_CERT_FILE", "/dev/null")
		if _, stderr, code := bob.do("open", link, "--into", into); code == 0 || !strings.Contains(stderr, "certificate") {
			t.Error("a certificate that nobody vouches for", code, stderr)
		}
		if _, err := os.Stat(into); err == nil {
			t.Error("the folder was made")
		}
		t.Setenv("SSL_CERT_FILE", authority)
		var got openedJSON
		bob.must(&got, "open", link, "--into", into, "--json")
		if status, _ := bob.runs(got.Notebook); !all(status, "restored") {
			t.Error(status)
		}
		if _, stderr, code := bob.do("open", strings.Replace(link, "https:", "http:", 1), "--into", filepath.Join(bob.dir, "plain")); code == 0 {
			t.Error("without TLS", code, stderr)
		}
	}
}

// Some proxies take the prefix away, others leave it.
func TestALinkBehindAReverseProxy(t *testing.T) {
	ada := readySharer(t)
	bob := newSharer(t, &lab{t: t, kedge: ada.kedge, python: ada.python, dir: t.TempDir()})
	bob.must(nil, "trust", ada.key(), "--yes")
	for name, takes := range map[string]bool{"takes": true, "leaves": false} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			inner := l.Addr().String()
			l.Close()
			target := &url.URL{Scheme: "http", Host: inner}
			proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(target)
				r.Out.Host = r.In.Host
				if takes {
					r.Out.URL.Path = strings.TrimPrefix(r.In.URL.Path, "/some/prefix")
				}
			}})
			t.Cleanup(proxy.Close)
			ada := ada
			ada.lab = &lab{t: t, kedge: ada.kedge, python: ada.python, dir: ada.dir, path: ada.path}
			ada.serves("--addr", inner, "--public-url", proxy.URL+"/some/prefix/")
			for who, args := range map[string][]string{"anyone": nil, "bob": {"--for", bob.key()}} {
				link := ada.shareByLink(append([]string{ada.path}, args...)...).Link
				if !strings.HasPrefix(link, proxy.URL+"/some/prefix/s/") {
					t.Fatal(link)
				}
				var got openedJSON
				bob.must(&got, "open", link, "--into", filepath.Join(bob.dir, name+who), "--json")
				if status, _ := bob.runs(got.Notebook); !all(status, "restored") {
					t.Error(status)
				}
				page, token, _ := strings.Cut(link, "#")
				checkPage(t, page, token, who == "anyone")
			}
		})
	}
}

// checkPage asks for the page of a link, for what it loads, and for events.
func checkPage(t *testing.T, page, token string, opens bool) {
	t.Helper()
	base, id, _ := strings.Cut(page, "/s/")
	for path, want := range map[string]int{"/s/" + id: 200, "/assets/page.js": 200, "/api/v1/health": 200, "/api/v1/shares/" + id + "/view": map[bool]int{true: 200, false: 401}[opens]} {
		q, err := http.NewRequest("GET", base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Authorization", "Bearer "+token)
		response, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: %s", path, response.Status)
		}
	}
	q, err := http.NewRequest("GET", base+"/api/v1/shares/"+id+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-Websocket-Version": "13", "Sec-Websocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg=="} {
		q.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusSwitchingProtocols {
		t.Error("events: ", response.Status)
	}
}
