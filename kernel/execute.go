package kernel

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"kedge/kernel/wire"
)

// Request is one cell to run. OnOutput, if set, is called on Execute's goroutine with each output as it arrives,
// parts of a stream one by one. Shown are display ids of outputs that this kernel did not make: updates of them
// are reported too.
type Request struct {
	Code        string
	StopOnError bool
	Metadata    map[string]any
	OnOutput    func(json.RawMessage)
	Shown       []string
}

// Update is a display's new content, for every output of earlier cells that has its id.
type Update struct {
	DisplayID string
	Data      json.RawMessage
	Metadata  json.RawMessage
}

// Result is what running a cell gave. Outputs are nbformat outputs; consecutive stream parts of one name are one
// output. Times has nbclient's keys of metadata.execution. Status is "ok", "error", "aborted", or empty if no
// reply came. DisplayIDs maps an output's index to its display id. StrayUpdate says that an update of a display was for
// no output. Widgets, if the cell sent comm messages, is the state of all widgets so far as nbclient writes it under
// metadata.widgets. Models, if these messages were all about widgets that the cell has made and that only show
// something, are these widgets, each after those that it refers to. StrayComm says that a message was about a comm that
// nothing here has opened.
type Result struct {
	Outputs        []json.RawMessage
	ExecutionCount int
	Status         string
	EName          string
	EValue         string
	Traceback      []string
	UsedStdin      bool
	Comms          bool
	Payload        json.RawMessage
	Times          map[string]string
	Widgets        json.RawMessage
	Models         []Model
	StrayComm      bool
	Displays       []Update
	StrayUpdate    bool
	DisplayIDs     map[int]string
}

// Execute runs a cell and returns when its reply and its idle status have come. A cell that raises is no error:
// see Status. If the kernel dies the error wraps ErrKernelDied; if ctx ends the kernel is interrupted, given 5 s
// to answer, and the error is ctx's. With both errors the Result holds what came so far.
func (k *Kernel) Execute(ctx context.Context, req Request) (Result, error) {
	if err := context.Cause(ctx); err != nil {
		return Result{}, err
	}
	w, err := k.request("shell", "execute_request", map[string]any{
		"code": req.Code, "silent": false, "store_history": true, "user_expressions": map[string]any{},
		"allow_stdin": false, "stop_on_error": req.StopOnError,
	}, req.Metadata, nil, true)
	if err != nil {
		return Result{}, err
	}
	defer k.release(w)
	k.mu.Lock()
	run := &execution{res: Result{Times: map[string]string{}}, onOutput: req.OnOutput, widgets: k.widgets}
	run.earlier = maps.Clone(k.displays)
	k.mu.Unlock()
	for _, id := range req.Shown {
		run.earlier[id] = true
	}
	err = run.follow(ctx, k, w)
	k.mu.Lock()
	defer k.mu.Unlock()
	return run.finish(k.displays), err
}

// execution is the state of one Execute.
type execution struct {
	collector
	res      Result
	onOutput func(json.RawMessage)
	widgets  *widgets
	made     made
	replied  bool
	idle     bool
}

func (e *execution) follow(ctx context.Context, k *Kernel, w *waiter) error {
	for wait := ctx; !e.replied || !e.idle; {
		in, err := k.next(wait, w)
		if err == nil {
			e.accept(in)
			continue
		}
		if ctx.Err() == nil || wait != ctx {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		}
		if err := k.Interrupt(); err != nil {
			return context.Cause(ctx)
		}
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), interruptGrace)
		defer cancel()
		wait = grace
	}
	return context.Cause(ctx)
}

func (e *execution) accept(in incoming) {
	kind := in.msg.Header.MsgType
	switch in.channel {
	case "stdin":
		e.res.UsedStdin = true
	case "shell":
		if kind == "execute_reply" {
			e.reply(in)
		}
	case "iopub":
		e.publish(kind, in)
	}
}

func (e *execution) reply(in incoming) {
	var r struct {
		Status  string          `json:"status"`
		Count   int             `json:"execution_count"`
		Payload json.RawMessage `json:"payload"`
		failure
	}
	e.replied = true
	e.res.Times["shell.execute_reply"] = in.msg.Header.Date
	if err := json.Unmarshal(in.msg.Content, &r); err != nil {
		e.res.Status, e.res.EName, e.res.EValue = "error", "BadReply", fmt.Sprint(err)
		return
	}
	e.res.Status, e.res.Payload = r.Status, r.Payload
	e.res.EName, e.res.EValue, e.res.Traceback = r.EName, r.EValue, r.Traceback
	if r.Count > 0 {
		e.res.ExecutionCount = r.Count
	}
	if r.EName == "StdinNotImplementedError" {
		e.res.UsedStdin = true
	}
}

func (e *execution) publish(kind string, in incoming) {
	if strings.HasPrefix(kind, "comm_") {
		e.res.Comms = true
		e.made.note(in.msg)
		e.res.StrayComm = !e.widgets.comm(in.msg) || e.res.StrayComm
		return
	}
	var m content
	if json.Unmarshal(in.msg.Content, &m) != nil {
		return
	}
	var count int
	if len(m.Count) > 0 && json.Unmarshal(m.Count, &count) == nil && count > 0 {
		e.res.ExecutionCount = count
	}
	switch kind {
	case "status":
		if m.State == "busy" || m.State == "idle" {
			e.res.Times["iopub.status."+m.State] = in.msg.Header.Date
		}
		e.idle = e.idle || m.State == "idle"
		return
	case "execute_input":
		e.res.Times["iopub.execute_input"] = in.msg.Header.Date
		return
	}
	if e.taken(kind, in.msg, m) {
		return
	}
	if o := e.apply(kind, m); o != nil && e.onOutput != nil {
		e.onOutput(o.encode())
	}
}

// taken gives what is put out inside an Output widget to that widget. Updates of displays reach the cells' own
// outputs even then.
func (e *execution) taken(kind string, msg wire.Message, m content) bool {
	switch kind {
	case "display_data", "execute_result":
		if e.widgets.take(msg, m) {
			e.res.Comms = true
			if id := m.Transient.DisplayID; id != "" {
				e.update(Update{id, object(m.Data), object(m.Metadata)})
			}
			return true
		}
		return false
	case "stream", "error", "clear_output":
		taken := e.widgets.take(msg, m)
		e.res.Comms = e.res.Comms || taken
		return taken
	}
	return false
}

// finish encodes the outputs and adds their display ids to those of earlier cells.
func (e *execution) finish(displays map[string]bool) Result {
	e.res.Displays, e.res.StrayUpdate = e.updates, e.stray
	if e.res.Comms {
		e.res.Widgets, e.res.Models = e.widgets.metadata(), e.widgets.models(&e.made)
	}
	e.res.Outputs = make([]json.RawMessage, len(e.outs))
	e.res.DisplayIDs = map[int]string{}
	for i, o := range e.outs {
		e.res.Outputs[i] = o.encode()
		if o.display != "" {
			e.res.DisplayIDs[i] = o.display
			displays[o.display] = true
		}
	}
	return e.res
}
