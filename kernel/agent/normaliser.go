package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
)

// maxNormal bounds what the normaliser may answer to one request, in bytes.
const maxNormal = 256 << 20

// Normal is the code of one cell as the kernel's own Python understands it.
type Normal struct {
	Normal string   `json:"normal"` // canonical text without comments, layout and positions
	Binds  []string `json:"binds"`
}

// Normaliser reads the code of cells in the kernel's environment, beside the
// kernel: it answers while that is busy, and before it has run anything. It
// belongs to one goroutine.
type Normaliser struct {
	argv  []string
	known map[string]Normal // by source

	cmd   *exec.Cmd // nil while it does not run
	in    io.WriteCloser
	lines *bufio.Scanner
}

// NewNormaliser returns one that starts argv, the command of [NormaliserPath], when there is something to ask.
func NewNormaliser(argv []string) *Normaliser {
	return &Normaliser{argv: argv, known: map[string]Normal{}}
}

// Normalise reads these sources, in order.
func (n *Normaliser) Normalise(ctx context.Context, sources []string) ([]Normal, error) {
	var unknown []string
	for _, s := range sources {
		if _, ok := n.known[s]; !ok {
			unknown = append(unknown, s)
		}
	}
	if len(unknown) > 0 {
		if err := n.ask(ctx, unknown); err != nil {
			n.Close()
			return nil, fmt.Errorf("read the cells' code: %w", err)
		}
	}
	all := make([]Normal, len(sources))
	kept := make(map[string]Normal, len(sources)) // what was typed meanwhile is forgotten
	for i, s := range sources {
		all[i] = n.known[s]
		kept[s] = all[i]
	}
	n.known = kept
	return all, nil
}

// ask asks the process for what is not known.
func (n *Normaliser) ask(ctx context.Context, sources []string) error {
	if n.cmd == nil {
		if err := n.start(); err != nil {
			return err
		}
	}
	in, err := json.Marshal(map[string]any{"cells": sources})
	if err != nil {
		return err
	}
	cmd := n.cmd
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })()
	if _, err := n.in.Write(append(in, '\n')); err != nil {
		return err
	}
	if !n.lines.Scan() {
		return errors.Join(n.lines.Err(), context.Cause(ctx), io.ErrUnexpectedEOF)
	}
	var reply struct{ Cells []Normal }
	if err := json.Unmarshal(n.lines.Bytes(), &reply); err != nil || len(reply.Cells) != len(sources) {
		return errors.Join(err, errors.New("unexpected answer"))
	}
	for i, s := range sources {
		n.known[s] = reply.Cells[i]
	}
	return nil
}

// start starts the process. It ends when we do: its input does.
func (n *Normaliser) start() error {
	if len(n.argv) == 0 {
		return errors.New("there is no Python for it")
	}
	cmd := exec.Command(n.argv[0], append(n.argv[1:len(n.argv):len(n.argv)], "lines")...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	n.cmd, n.in, n.lines = cmd, in, bufio.NewScanner(out)
	n.lines.Buffer(nil, maxNormal)
	return nil
}

// Close ends the process; the next question starts another.
func (n *Normaliser) Close() {
	if n.cmd == nil {
		return
	}
	_ = n.in.Close()
	_ = n.cmd.Process.Kill()
	_ = n.cmd.Wait() // killed
	n.cmd = nil
}
