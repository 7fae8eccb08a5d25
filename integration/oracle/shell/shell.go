package shell

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"kedge/kernel"
)

// Shell is a forked kernel. It belongs to one goroutine.
type Shell struct {
	conn    *net.UnixConn
	replies *bufio.Reader
	pid     int
	shown   map[string]bool // display ids so far
	// Leaving, if set, is called by Shutdown while the shell still lives.
	Leaving func(*Shell)
	closed  bool
}

func newShell(conn *net.UnixConn, pid int) *Shell {
	return &Shell{conn: conn, replies: bufio.NewReader(conn), pid: pid, shown: map[string]bool{}}
}

// ask sends one request and reads the reply. The error wraps
// [kernel.ErrKernelDied]; when ctx ends first the shell is killed.
func (s *Shell) ask(ctx context.Context, request, reply any) error {
	stop := context.AfterFunc(ctx, func() { _ = unix.Kill(-s.pid, syscall.SIGKILL) })
	defer stop()
	data, err := json.Marshal(request)
	if err != nil {
		return err
	}
	if _, err := s.conn.Write(append(data, '\n')); err != nil {
		return fmt.Errorf("%w: %w", kernel.ErrKernelDied, err)
	}
	line, err := s.replies.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("%w: %w", kernel.ErrKernelDied, err)
	}
	return json.Unmarshal(line, reply)
}

// message is what a kernel publishes.
type message struct {
	Type    string  `json:"type"`
	Content content `json:"content"`
}

type content struct {
	Name      string          `json:"name"`
	Text      string          `json:"text"`
	Data      json.RawMessage `json:"data"`
	Metadata  json.RawMessage `json:"metadata"`
	Count     *int            `json:"execution_count"`
	Wait      bool            `json:"wait"`
	EName     string          `json:"ename"`
	EValue    string          `json:"evalue"`
	Traceback []string        `json:"traceback"`
	Transient struct {
		DisplayID string `json:"display_id"`
	} `json:"transient"`
}

// Execute runs a cell, see [session.Kernel].
func (s *Shell) Execute(ctx context.Context, req kernel.Request) (kernel.Result, error) {
	var got struct {
		Reply struct {
			Status    string   `json:"status"`
			Count     int      `json:"execution_count"`
			EName     string   `json:"ename"`
			EValue    string   `json:"evalue"`
			Traceback []string `json:"traceback"`
		} `json:"reply"`
		Messages []message `json:"messages"`
	}
	if err := s.ask(ctx, map[string]any{"do": "execute", "code": req.Code}, &got); err != nil {
		return kernel.Result{}, err
	}
	res := kernel.Result{ExecutionCount: got.Reply.Count, Status: got.Reply.Status, EName: got.Reply.EName,
		EValue: got.Reply.EValue, Traceback: got.Reply.Traceback, DisplayIDs: map[int]string{}}
	res.UsedStdin = res.EName == "StdinNotImplementedError"
	for _, id := range req.Shown {
		s.shown[id] = true
	}
	outs := outputs{earlier: s.shown}
	for _, m := range got.Messages {
		res.Comms = res.Comms || m.Type == "comm_open"
		outs.add(m)
	}
	for i, o := range outs.list {
		data, err := json.Marshal(o.fields)
		if err != nil {
			return res, fmt.Errorf("encode output: %w", err)
		}
		res.Outputs = append(res.Outputs, data)
		if o.display != "" {
			res.DisplayIDs[i] = o.display
		}
	}
	for _, id := range res.DisplayIDs {
		s.shown[id] = true
	}
	res.Displays, res.StrayUpdate = outs.updates, outs.stray
	return res, nil
}

// Call sends the agent a message, see [agent.Caller].
func (s *Shell) Call(ctx context.Context, _, msgType string, content any, _ [][]byte) (json.RawMessage, [][]byte, error) {
	var reply json.RawMessage
	err := s.ask(ctx, map[string]any{"do": "call", "kind": msgType, "content": content}, &reply)
	return reply, nil, err
}

// Begin has the agent take its baselines, as it does when a kernel starts.
func (s *Shell) Begin(ctx context.Context) error {
	var reply struct{}
	return s.ask(ctx, map[string]any{"do": "begin"}, &reply)
}

// Info is the content of a kernel_info_reply, as far as a document needs it.
func (s *Shell) Info() json.RawMessage {
	var reply json.RawMessage
	if err := s.ask(context.Background(), map[string]any{"do": "info"}, &reply); err != nil {
		return nil
	}
	return reply
}

// PID is the process id.
func (s *Shell) PID() int { return s.pid }

// DeathReason says that the shell is gone.
func (s *Shell) DeathReason() string { return "the kernel died" }

// Sight is what a program could see of a shell, by name and by adapter.
type Sight struct {
	Names   map[string]string `json:"names"`
	Ambient map[string]string `json:"ambient"`
}

// Look looks at everything. It draws from the random streams.
func (s *Shell) Look(ctx context.Context) (Sight, error) {
	var sight Sight
	return sight, s.ask(ctx, map[string]any{"do": "look"}, &sight)
}

// Shutdown ends the shell and what it started.
func (s *Shell) Shutdown(context.Context) error {
	if s.closed {
		return nil
	}
	s.closed = true
	if s.Leaving != nil {
		s.Leaving(s)
	}
	_ = s.conn.CloseWrite()
	_, _ = s.replies.ReadByte() // its end of the stream is closed by its death
	_ = unix.Kill(-s.pid, syscall.SIGKILL)
	return s.conn.Close()
}
