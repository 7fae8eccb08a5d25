/* The functions that have another one behind them, each named once. */
#define FUNCS(X) \
	X(open) X(open64) X(openat) X(openat64) X(creat) X(creat64) X(fopen) X(fopen64) X(freopen) X(freopen64) \
	X(mkstemp) X(mkstemp64) X(mkostemp) X(mkostemp64) X(mkstemps) X(mkstemps64) X(mkostemps) X(mkostemps64) X(mkdtemp) \
	X(shm_open) X(shm_unlink) X(fstatat) X(fstatat64) X(statx) X(access) X(eaccess) X(euidaccess) X(faccessat) \
	X(statfs) X(statfs64) X(statvfs) X(statvfs64) X(chdir) X(fchdir) X(inotify_add_watch) X(fanotify_mark) \
	X(opendir) X(fdopendir) X(scandir) X(scandir64) X(scandirat) X(scandirat64) X(getdents64) X(getdirentries) \
	X(getdirentries64) X(readlink) X(readlinkat) X(realpath) X(canonicalize_file_name) \
	X(mkdir) X(mkdirat) X(mknod) X(mknodat) X(mkfifo) X(mkfifoat) X(rename) X(renameat) X(renameat2) \
	X(unlink) X(unlinkat) X(rmdir) X(remove) X(link) X(linkat) X(symlink) X(symlinkat) X(truncate) X(truncate64) \
	X(ftruncate) X(ftruncate64) X(fallocate) X(fallocate64) X(posix_fallocate) X(posix_fallocate64) \
	X(chmod) X(lchmod) X(fchmod) X(fchmodat) X(chown) X(lchown) X(fchown) X(fchownat) \
	X(utime) X(utimes) X(lutimes) X(futimes) X(futimesat) X(utimensat) X(futimens) \
	X(getxattr) X(lgetxattr) X(fgetxattr) X(listxattr) X(llistxattr) X(flistxattr) X(setxattr) X(lsetxattr) \
	X(fsetxattr) X(removexattr) X(lremovexattr) X(fremovexattr) X(mmap) X(mmap64) \
	X(connect) X(sendto) X(sendmsg) X(sendmmsg) X(bind) X(accept) X(accept4) X(getaddrinfo) X(getnameinfo) \
	X(gethostbyname) X(gethostbyname2) X(gethostbyname_r) X(gethostbyname2_r) X(gethostbyaddr) X(gethostbyaddr_r) \
	X(res_query) X(res_search) X(mq_open) X(mq_unlink) X(shmget) \
	X(fork) X(execve) X(execvpe) X(fexecve) X(execveat) X(posix_spawn) X(posix_spawnp) X(posix_spawn_file_actions_addopen) \
	X(posix_spawn_file_actions_addchdir_np) X(popen) X(pclose) X(wordexp) X(dlopen) X(dlmopen) \
	X(glob) X(glob64) X(fts_open) X(fts64_open) X(ftw) X(ftw64) X(nftw) X(nftw64) \
	X(getenv) X(secure_getenv) X(setenv) X(unsetenv) X(putenv) X(clearenv) \
	X(mount) X(umount2) X(chroot) X(pivot_root) X(unshare) X(setns) X(open_tree) X(fsopen) X(move_mount) \
	X(open_by_handle_at) X(name_to_handle_at) X(syscall) \
	X(uname) X(gethostname) X(getdomainname) X(gethostid) X(getuid) X(geteuid) X(getgid) X(getegid) X(getgroups) \
	X(getresuid) X(getresgid) X(getlogin) X(getlogin_r) X(getpwuid) X(getpwnam) X(getpwent) X(getpwuid_r) X(getpwnam_r) \
	X(getgrgid) X(getgrnam) X(getgrent) X(getgrgid_r) X(getgrnam_r) X(localtime) X(localtime_r) X(mktime)

enum {
#define X(f) F_##f,
	FUNCS(X)
#undef X
	F_COUNT
};
#define REAL(f) ((__typeof__(&f))get(F_##f))
