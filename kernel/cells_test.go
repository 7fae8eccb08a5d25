package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kedge/kernel/wire"
	"kedge/kernel/zmtp"
)

// taker is a session that, after the kernel has run "take", takes something from it for as long as a test wants.
type taker struct {
	taking chan struct{} // closed when it begins to take
	goOn   chan struct{} // closed by the test

	mu      sync.Mutex
	stopped []string // codes of cells that were interrupted before the kernel had them
	took    error    // how the taking ended
	ended   chan struct{}
}

func (s *taker) Wants(r *ShellRequest) bool { return r.Header.MsgType == "execute_request" }

func (s *taker) Aside(string, string, json.RawMessage) {}

func (s *taker) Intercept(ctx context.Context, r *ShellRequest, c *Cell) error {
	var content struct{ Code string }
	if err := json.Unmarshal(r.Content, &content); err != nil {
		return err
	}
	_, err := c.Forward(ctx, nil)
	if errors.Is(err, ErrInterrupted) {
		s.mu.Lock()
		s.stopped = append(s.stopped, content.Code)
		s.mu.Unlock()
		c.Status("busy")
		c.Reply(map[string]string{"status": "error", "ename": "KeyboardInterrupt"}, c.Metadata("error"))
		c.Status("idle")
		return nil
	}
	if strings.HasSuffix(content.Code, "# take") {
		close(s.taking)
		<-s.goOn
		_, _, s.took = c.Call(context.WithoutCancel(ctx), "shell", "is_complete_request", map[string]string{"code": "1"}, nil)
		close(s.ended)
	}
	return err
}

func newTaker() *taker {
	return &taker{taking: make(chan struct{}), goOn: make(chan struct{}), ended: make(chan struct{})}
}

func cellRequest(code string) wire.Message {
	return request("execute_request", map[string]any{"code": code, "silent": false, "stop_on_error": true})
}

func TestAnInterruptBetweenCellsIsForTheNextOne(t *testing.T) {
	for _, test := range []struct {
		name         string
		early        bool // the cells wait before the interrupt comes
		next, behind string
		stopped      []string
	}{
		{"NothingWaits", false, `"ok"`, `"ok"`, nil},
		{"CellsWait", true, "KeyboardInterrupt", "aborted", []string{"2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			session := newTaker()
			d := proxy(t, session)
			d.lives()
			shell, control := d.socket("shell", "DEALER", "me"), d.socket("control", "DEALER", "me")
			ask := func(c *zmtp.Conn, m wire.Message) string {
				send(t, c, wire.Encode(m, []byte("secret")))
				return m.Header.MsgID
			}
			var next, behind string
			both := func() { next, behind = ask(shell, cellRequest("2")), ask(shell, cellRequest("3")) }
			first := ask(shell, cellRequest("1 # take"))
			if test.early {
				both()
			}
			reply(t, shell, first)
			<-session.taking
			if got := reply(t, control, ask(control, request("interrupt_request", struct{}{}))); !strings.Contains(string(got.Content), "ok") {
				t.Errorf("the interrupt: %s", got.Content)
			}
			if !test.early {
				both()
			}
			close(session.goOn)
			<-session.ended
			if got := reply(t, shell, next); !strings.Contains(string(got.Content), test.next) {
				t.Errorf("the next cell: %s", got.Content)
			}
			if got := reply(t, shell, behind); !strings.Contains(string(got.Content), test.behind) {
				t.Errorf("the cell behind it: %s", got.Content)
			}
			session.mu.Lock()
			defer session.mu.Unlock()
			if session.took != nil || !slices.Equal(session.stopped, test.stopped) {
				t.Errorf("taken: %v, stopped: %v", session.took, session.stopped)
			}
		})
	}
}

// past is a session that is past "1" when it is interrupted, and answers for it all the same.
type past struct{ *taker }

func (s past) Intercept(ctx context.Context, r *ShellRequest, c *Cell) error {
	if !strings.Contains(string(r.Content), "1 # past") {
		return s.taker.Intercept(ctx, r, c)
	}
	for len(c.Waiting()) < 2 { // each comes on a connection's goroutine
		time.Sleep(time.Millisecond)
	}
	close(s.taking)
	<-ctx.Done()
	c.Status("busy")
	c.Reply(map[string]string{"status": "ok"}, c.Metadata("ok"))
	c.Status("idle")
	return nil
}

func TestAnInterruptThatComesTooLateForACellIsForTheNextOne(t *testing.T) {
	session := past{newTaker()}
	d := proxy(t, session)
	d.lives()
	shell, control := d.socket("shell", "DEALER", "me"), d.socket("control", "DEALER", "me")
	var ids []string
	for _, code := range []string{"1 # past", "2", "3"} {
		m := cellRequest(code)
		send(t, shell, wire.Encode(m, []byte("secret")))
		ids = append(ids, m.Header.MsgID)
	}
	<-session.taking
	stop := request("interrupt_request", struct{}{})
	send(t, control, wire.Encode(stop, []byte("secret")))
	reply(t, control, stop.Header.MsgID)
	for i, want := range []string{`"ok"`, "KeyboardInterrupt", "aborted"} {
		if got := reply(t, shell, ids[i]); !strings.Contains(string(got.Content), want) {
			t.Errorf("cell %d: %s, want %s", i+1, got.Content, want)
		}
	}
	session.mu.Lock()
	defer session.mu.Unlock()
	if !slices.Equal(session.stopped, []string{"2"}) {
		t.Errorf("stopped: %v", session.stopped)
	}
}

func TestAShutdownWaitsForWhatIsTakenFromTheKernel(t *testing.T) {
	session := newTaker()
	d := proxy(t, session)
	d.lives()
	shell, control := d.socket("shell", "DEALER", "me"), d.socket("control", "DEALER", "me")
	m := cellRequest("1 # take")
	send(t, shell, wire.Encode(m, []byte("secret")))
	reply(t, shell, m.Header.MsgID)
	<-session.taking
	stop := request("shutdown_request", map[string]bool{"restart": false})
	send(t, control, wire.Encode(stop, []byte("secret")))
	time.AfterFunc(endWait/4, func() { close(session.goOn) })
	<-session.ended
	if session.took != nil {
		t.Errorf("the kernel was gone: %v", session.took)
	}
	reply(t, control, stop.Header.MsgID)
}

func TestAClientThatComesWhileTheProxyEndsHarmsNothing(t *testing.T) {
	p := &Proxy{}
	p.part(t.Context()) // nobody is there
	p.enter()
	p.leave()
	p.enter()
	p.leave()
}
