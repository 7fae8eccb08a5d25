package kernel

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const tailSize = 16 << 10

// tail keeps the last tailSize bytes written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(p)
	if n > tailSize {
		p = p[n-tailSize:]
	}
	if over := len(t.buf) + len(p) - tailSize; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	t.buf = append(t.buf, p...)
	return n, nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(strings.ToValidUTF8(string(t.buf), "?"))
}

// process is a child in its own session that dies with us. died is closed after it has been reaped.
type process struct {
	pid   int
	out   *tail
	died  chan struct{}
	state string // valid once died is closed, like code
	code  int    // exit status, or 128 and the signal, as a shell says it
	sigs  sync.Mutex
	gone  bool // guarded by sigs: the pid may belong to another process
}

// startProcess starts argv, its output kept as a tail unless there are files for it. Pdeathsig follows the thread
// that forked, so one locked thread starts and waits.
func startProcess(argv []string, dir string, env []string, stdout, stderr *os.File) (*process, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	p := &process{out: &tail{}, died: make(chan struct{})}
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, env, p.out, p.out
	if stdout != nil && stderr != nil {
		cmd.Stdout, cmd.Stderr = stdout, stderr
	}
	cmd.WaitDelay = 200 * time.Millisecond // a grandchild may hold the pipe open
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err != nil {
			return
		}
		p.wait(cmd)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// wait ends the rest of the group while the dead leader still holds its pid, then reaps it.
func (p *process) wait(cmd *exec.Cmd) {
	for {
		if err := unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != unix.EINTR {
			break
		}
	}
	p.sigs.Lock()
	_ = unix.Kill(-p.pid, unix.SIGKILL)
	p.gone = true
	p.sigs.Unlock()
	err := cmd.Wait()
	if cmd.ProcessState != nil {
		p.state, p.code = cmd.ProcessState.String(), cmd.ProcessState.ExitCode()
		if s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && s.Signaled() {
			p.code = 128 + int(s.Signal())
		}
	} else {
		p.state = fmt.Sprint(err)
	}
	close(p.died)
}

// signal sends sig to the process group; after death it returns os.ErrProcessDone.
func (p *process) signal(sig syscall.Signal) error {
	p.sigs.Lock()
	defer p.sigs.Unlock()
	if p.gone {
		return os.ErrProcessDone
	}
	return unix.Kill(-p.pid, sig)
}
