// Package shell runs notebook cells in IPython shells that are forked from a
// warm parent: a kernel in a few milliseconds, for the oracle's many runs.
package shell

import (
	"bufio"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"kedge/kernel/agent"
	"kedge/kernel/observe"
	"kedge/session"
)

//go:embed python/*.py
var files embed.FS

// Environment is what the interpreter says of itself.
type Environment struct {
	Version  string            `json:"version"`
	Modules  map[string]string `json:"modules"`  // import name → version
	Prefixes []string          `json:"prefixes"` // folders of the import system
}

// Server is a warm parent. It belongs to one goroutine, and has at most one
// observed shell at a time: they share the path of the ring.
type Server struct {
	Environment Environment
	ring        *observe.Ring // the parent's own
	link        string        // where processes that a shell starts find the ring
	cmd         *exec.Cmd
	conn        *net.UnixConn
	replies     *bufio.Reader
}

// Config says what a parent is.
type Config struct {
	Python    string // the interpreter
	Dir       string // an empty folder for its files, best in memory
	Libraries bool   // numpy and pandas are loaded, for shells that import them; without, a fork takes half the time
}

// Start starts a parent.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	s := &Server{link: filepath.Join(cfg.Dir, "ring")}
	if err := s.start(ctx, cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("start the fork server: %w", err), s.Close())
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, cfg Config) (err error) {
	dir, loaded := cfg.Dir, "bare"
	if cfg.Libraries {
		loaded = "libraries"
	}
	launcher, err := agent.Install(filepath.Join(dir, "agent"))
	if err != nil {
		return err
	}
	library, err := observe.Library(filepath.Join(dir, "lib"))
	if err != nil {
		return err
	}
	scripts := filepath.Join(dir, "server")
	sources, err := fs.Sub(files, "python")
	if err != nil {
		return err
	}
	if err := os.CopyFS(scripts, sources); err != nil {
		return err
	}
	if s.ring, err = observe.Create(dir); err != nil {
		return err
	}
	if err := os.Symlink(ringPath(s.ring), s.link); err != nil {
		return err
	}
	ours, theirs, err := socketpair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	s.conn, s.replies = ours, bufio.NewReader(ours)
	s.cmd = exec.CommandContext(ctx, cfg.Python, filepath.Join(scripts, "server.py"), "3", filepath.Dir(launcher), loaded)
	s.cmd.Dir, s.cmd.Stderr = dir, os.Stderr
	s.cmd.ExtraFiles = []*os.File{theirs}
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "PYTHONHASHSEED=") || strings.HasPrefix(v, "LD_PRELOAD=")
	})
	s.cmd.Env = append(env, "PYTHONHASHSEED=0", "LD_PRELOAD="+library, "KEDGE_OBSERVE_RING="+s.link, "ORACLE_RING="+ringPath(s.ring))
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	return s.ask(map[string]any{"do": "describe"}, nil, &s.Environment)
}

// ringPath is the file that a ring lies in.
func ringPath(r *observe.Ring) string {
	env := r.Env("", nil)
	path, _ := strings.CutPrefix(env[len(env)-1], "KEDGE_OBSERVE_RING=")
	return path
}

// socketpair returns the two ends of a stream, the second as a file to be inherited.
func socketpair() (*net.UnixConn, *os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	theirs := os.NewFile(uintptr(pair[1]), "shell")
	f := os.NewFile(uintptr(pair[0]), "oracle")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return conn.(*net.UnixConn), theirs, nil
}

// ask sends one request, with a file if that is not nil, and reads the reply.
func (s *Server) ask(request any, file *os.File, reply any) error {
	data, err := json.Marshal(request)
	if err != nil {
		return err
	}
	var rights []byte
	if file != nil {
		rights = unix.UnixRights(int(file.Fd()))
	}
	if _, _, err := s.conn.WriteMsgUnix(append(data, '\n'), rights, nil); err != nil {
		return err
	}
	line, err := s.replies.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, reply)
}

// Sources normalises cells, as `kedge run` does in an interpreter of its own.
func (s *Server) Sources(cells []string) ([]session.Source, error) {
	var reply struct{ Cells []session.Source }
	if err := s.ask(map[string]any{"do": "normalise", "cells": cells}, nil, &reply); err != nil {
		return nil, fmt.Errorf("normalise: %w", err)
	}
	if len(reply.Cells) != len(cells) {
		return nil, fmt.Errorf("normalise: %d answers to %d cells", len(reply.Cells), len(cells))
	}
	return reply.Cells, nil
}

// Fork says how a shell begins.
type Fork struct {
	Dir   string            `json:"dir"`             // the working folder
	Env   map[string]string `json:"env"`             // the whole environment
	Agent bool              `json:"agent,omitempty"` // with Kedge's agent
	Patch string            `json:"patch,omitempty"` // Python code that changes the agent, before it is registered
	Ring  *observe.Ring     `json:"-"`               // where accesses to files are recorded; nil if nobody looks
}

// Fork forks a shell.
func (s *Server) Fork(f Fork) (*Shell, error) {
	conn, theirs, err := socketpair()
	if err != nil {
		return nil, fmt.Errorf("fork a shell: %w", err)
	}
	defer theirs.Close()
	ring := ""
	if f.Ring != nil {
		ring = ringPath(f.Ring)
		next := s.link + ".next"
		if err := errors.Join(os.Symlink(ring, next), os.Rename(next, s.link)); err != nil {
			return nil, errors.Join(fmt.Errorf("fork a shell: %w", err), conn.Close())
		}
	}
	request := struct {
		Do   string `json:"do"`
		Ring string `json:"ring,omitempty"`
		Fork
	}{"fork", ring, f}
	var reply struct{ Pid int }
	if err := s.ask(request, theirs, &reply); err != nil {
		return nil, errors.Join(fmt.Errorf("fork a shell: %w", err), conn.Close())
	}
	return newShell(conn, reply.Pid), nil
}

// Close ends the parent; shells end when they are shut down.
func (s *Server) Close() error {
	var err error
	if s.conn != nil {
		err = s.conn.Close()
	}
	if s.cmd != nil && s.cmd.Process != nil {
		err = errors.Join(err, s.cmd.Wait())
	}
	if s.ring != nil {
		err = errors.Join(err, s.ring.Close())
	}
	return err
}
