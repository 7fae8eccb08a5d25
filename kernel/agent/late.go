package agent

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrMemory is returned when the memory of the process that captured a cell cannot be read.
var ErrMemory = errors.New("memory of the kernel's copy")

// Late is a capture that a copy of the kernel's process makes beside the next
// cell. What the copy lends is there until Close, or until it dies: see Ended.
type Late struct {
	pipe *os.File
	pid  int // of the copy, once it has told
}

// Listen makes the named pipe in which the copy will tell what it found.
func Listen(path string) (*Late, error) {
	_ = os.Remove(path) // of a capture that was given up
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		return nil, fmt.Errorf("make %s: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("wait for the capture: %w", err)
	}
	return &Late{pipe: f}, nil
}

// Path is that of the pipe.
func (l *Late) Path() string { return l.pipe.Name() }

// Read waits for what the copy tells. ErrAgent if it told nothing.
func (l *Late) Read() (left Left, err error) {
	told := bufio.NewReader(l.pipe)
	first, err := told.ReadString('\n')
	if err == nil {
		l.pid, err = strconv.Atoi(first[:len(first)-1])
	}
	if err != nil {
		return left, fmt.Errorf("%w: the process that captured a cell died at its start: %w", ErrAgent, err)
	}
	data, err := told.ReadBytes('\n')
	switch {
	case errors.Is(err, io.EOF):
		return left, fmt.Errorf("%w: the process that captured a cell died", ErrAgent)
	case err != nil:
		return left, fmt.Errorf("wait for the capture: %w", err)
	}
	if err := json.Unmarshal(data, &left); err != nil {
		return left, fmt.Errorf("%w: what the capture says: %w", ErrAgent, err)
	}
	return left, nil
}

// Ended returns ErrMemory if the copy is not there any more, so that what was
// read from the memory that it lent may have been that of another process. The
// processes that hold the memory are its children, and not waited for: until it
// ends nobody else has their numbers.
func (l *Late) Ended() error {
	raw, err := l.pipe.SyscallConn()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMemory, err)
	}
	there := false
	err = raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		_, err := unix.Poll(fds, 0)
		there = err == nil && fds[0].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) == 0
	})
	if err != nil || !there {
		return fmt.Errorf("%w: the process that captured a cell died", ErrMemory)
	}
	return nil
}

// HangUp ends waiting for the copy, which ends then. It may be called again, by any goroutine.
func (l *Late) HangUp() {
	_ = os.Remove(l.pipe.Name())
	_ = l.pipe.Close()
}

// Close is HangUp once what the copy told was read, or nobody wants to read it
// any more: the copy has ended then if it was left to us.
func (l *Late) Close() {
	l.HangUp()
	if l.pid != 0 {
		_, _ = syscall.Wait4(l.pid, nil, 0, nil) // it is ours if its parent has ended and we adopt; else nobody's business
	}
}

// memory is the memory of a process of this user; offsets are addresses.
type memory int

// ReadAt is [io.ReaderAt]. ErrMemory if the system does not let us, or nothing is there.
func (m memory) ReadAt(p []byte, at int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	local := []unix.Iovec{{Base: &p[0]}}
	local[0].SetLen(len(p))
	n, err := unix.ProcessVMReadv(int(m), local, []unix.RemoteIovec{{Base: uintptr(at), Len: len(p)}}, 0)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: %w", ErrMemory, err)
	case n < len(p):
		return n, fmt.Errorf("%w: %d bytes of %d are there", ErrMemory, n, len(p))
	}
	return n, nil
}

// Readable reports whether this process may read the memory of process pid.
func Readable(pid int) bool {
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return false
	}
	defer maps.Close()
	var at int64
	if _, err := fmt.Fscanf(maps, "%x-", &at); err != nil {
		return false
	}
	_, err = memory(pid).ReadAt(make([]byte, 8), at)
	return err == nil
}
