package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const (
	mostQuota  = 50e9      // bytes, of the default
	quotaShare = 5         // one part in so many of what is free, the store's own bytes included
	tidyEvery  = 256 << 20 // bytes that a handle stores before it looks at the quota again
	manyFiles  = 500       // segments above which Tidy joins small ones
)

// DefaultQuota is min(50 GB, 20 % of what is free on the disk of dir). What
// the store itself takes counts as free: the quota must not shrink as it fills.
func DefaultQuota(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("statfs: %w", err)
	}
	own, err := folderSize(dir)
	if err != nil {
		return 0, err
	}
	return min(mostQuota, (int64(st.Bavail)*st.Bsize+own)/quotaShare), nil
}

// Quota is the most bytes that the store should take; negative: no limit.
func (s *Store) Quota() (int64, error) {
	if s.quota != 0 {
		return s.quota, nil
	}
	return DefaultQuota(s.dir)
}

// Tidy runs gc if the store is beyond its quota, or in very many pieces, and says whether it did.
func (s *Store) Tidy(ctx context.Context, progress func(done, total int)) (report GCReport, beyond bool, err error) {
	quota, err := s.Quota()
	if err != nil {
		return report, false, err
	}
	size, err := s.Size()
	if err != nil {
		return report, false, err
	}
	files, err := os.ReadDir(s.segment.folder)
	if err != nil || len(files) <= manyFiles && (quota < 0 || size <= quota) {
		return report, false, err
	}
	// A handle of its own gives up what it writes when it is closed.
	own, err := Open(ctx, Config{Dir: s.dir, Logger: s.log, Now: s.now, Quota: quota, AnyFileSystem: true})
	if err != nil {
		return report, true, err
	}
	report, err = own.GC(ctx, GCConfig{Quota: quota, Progress: progress})
	return report, true, errors.Join(err, own.Close())
}

// watchQuota starts a Tidy beside the handle's work after it has stored enough.
// Errors are logged: the next one has another try. The caller holds s.mu.
func (s *Store) watchQuota(fresh int64) {
	s.untidy += fresh
	if !s.background || s.tidying || s.untidy < tidyEvery {
		return
	}
	s.untidy, s.tidying = 0, true
	ctx, cancel := context.WithCancel(context.Background())
	s.stopTidy = cancel
	s.tidy.Go(func() {
		defer cancel()
		if _, _, err := s.Tidy(ctx, nil); err != nil && !errors.Is(err, ErrBusy) && ctx.Err() == nil {
			s.log.Warn("gc", "error", err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.tidying = false
	})
}
