package snapshotter

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// checkFileSystem refuses file systems that cannot be written and, unless any
// will do, those on which SQLite's WAL and mapped files do not work.
func checkFileSystem(dir string, anyWillDo bool) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("statfs: %w", err)
	}
	if st.Flags&unix.ST_RDONLY != 0 {
		return fmt.Errorf("%w: it is mounted read-only", ErrReadOnly)
	}
	if anyWillDo {
		return nil
	}
	name := networkFileSystem(uint32(st.Type))
	if st.Type == unix.FUSE_SUPER_MAGIC {
		name = networkFuse(mountType(dir))
	}
	if name != "" {
		return fmt.Errorf("%s is on %s: %w", dir, name, ErrNetworkFS)
	}
	return nil
}

// networkFileSystem names the network file system with that statfs magic, or "".
func networkFileSystem(magic uint32) string {
	switch magic {
	case 0x6969:
		return "NFS"
	case 0x517b, 0xff534d42, 0xfe534d42:
		return "SMB"
	case 0x5346414f, 0x6b414653:
		return "AFS"
	case 0x73757245:
		return "Coda"
	case 0x00c36400:
		return "Ceph"
	case 0x0bd00bd0:
		return "Lustre"
	case 0x47504653:
		return "GPFS"
	case 0x19830326:
		return "BeeGFS"
	case 0x20030528:
		return "OrangeFS"
	case 0x01021997:
		return "9P"
	}
	return ""
}

// networkFuse is the name of a FUSE file system that a network is behind, or "".
func networkFuse(kind string) string {
	_, name, _ := strings.Cut(kind, ".")
	known := []string{"sshfs", "glusterfs", "s3fs", "gcsfuse", "rclone", "juicefs", "ceph", "cephfs", "mfs", "lizardfs", "blobfuse",
		"blobfuse2", "goofys", "davfs", "curlftpfs", "hdfs", "alluxio-fuse", "mountpoint-s3"}
	if slices.Contains(known, name) {
		return name
	}
	return ""
}

// mountType is the type of the file system that path is on, as mounted; "" if
// that cannot be told.
func mountType(path string) string {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	best, kind := "", ""
	for lines := bufio.NewScanner(f); lines.Scan(); {
		head, tail, ok := strings.Cut(lines.Text(), " - ")
		fields, rest := strings.Fields(head), strings.Fields(tail)
		if !ok || len(fields) < 5 || len(rest) < 1 {
			continue
		}
		point := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\134`, `\`).Replace(fields[4])
		inside := point == "/" || path == point || strings.HasPrefix(path, point+"/")
		if inside && len(point) >= len(best) {
			best, kind = point, rest[0]
		}
	}
	return kind
}

// LocalPlace names a folder on a local disk that may be written, for a store
// that cannot be where it should; "" if none is found.
func LocalPlace() string {
	for _, dir := range []string{"/scratch", "/local", "/localscratch", "/mnt/local", "/var/tmp", os.TempDir()} {
		if unix.Access(dir, unix.W_OK|unix.X_OK) == nil && checkFileSystem(dir, false) == nil {
			return filepath.Join(dir, fmt.Sprintf("kedge-%d", os.Getuid()))
		}
	}
	return ""
}
