package session

import (
	"context"
	"encoding/json"

	"kedge/kernel"
	"kedge/kernel/agent"
)

// Kernel is a running kernel as a session uses it: [kernel.Kernel], or what a
// test puts in its place. A session calls it from one goroutine.
type Kernel interface {
	agent.Caller
	// Execute runs a cell. A cell that raises is no error; if the kernel dies
	// the error wraps [kernel.ErrKernelDied].
	Execute(ctx context.Context, req kernel.Request) (kernel.Result, error)
	Info() json.RawMessage // the content of kernel_info_reply
	PID() int
	DeathReason() string                // one line for people, once the kernel has died
	Shutdown(ctx context.Context) error // returns when the process is gone
}
