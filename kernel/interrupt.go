package kernel

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"kedge/kernel/wire"
	"kedge/kernel/zmtp"
)

// interrupt does for the kernel what Jupyter does for one with the interrupt mode "signal", and answers as a kernel
// with the mode "message". The signal is ours to send: a thread of the kernel that waits for the interpreter would
// come too late for code that only looks for signals. With ours the interrupt has done its work already.
func (l *link) interrupt(f wire.Frames, ours bool) (err error) {
	l.status("busy", f.Header)
	content := map[string]string{"status": "ok"}
	if !ours {
		err = l.kernel().Interrupt()
	}
	if err != nil {
		content = map[string]string{"status": "error", "ename": "OSError", "evalue": err.Error()}
	}
	l.answer(f, "interrupt_reply", content, nil)
	l.status("idle", f.Header)
	return err
}

// answer sends a reply of ours to the client. One that does not read goes without.
func (l *link) answer(request wire.Frames, msgType string, content, metadata any) {
	f := l.message(msgType, request.Header, content, metadata, nil)
	f.Idents = request.Idents
	if !l.front.out.put(zmtp.Encode(l.signer.Join(f))) {
		l.log.Warn("a client does not read; it misses a reply", "channel", l.channel)
	}
}

// watchParent returns ErrParentDied once process pid, our parent, has ended, and nil when ctx ends.
func watchParent(ctx context.Context, pid int) error {
	if pid <= 1 || os.Getppid() != pid {
		return nil
	}
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("watch process %d: %w", pid, err)
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	defer f.Close()
	stop := context.AfterFunc(ctx, func() { _ = f.Close() })
	defer stop()
	if os.Getppid() != pid { // it ended before we looked
		return ErrParentDied
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("watch process %d: %w", pid, err)
	}
	err = raw.Read(func(fd uintptr) bool { // readable once it has ended
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return err == nil && ready > 0
	})
	if err != nil { // closed by ctx
		return nil
	}
	return ErrParentDied
}
